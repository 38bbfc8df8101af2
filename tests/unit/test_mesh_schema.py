"""Which settings an istioctl knows, read out of descriptors as a Go program holds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway.mesh.manifests import unknown_settings
from slipway.mesh.schema import Message, described, read

from tests.support.errors import refused


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(number: int, value: str | bytes | int) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def field(name: str, number: int, kind: str = "", json: str = "") -> bytes:
    return (
        part(1, name)
        + part(3, number)
        + part(4, 1)
        + part(5, 11 if kind else 9)
        + (part(6, f".{kind}") if kind else b"")
        + part(10, json or name)
    )


def message(name: str, *fields: bytes, nested: bytes = b"", is_map: bool = False) -> bytes:
    return (
        part(1, name)
        + b"".join(part(2, item) for item in fields)
        + (part(3, nested) if nested else b"")
        + (part(7, part(7, 1)) if is_map else b"")
    )


def file(name: str, package: str, *messages: bytes) -> bytes:
    return (
        part(1, name)
        + part(2, package)
        + part(3, "google/protobuf/duration.proto")
        + b"".join(part(4, item) for item in messages)
        + part(8, part(11, "istio.io/api"))
        + part(12, "proto3")
    )


LABELS = message("LabelsEntry", field("key", 1), field("value", 2), is_map=True)
TAGS = message("TagsEntry", field("key", 1), field("value", 2, "istio.mesh.v1alpha1.Tag"), is_map=True)
MESH = file(
    "mesh/v1alpha1/config.proto",
    "istio.mesh.v1alpha1",
    message(
        "MeshConfig",
        field("access_log_file", 1, json="accessLogFile"),
        field("default_config", 2, "istio.mesh.v1alpha1.ProxyConfig", "defaultConfig"),
        field("connect_timeout", 3, "google.protobuf.Duration", "connectTimeout"),
        field("providers", 4, "istio.mesh.v1alpha1.MeshConfig.Provider"),
        nested=message("Provider", field("name", 1), field("zipkin", 2)),
    ),
)
PROXY = file(
    "mesh/v1alpha1/proxy.proto",
    "istio.mesh.v1alpha1",
    message(
        "ProxyConfig",
        field("concurrency", 1),
        field("labels", 2, "istio.mesh.v1alpha1.ProxyConfig.LabelsEntry"),
        nested=LABELS,
    ),
    message("Tag", field("header", 1)),
    message("Tags", field("tags", 1, "istio.mesh.v1alpha1.Tags.TagsEntry"), nested=TAGS),
)
VALUES = file(
    "pkg/apis/values_types.proto",
    "istio.operator.v1alpha1",
    message(
        "Values",
        field("global", 1, "istio.operator.v1alpha1.Global"),
        field("tags", 2, "istio.mesh.v1alpha1.Tags"),
        field("meshConfig", 3, "g.Struct"),
    ),
    message(
        "Global",
        field("hub", 1),
        field("istio_ingressgateway", 2, "istio.operator.v1alpha1.Global", "istio-ingressgateway"),
    ),
)
# A program names its files in other places too, and holds much else.
PROGRAM = b"\x7fELF" + part(3, "mesh/v1alpha1/config.proto") + b"\n\x1amesh/v1alpha1/config.proto\xff" + b"\0" * 99


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "istioctl"
    path.write_bytes(PROGRAM + MESH + b"\0\0" + PROXY + b"more" + VALUES + b"\0" * 99)
    return path


def test_messages_are_found_wherever_they_lie(program: Path) -> None:
    found = read(program)
    assert found["MeshConfig"].shown == ("accessLogFile", "defaultConfig", "connectTimeout", "providers")
    assert found["MeshConfig"].fields["access_log_file"] == ""
    assert found["istio.mesh.v1alpha1.MeshConfig.Provider"].shown == ("name", "zipkin")
    assert found["istio.mesh.v1alpha1.ProxyConfig.LabelsEntry"].entry == ""
    assert found["istio.mesh.v1alpha1.Tags.TagsEntry"].entry == "istio.mesh.v1alpha1.Tag"


def test_a_file_that_the_program_lacks_has_no_messages() -> None:
    assert described(PROGRAM + MESH, "mesh/v1alpha1/proxy.proto") == {}
    assert described(PROGRAM + MESH[:-30], "mesh/v1alpha1/config.proto") == {}


def test_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kubectl"
    path.write_bytes(b"\x7fELF" * 10)
    with refused("program-failed: kubectl … MeshConfig"):
        read(path)
    with refused("program-missing"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"profile": "minimal", "hub": "a/b", "tag": 1},
        {"meshConfig": {"accessLogFile": "x", "access_log_file": "x", "connectTimeout": "2s"}},
        {"meshConfig": {"defaultConfig": {"labels": {"any": "thing"}}, "providers": [{"name": "a"}]}},
        {"values": {"global": {"istio-ingressgateway": {"hub": "x"}}, "tags": {"tags": {"mine": {"header": "h"}}}}},
        {"unvalidatedValues": {"any": {"thing": 1}}},
        {
            "components": {
                "pilot": {"k8s": {"strategy": {"type": "x"}}},
                "ingressGateways": [{"name": "a", "label": {"x": "y"}}],
            }
        },
    ],
)
def test_what_istio_knows_is_let_through(program: Path, settings: dict[str, object]) -> None:
    assert unknown_settings(settings, read(program)) == []


@pytest.mark.parametrize(
    ("settings", "path", "nearest"),
    [
        ({"meshconfig": {}}, "meshconfig", "meshConfig"),
        ({"meshConfig": {"accessLogFil": "x"}}, "meshConfig.accessLogFil", "accessLogFile"),
        ({"meshConfig": {"defaultConfig": {"concurency": 1}}}, "meshConfig.defaultConfig.concurency", "concurrency"),
        ({"meshConfig": {"providers": [{"nam": 1}]}}, "meshConfig.providers[0].nam", "name"),
        ({"values": {"globl": {}}}, "values.globl", "global"),
        ({"values": {"tags": {"tags": {"a": {"heeder": 1}}}}}, "values.tags.tags.a.heeder", "header"),
        ({"values": {"meshConfig": {"accesLogFile": 1}}}, "values.meshConfig.accesLogFile", "accessLogFile"),
        ({"components": {"pilot": {"k8s": {"replica": 2}}}}, "components.pilot.k8s.replica", "replicaCount"),
        ({"components": {"pilots": {}}}, "components.pilots", "pilot"),
        ({"components": {"ingressGateways": [{"labels": {}}]}}, "components.ingressGateways[0].labels", "label"),
    ],
)
def test_what_istio_does_not_know_is_named_with_the_nearest(
    program: Path, settings: dict[str, object], path: str, nearest: str
) -> None:
    assert unknown_settings(settings, read(program)) == [
        f"istio_values: Istio does not know {path}; did you mean {nearest}?"
    ]


def test_where_nothing_is_near_all_that_is_known_is_named() -> None:
    schema = {"MeshConfig": Message({"alpha": "", "beta": ""}, ("alpha", "beta"))}
    assert unknown_settings({"meshConfig": {"zzzz": 1}}, schema) == [
        "istio_values: Istio does not know meshConfig.zzzz; known there: alpha, beta."
    ]
