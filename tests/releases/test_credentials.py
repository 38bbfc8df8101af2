"""Credentials of a registry and Secrets of a type, as the API server and the pods have them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.support.releases import SECRETS, Stage

PAGE = str(Path(__file__).parent / "pages/credentials.yml")
WHERE = "--namespace=credentials"


def test_pods_pull_with_the_credentials_of_the_page_and_a_second_run_changes_nothing(empty: Stage) -> None:
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
    finally:
        empty.take_away((PAGE,))
