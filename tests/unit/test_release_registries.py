"""Credentials of registries and Secrets of a type: what of them is made, kept, refused, and used by pods."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from slipway.release.judge import secret_values
from slipway.release.planner import declared_secrets, plan
from slipway.release.registries import registry_of
from slipway.release.render import render
from slipway.release.spec import load

from tests.support.full_release import pod
from tests.support.pasted import pasted
from tests.support.release import Object, page, problems
from tests.support.release_changes import changed

GITHUB = {"registry": "ghcr.io", "user": "bot", "password": {"environment": "T"}}


def listed(folder: Path, secret: dict[str, Any]) -> list[Object]:
    return declared_secrets(load(page(folder, changed(("secrets", {"reg": secret})))).release)


def present(folder: Path, secret: dict[str, Any], value: str) -> dict[str, Object]:
    """The Secret of a page as a cluster has it after a run with this value."""
    (one,), _ = secret_values(listed(folder, secret), {}, "shop/shop", {"T": value}, {})
    labels = {
        "app.kubernetes.io/managed-by": "slipway",
        "slipway.io/release": "shop",
        "slipway.io/namespace": "shop",
    }
    (made,) = render(
        "secret", name=one.name, namespace="shop", labels=labels, type=one.type, data=one.data,
        annotations=one.annotations,
    )  # fmt: skip
    return {"reg": made}


def credentials(item: Object) -> Object:
    found: Object = json.loads(base64.b64decode(item["data"][".dockerconfigjson"]))["auths"]
    return found


def test_credentials_are_made_as_a_kubelet_reads_them_and_every_pod_pulls_with_them(tmp_path: Path) -> None:
    made = present(tmp_path, GITHUB, "hunter2")["reg"]
    assert made["type"] == "kubernetes.io/dockerconfigjson"
    auth = base64.b64encode(b"bot:hunter2").decode()
    assert credentials(made) == {"ghcr.io": {"username": "bot", "password": "hunter2", "auth": auth}}
    image = ("services.back.image", "ghcr.io/shop/back:1")
    values = changed(("secrets", {"reg": GITHUB}), ("image_pull_secrets", ["other"]), image)
    for name in ("front-v1", "front-v2", "back-v1"):
        spec = pod(plan(load(page(tmp_path, values))), name)["spec"]
        assert spec["imagePullSecrets"] == [{"name": "other"}, {"name": "reg"}]


def test_images_without_a_registry_are_pulled_with_what_clients_call_docker_hub(tmp_path: Path) -> None:
    made = present(tmp_path, {**GITHUB, "registry": "docker.io"}, "x")["reg"]
    assert set(credentials(made)) == {"https://index.docker.io/v1/"}
    images = {"nginx:1": "docker.io", "shop/web:1": "docker.io", "localhost/a:1": "localhost", "reg:5000/a": "reg:5000"}
    assert {image: registry_of(image) for image in images} == images


def test_a_password_that_nobody_gives_again_stays_and_one_of_another_registry_does_not(tmp_path: Path) -> None:
    there = present(tmp_path, GITHUB, "hunter2")
    assert secret_values(listed(tmp_path, GITHUB), there, "shop/shop", {}, {}) == ([], [])
    (renamed,), faults = secret_values(listed(tmp_path, {**GITHUB, "user": "new"}), there, "shop/shop", {}, {})
    assert faults == []
    assert credentials({"data": renamed.data})["ghcr.io"]["username"] == "new"
    assert "hunter2" not in str(renamed.said)
    moved = listed(tmp_path, {**GITHUB, "registry": "quay.io"})
    made, (fault,) = secret_values(moved, there, "shop/shop", {}, {})
    assert made == []
    assert (fault.id, fault.key) == ("value-not-set", ("secrets", "reg", "password"))


def test_a_secret_has_the_type_of_its_page_and_keeps_it(tmp_path: Path) -> None:
    pair = {"type": "kubernetes.io/tls", "keys": {"tls.crt": {"environment": "T"}, "tls.key": {"environment": "T"}}}
    there = present(tmp_path, pair, "pem")
    assert (there["reg"]["type"], set(there["reg"]["data"])) == ("kubernetes.io/tls", {"tls.crt", "tls.key"})
    assert secret_values(listed(tmp_path, pair), there, "shop/shop", {"T": "pem"}, {}) == ([], [])
    made, (fault,) = secret_values(listed(tmp_path, GITHUB), there, "shop/shop", {"T": "x"}, {})
    assert made == []
    assert fault.id == "secret-type-changed"
    assert "reg-2" in fault.works


KEYS: dict[str, Any] = {"K": {"environment": "T"}}


@pytest.mark.parametrize(
    ("secret", "error_id", "works"),
    [
        ({"registry": "https://ghcr.io/shop", "user": "a", "password": {"environment": "T"}}, "not-a-registry",
         "registry: ghcr.io"),
        ({"registry": "ghcr", "user": "a", "password": {"environment": "T"}}, "not-a-registry", "registry: ghcr.io"),
        ({"registry": "ghcr.io", "user": "a"}, "keys-contradict", "reg: "),
        ({"registry": "ghcr.io", "user": "a", "password": {"random": True}}, "keys-contradict", "reg: "),
        ({**GITHUB, "keys": KEYS}, "needs-one-of", "reg: "),
        ({"existing": True, "type": "kubernetes.io/tls"}, "keys-contradict", "reg: "),
        ({"type": "kubernetes.io/tls", "keys": KEYS}, "secret-type-keys",
         "tls.crt: {environment: REG_TLS_CRT}, tls.key: {environment: REG_TLS_KEY}"),
        ({"type": "kubernetes.io/service-account-token", "keys": KEYS}, "keys-contradict", "reg: "),
        ({"type": "no type", "keys": KEYS}, "wrong-form", "type:"),
        ({"keys": {"a/b": {"environment": "T"}}}, "wrong-name", "a"),
    ],
)  # fmt: skip
def test_what_no_kubelet_and_no_api_server_would_take_is_refused(
    tmp_path: Path, secret: dict[str, Any], error_id: str, works: str
) -> None:
    used = ("services.front.secrets", ["reg"])
    found = problems(page(tmp_path, changed(("secrets", {"reg": secret}), used)))
    assert [problem.id for problem in found] == [error_id]
    assert works in found[0].works
    pasted(tmp_path, changed(("secrets", {"reg": secret}), used), found[0])


def test_what_is_pulled_with_in_vain_is_warned_of(tmp_path: Path) -> None:
    secrets = {"reg": {**GITHUB, "registry": "quay.io"}, "mine": {"keys": KEYS}}
    made = plan(load(page(tmp_path, changed(("secrets", secrets), ("image_pull_secrets", ["mine"])))))
    text = "\n".join(made.warnings)
    assert "secrets.reg.registry" in text
    assert "image_pull_secrets" in text
    assert "mine is Opaque" in text


def test_a_key_that_credentials_do_not_have_is_named(tmp_path: Path) -> None:
    env = ("services.front.env", {"A": {"secret": "reg", "key": "password"}})
    (found,) = problems(page(tmp_path, changed(("secrets", {"reg": {**GITHUB, "registry": "example.org"}}), env)))
    assert (found.id, found.works) == ("unknown-secret", "key: .dockerconfigjson")
