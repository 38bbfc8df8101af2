"""Credentials of a registry and Secrets of a type, as the API server, the pods and a registry have them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import yaml

from tests.support.registry import guarded
from tests.support.releases import SECRETS, Stage

PRIVATE = Path(__file__).parent / "pages/private.yml"
PAGE = str(Path(__file__).parent / "pages/credentials.yml")
WHERE = "--namespace=credentials"


def test_pods_pull_with_the_credentials_of_the_page_and_a_second_run_changes_nothing(
    empty: Stage, tmp_path: Path
) -> None:
    try:
        run = empty.release(PAGE, prove="never").expect()
        assert SECRETS["SPAM_API_KEY"] not in run.output
        secret = empty.kube("get", "secret", "reg", WHERE)
        held = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]["slipway.local"]
        assert (secret["type"], held["username"]) == ("kubernetes.io/dockerconfigjson", "bot")
        assert held["password"] == SECRETS["SPAM_API_KEY"]
        pods = empty.kube("get", "pods", WHERE, "--selector=app=front")["items"]
        assert pods
        assert all({"name": "reg"} in pod["spec"]["imagePullSecrets"] for pod in pods)
        assert empty.kube("get", "secret", "pair", WHERE)["type"] == "kubernetes.io/basic-auth"
        assert empty.release(PAGE, prove="never").expect().total("changed") == 0
        # One that somebody else makes is looked for before anything is touched.
        page = yaml.safe_load(Path(PAGE).read_text())
        page["secrets"]["others"] = {"existing": True}
        other = tmp_path / "credentials.yml"
        other.write_text(yaml.safe_dump(page))
        refused = empty.play("playbooks/plan.yml", str(other))
        assert refused.status != 0
        assert "secret-not-in-cluster" in refused.output
        assert "secrets.others" in refused.output
    finally:
        empty.take_away((PAGE,))


def test_an_image_is_pulled_with_the_password_of_the_page_and_a_wrong_one_is_named(
    empty: Stage, tmp_path: Path
) -> None:
    kube, page, where = empty.kube, tmp_path / "private.yml", "--namespace=private"
    with guarded(empty) as registry:
        right = PRIVATE.read_text().replace("192.0.2.10:5001", registry)
        image = f"{registry}/slipway.local/apps/model:1.0.0"

        def wrong(other: str) -> str:
            page.write_text(other)
            refused = empty.release(str(page), prove="never")
            assert refused.status != 0
            assert "pods-cannot-start" in refused.output
            assert f"image {image}" in refused.output
            for secret in SECRETS.values():
                assert secret not in refused.output
            return refused.output

        try:
            # Without a password, then with another's: the image is on no node yet.
            assert "asked for with" not in wrong(right.partition("secrets:")[0])
            said = wrong(right.replace("SPAM_API_KEY", "GITHUB_TOKEN"))
            assert "asked for with Secret reg: see user and password there" in said
            # Put right, it is pulled at once, though the kubelet would try for the same pods again in a while only.
            page.write_text(right)
            empty.release(str(page), prove="always").expect()
            empty.passed("private")
            events = kube("get", "events", where, "--field-selector=reason=Pulled")["items"]
            assert any(event["message"].startswith(f'Successfully pulled image "{image}"') for event in events)
            assert empty.release(str(page), prove="never").expect().total("changed") == 0
        finally:
            empty.take_away((str(page),))
