"""What the documented systems do not ask for: a page released twice, versions by a hash, figures of a ready cluster."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.breaks import PAGES, RELAY, are_named
from tests.support.kube import eventually
from tests.support.mesh import gateway_address
from tests.support.releases import HELLO, SMS, Stage
from tests.support.traffic import asked

HASH, FAULTS, CLASSES, PATHS, REDIRECT = (
    str(PAGES / f"{name}.yml") for name in ("hash", "faults", "classes", "paths", "redirect")
)
AGAIN = {"release_name": "again", "release_namespace": "again", "release_hosts": ["again.local"]}
# Seconds from the start of the run to the first answer, with the images on the nodes, and of a run that finds nothing.
FIRST, SECOND = 30, 12


def test_a_page_is_released_twice_side_by_side_and_both_are_proved(empty: Stage) -> None:
    empty.release(HELLO, prove="never").expect()
    empty.release(HELLO, prove="never", **AGAIN).expect()
    try:
        empty.prove(HELLO).expect()
        empty.prove(HELLO, **AGAIN).expect()
        empty.passed("again")
        # One goes, the other does not notice.
        empty.release(HELLO, release_state="absent", **AGAIN).expect()
        assert empty.release(HELLO, prove="never").expect().total("changed") == 0
    finally:
        empty.release(HELLO, release_state="absent", **AGAIN)
        empty.take_away((HELLO,))


@pytest.mark.parametrize(
    ("page", "kinds"),
    [
        # Without a cookie each client stays with its version, by what it is called.
        (HASH, {"share", "sticky"}),
        # A version that travels past a hop in a header; a timeout and more tries, by the test header; headers, and
        # browsers on pages of other origins.
        (RELAY, {"share", "chain", "timeout", "retries", "headers", "version-header", "cors"}),
        # An alert about answers that no service gave; a GET that is sent again, and a POST that is not.
        (FAULTS, {"faults", "alert", "retries"}),
        # Everything by TLS, as clients without it are only sent on.
        (REDIRECT, {"share", "sticky", "chain", "limit", "tls"}),
        # Numbers of their own for values of a header and of a cookie, and for paths together.
        (CLASSES, {"limit"}),
        # Hosts of their own, wildcards, weights of a path, cases, redirects, a header by a pattern.
        (PATHS, {"share", "override", "case", "redirect", "entry"}),
    ],
    ids=["hash", "relay", "faults", "redirect", "classes", "paths"],
)
def test_what_the_documents_do_not_ask_for_is_proved_too(empty: Stage, page: str, kinds: set[str]) -> None:
    try:
        empty.release(page, prove="always").expect()
        name = Path(page).stem
        empty.passed(name)
        assert empty.kinds(name, "passed") >= kinds
        # Each of them by requests, not one for all.
        assert {each["id"] for each in empty.claims(name) if each["kind"] == "limit"} <= {
            each["id"] for each in empty.claims(name) if each["state"] == "passed"
        }
        are_named(empty, page)
    finally:
        empty.take_away((page,))


def test_figures_of_a_release_on_a_ready_cluster(empty: Stage) -> None:
    address = gateway_address(empty.kube)
    # The images are on the nodes then.
    empty.release(SMS, prove="never").expect()
    empty.take_away((SMS,))
    eventually(lambda: asked(address, "team8.local", "/").status != "200", seconds=30, what="nobody answers any more")
    began = time.monotonic()
    run = empty.release(SMS, prove="never").expect()
    eventually(lambda: asked(address, "team8.local", "/").status == "200", seconds=60, what="it answers")
    first = time.monotonic() - began
    again = empty.release(SMS, prove="never").expect()
    print(
        f"first answer {first:.1f} s after the start (the run: {run.seconds:.1f} s), a second run {again.seconds:.1f} s"
    )
    assert again.total("changed") == 0
    assert first <= FIRST
    assert again.seconds <= SECOND
