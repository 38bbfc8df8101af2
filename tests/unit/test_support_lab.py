"""A lab never takes a name, a network or a machine of a user."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.lab import CANDIDATES, LabError, clean, free_network, lab_name, lab_values, rewrite_page

ROOT = Path(__file__).resolve().parents[2]
Network = ipaddress.IPv4Network


def test_two_checkouts_have_labs_of_different_names(tmp_path: Path) -> None:
    assert lab_name("molecule", tmp_path / "one") != lab_name("molecule", tmp_path / "two")
    assert lab_name("molecule", tmp_path) == lab_name("molecule", tmp_path)
    assert lab_name("molecule", tmp_path) != lab_name("e2e", tmp_path)


def test_the_network_of_the_shipped_page_is_no_candidate() -> None:
    assert not any(network.overlaps(Network("192.168.56.0/24")) for network in CANDIDATES)


def test_a_free_network_overlaps_nothing_in_use() -> None:
    used = [Network("192.168.0.0/17"), Network("192.168.200.0/30"), Network("10.0.0.0/8")]
    found = free_network(used, "any")
    assert not any(found.overlaps(network) for network in used)


@given(
    used=st.lists(
        st.builds(
            lambda address, length: Network((int(address), length), strict=False),
            st.ip_addresses(v=4, network="192.168.0.0/16"),
            st.integers(min_value=20, max_value=32),
        ),
        max_size=6,
    ),
    name=st.text(max_size=10),
)
def test_what_is_found_is_always_free_and_a_candidate(used: list[Network], name: str) -> None:
    found = free_network(used, name)
    assert found in CANDIDATES
    assert not any(found.overlaps(network) for network in used)


def test_the_default_route_is_not_a_network_in_use() -> None:
    assert free_network([Network("0.0.0.0/0")], "any") in CANDIDATES


def test_no_free_network_is_said() -> None:
    with pytest.raises(LabError, match="is free"):
        free_network([Network("192.168.0.0/16")], "any")


@pytest.mark.parametrize("name", ["slipway", "slipway-test", "slipway-test-", "prod", "slipway-test-x-12345"])
def test_only_a_lab_can_be_cleaned(name: str) -> None:
    with pytest.raises(LabError, match="not the name of a lab"):
        clean(name)


def test_the_page_of_a_lab_is_the_shipped_one_with_other_values() -> None:
    shipped = (ROOT / "group_vars/all/cluster.yml").read_text()
    values = lab_values("slipway-test-x-000000", Network("192.168.57.0/24"), cluster_ssh_keys=["ssh-ed25519 AAAA x"])
    page = yaml.safe_load(rewrite_page(shipped, values))
    assert page == {**yaml.safe_load(shipped), **values}


def test_a_value_of_several_lines_is_replaced_as_a_whole() -> None:
    page = "# about a\na:\n  b: 1\n  c:\n    - 2\n# about d\nd: [1]\n"
    assert rewrite_page(page, {"a": {"x": 1}}) == '# about a\na: {"x": 1}\n# about d\nd: [1]\n'


def test_a_key_that_the_page_lacks_is_an_error() -> None:
    with pytest.raises(LabError, match="cluster_nam"):
        rewrite_page("cluster_name: a\n", {"cluster_nam": "b"})
