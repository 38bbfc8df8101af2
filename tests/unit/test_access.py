"""How a cluster is reached: which kubeconfig, which context, which variables, and that no key stays on the disk."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import ssl
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.cluster import access
from slipway.cluster.access import BusyError, UnansweredError
from slipway.cluster.client import Cluster
from slipway.errors import SlipwayError
from slipway.parts.selfsigned import make

from tests.support.api import ApiServer, kubeconfig
from tests.support.errors import refused

NOWHERE = "https://127.0.0.1:9"
PODS = "/api/v1/namespaces/apps/pods"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    for name in [name for name in os.environ if name.startswith("K8S_AUTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path / "state"))
    started = ApiServer(tmp_path, monkeypatch)
    yield started
    started.stop()


def written(server: ApiServer, **more: Any) -> str:
    """Write a kubeconfig with more in it; give its path."""
    content = json.loads(server.kubeconfig.read_text())
    content["users"][0]["user"] |= more.pop("user", {})
    content["clusters"][0]["cluster"] |= more.pop("cluster", {})
    content |= more
    server.kubeconfig.write_text(json.dumps(content))
    return str(server.kubeconfig)


def test_a_token_of_the_kubeconfig_is_shown(server: ApiServer) -> None:
    Cluster(written(server, user={"token": "of-a-service-account"})).items(PODS)
    assert server.headers["Authorization"] == "Bearer of-a-service-account"


def test_a_program_that_prints_a_token_is_run(server: ApiServer, tmp_path: Path) -> None:
    said = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "printed"}}
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(said))})\n")
    plugin.chmod(0o700)
    run = {"apiVersion": said["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
    Cluster(written(server, user={"exec": run})).items(PODS)
    assert server.headers["Authorization"] == "Bearer printed"


def test_the_context_that_is_named_counts(server: ApiServer) -> None:
    content = json.loads(server.kubeconfig.read_text())
    clusters = [{"name": "other", "cluster": {"server": "http://127.0.0.1:9"}}, *content["clusters"]]
    contexts = [{"name": "other", "context": {"cluster": "other", "user": "admin"}}, *content["contexts"]]
    path = written(server, clusters=clusters, contexts=contexts, **{"current-context": "other"})
    with refused("api-silent: http://127.0.0.1:9", BusyError):
        Cluster(path).items(PODS)
    assert Cluster({"kubeconfig": path, "context": "lab"}).items(PODS) == []
    with refused("kubeconfig-wrong: none"):
        Cluster({"kubeconfig": path, "context": "none"})


def test_a_server_behind_a_prefix_is_asked_there(server: ApiServer) -> None:
    address = json.loads(server.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    path = written(server, cluster={"server": f"{address}/clusters/lab"})
    server.prefix = "/clusters/lab"
    assert Cluster(path).items(PODS) == []
    assert Cluster(path).kind("apps/v1", "Deployment")
    assert server.asked[-1][1] == PODS


def test_options_and_variables_have_the_collections_names(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_API_KEY", "of-the-shell")
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "no")
    told = access.settings({"kubeconfig": str(server.kubeconfig)})
    assert (told["api_key"], told["verify_ssl"]) == ("of-the-shell", False)
    Cluster(server.kubeconfig).items(PODS)
    assert server.headers["Authorization"] == "Bearer of-the-shell"
    Cluster({"kubeconfig": str(server.kubeconfig), "api_key": "given", "impersonate_user": "jane"}).items(PODS)
    assert (server.headers["Authorization"], server.headers["Impersonate-User"]) == ("Bearer given", "jane")
    monkeypatch.delenv("K8S_AUTH_API_KEY")
    address = json.loads(server.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    Cluster({"host": f"{address}/", "api_key": "alone"}).items(PODS)
    assert server.headers["Authorization"] == "Bearer alone"
    Cluster({"kubeconfig": json.loads(written(server, user={"token": "in-a-map"}) and server.kubeconfig.read_text())})


def test_what_is_named_beside_a_kubeconfig_counts_also_where_that_has_a_token(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = json.loads(server.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    path = written(server, user={"token": "of-the-kubeconfig"}, cluster={"server": NOWHERE})
    Cluster({"kubeconfig": path, "host": address}).items(PODS)
    assert server.headers["Authorization"] == "Bearer of-the-kubeconfig"
    Cluster({"kubeconfig": path, "host": address, "api_key": "given"}).items(PODS)
    assert server.headers["Authorization"] == "Bearer given"
    monkeypatch.setenv("K8S_AUTH_HOST", address)
    monkeypatch.setenv("K8S_AUTH_API_KEY", "of-the-shell")
    monkeypatch.setenv("K8S_AUTH_IMPERSONATE_USER", "jane")
    monkeypatch.setenv("K8S_AUTH_IMPERSONATE_GROUPS", "a,b")
    Cluster(path).items(PODS)
    said = server.headers
    assert (said["Authorization"], said["Impersonate-User"]) == ("Bearer of-the-shell", "jane")
    assert said.get_all("Impersonate-Group") == ["a", "b"]
    with refused("kubeconfig-only: api_key, host, impersonate_groups, impersonate_user"):
        access.of_kubectl({"kubeconfig": path})


def test_a_name_and_a_password_are_shown(server: ApiServer) -> None:
    address = json.loads(server.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    Cluster({"host": address, "username": "jane", "password": "secret"}).items(PODS)
    assert server.headers["Authorization"] == f"Basic {base64.b64encode(b'jane:secret').decode()}"


def test_where_no_cluster_is_named_none_is_taken(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    with refused("no-cluster-named: kubeconfig … host and api_key"):
        Cluster({})
    for nothing in (":", "~nobody-has-this-name/kubeconfig"):
        with pytest.raises(SlipwayError):
            Cluster({"kubeconfig": nothing})
    with refused("kubeconfig-wrong: proxy"):
        Cluster({"kubeconfig": written(server, cluster={"proxy-url": "gopher://127.0.0.1:9"})})


def test_the_own_cluster_is_known_by_its_folder_however_that_is_written(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "kubeconfig").write_text(server.kubeconfig.read_text())
    (tmp_path / "link").symlink_to(lab)
    monkeypatch.setenv("K8S_AUTH_HOST", "http://127.0.0.1:9")
    other = {"kubeconfig": str(tmp_path / "link" / "kubeconfig")}
    assert not access.is_own(other)
    monkeypatch.setattr(access, "_OWN", set())
    access.work_for(lab / ".." / "lab")
    assert access.is_own(other)
    assert Cluster(other).items(PODS) == []


def test_one_bad_answer_does_not_spoil_what_is_known_of_kinds(server: ApiServer) -> None:
    cluster = Cluster(server.kubeconfig)
    assert cluster.kind("apps/v1", "Deployment")
    server.refusals["/version"] = [(503, "not now")]
    with pytest.raises(BusyError):
        cluster.kind("test.io/v1", "Pool")
    # The answer holds for a moment, for all who asked the same.
    with pytest.raises(BusyError):
        cluster.kind("networking.istio.io/v1", "Gateway")
    time.sleep(1.1)
    assert cluster.kind("networking.istio.io/v1", "Gateway")
    cluster.forget()
    assert cluster.kind("networking.istio.io/v1", "Gateway")


def test_a_broken_connection_is_made_anew_for_kinds_too(server: ApiServer) -> None:
    server.drop = 1
    assert Cluster(server.kubeconfig).kind("apps/v1", "Deployment")
    server.drop = 1
    with pytest.raises(BusyError):
        Cluster(server.kubeconfig, tries=1).kind("storage.k8s.io/v1", "StorageClass")


def test_what_the_shell_says_does_not_lead_away_from_the_checkouts_own_cluster(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "state" / "kubeconfig"
    own.parent.mkdir()
    own.write_text(server.kubeconfig.read_text())
    monkeypatch.setenv("K8S_AUTH_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("K8S_AUTH_API_KEY", "of-the-shell")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert Cluster(own).items(PODS) == []
    assert "Authorization" not in server.headers
    with refused("api-silent: 127.0.0.1:9", BusyError):
        Cluster(server.kubeconfig).items(PODS)


def test_a_server_that_refuses_to_name_its_kinds_is_told(server: ApiServer) -> None:
    server.refusals["/apis"] = [(403, "no")]
    with refused("api-refuses: 403", UnansweredError) as caught:
        Cluster(server.kubeconfig).kind("apps/v1", "Deployment")
    assert not isinstance(caught.value, BusyError)
    server.refusals["/apis"] = [(503, "not now")]
    with refused("api-refuses: 503", BusyError):
        Cluster(server.kubeconfig).kind("apps/v1", "Deployment")


def test_keys_do_not_stay_on_the_disk(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    pair = make("admin", dt.datetime.now(dt.UTC), dt.timedelta(days=1))
    certificate, key = (base64.b64encode(text).decode() for text in pair)
    user = {"client-certificate-data": certificate, "client-key-data": key}
    path = written(server, user=user, cluster={"server": NOWHERE, "certificate-authority-data": certificate})
    loaded: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def noted(self: ssl.SSLContext, certificate: str, key: str) -> None:
        loaded.append(key)
        assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
        load(self, certificate, key)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", noted)
    # A second time in one process, the library's own record of its files must not lead astray.
    for _ in range(2):
        Cluster(path)
    assert len(loaded) == 2
    assert list(folder.iterdir()) == []


def test_a_key_that_does_not_fit_is_one_sentence(server: ApiServer) -> None:
    data = base64.b64encode(b"no certificate").decode()
    path = written(server, user={"client-certificate-data": data, "client-key-data": data}, cluster={"server": NOWHERE})
    with refused("kubeconfig-wrong: certificates"):
        Cluster(path)


def test_kubectl_gets_a_kubeconfig_and_a_context_and_no_token(server: ApiServer) -> None:
    path = str(server.kubeconfig)
    assert access.of_kubectl({"kubeconfig": path, "context": "lab"}) == {
        "kubeconfig": path,
        "context": "lab",
        "proxied": True,
    }
    with pytest.raises(SlipwayError, match=r"not api_key \[kubeconfig-only\]\n  works: -e kubeconfig="):
        access.of_kubectl({"kubeconfig": path, "api_key": "secret"})


def test_a_kubeconfig_of_several_files_is_read(server: ApiServer, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert Cluster(f"{missing}{os.pathsep}{server.kubeconfig}").items(PODS) == []
    assert access.is_missing({"kubeconfig": f"{missing}{os.pathsep}{missing}"})
    assert kubeconfig("http://127.0.0.1:9")
