"""Whether a controller does what a step of a rotation of its CAs is for, seen by asking it.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
from collections.abc import Mapping
from contextlib import closing

from .api_server import running
from .authority import ACCEPT, ACCOUNTS, AUTHORITIES, DROP, FOLDER, SIGNING
from .certificates import processes
from .etcd import Etcd, EtcdError
from .kubeapi import Api, ApiError
from .trust import blocks, client_of, key_id, signed_with, trusting

# Credentials that the new CAs have signed, in memory, until they were accepted.
PLACE = "/run/slipway/trial"
MANAGER = "kube-controller-manager"
MANAGER_HEALTH = ("127.0.0.1", 10257)
PORT = 6443
SECONDS = 5.0
_NAME = "slipway-trial"
# Of kubeadm's configuration: where it has the CAs.
_PLACE = re.compile(r"(?m)^certificatesDir:.*$")
# What kubeadm makes in a new folder of CAs.
MADE = (("certs", "ca"), ("certs", "front-proxy-ca"), ("certs", "etcd-ca"), ("certs", "sa"))
TRIALS = (("certs", "front-proxy-client"), ("certs", "etcd-healthcheck-client"), ("kubeconfig", "admin"))


def configuration(stored: str, folder: str, address: str) -> str:
    """Write a configuration of kubeadm with another folder of CAs: the rest is that of the cluster."""
    line = f"certificatesDir: {folder}"
    cluster = _PLACE.sub(line, stored) if _PLACE.search(stored) else f"{stored.rstrip()}\n{line}\n"
    return f"""\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {address}
  bindPort: 6443
nodeRegistration:
  criSocket: unix:///run/containerd/containerd.sock
---
{cluster}"""


def stored(api: Api) -> str:
    """Read what kubeadm keeps in the cluster. Raises ApiError."""
    status, found = api.request("GET", "/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
    text = str((found.get("data") or {}).get("ClusterConfiguration", ""))
    if status != 200 or not text:
        raise ApiError(f"the ConfigMap kubeadm-config is answered with {status}: {found.get('message', 'it is empty')}")
    return text


def lay(new: Mapping[str, str], here: Mapping[str, str], place: str = PLACE) -> None:
    """Lay the new CAs out for kubeadm, which makes credentials of them that are tried and thrown away."""
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(f"{place}/etcd", mode=0o700)
    for name in AUTHORITIES:
        for kind in ("crt", "key"):
            path = f"{place}/{name.removeprefix('pki/')}.{kind}"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(new[f"{name}.{kind}"])
    # What the servers of this controller are believed by.
    os.makedirs(f"{place}/here/etcd", mode=0o700)
    for name in ("ca", "etcd/ca"):
        with open(f"{place}/here/{name}.crt", "w", encoding="ascii") as file:
            file.write(here[f"pki/{name}.crt"])


def accepted(address: str, new: Mapping[str, str], place: str = PLACE) -> str:
    """Say which credential of the new CAs is refused here; empty: none is."""
    try:
        with (
            open(f"{place}/admin.conf", encoding="utf-8") as file,
            open(f"{place}/here/ca.crt", encoding="ascii") as ca,
        ):
            admin = trusting(file.read(), ca.read())
        status, _ = Api(admin, server=f"{address}:{PORT}").request("GET", "/api/v1/nodes?limit=1")
        if status != 200:
            return f"the API server answers an administrator of the new CA with {status}"
        for name in ("crt", "key"):
            shutil.copy(f"{place}/etcd/healthcheck-client.{name}", f"{place}/here/etcd/healthcheck-client.{name}")
        if not Etcd(f"{place}/here/etcd").is_healthy():
            return "etcd does not answer a client of its new CA"
        if (name := _through_proxy(address, place)) != _NAME:
            return f"the API server takes what a proxy of its new CA says for {name}"
    except (OSError, ValueError, KeyError, ApiError, EtcdError, http.client.HTTPException) as exc:
        return f"a credential of the new CA is refused: {exc}"
    return _knows(address, new, alone=False)


def _through_proxy(address: str, place: str) -> str:
    """Ask the API server who somebody is that a proxy vouches for."""
    context = ssl.create_default_context(cafile=f"{place}/here/ca.crt")
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(f"{place}/front-proxy-client.crt", f"{place}/front-proxy-client.key")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    headers = {
        "Content-Type": "application/json",
        "X-Remote-User": _NAME,
        "X-Remote-Group": "system:authenticated",
    }
    connection = http.client.HTTPSConnection(address, PORT, timeout=SECONDS, context=context)
    with closing(connection):
        connection.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json.dumps(body), headers)
        found = json.loads(connection.getresponse().read() or b"{}")
    return str(found.get("status", {}).get("userInfo", {}).get("username", "nobody"))


def _knows(address: str, new: Mapping[str, str], *, alone: bool) -> str:
    """Say how the keys by which an API server knows tokens are not those of this step; empty: they are."""
    try:
        with open(f"{FOLDER}/admin.conf", encoding="utf-8") as file:
            api = Api(file.read(), server=f"{address}:{PORT}")
        status, found = api.request("GET", "/openid/v1/jwks")
    except (OSError, ApiError) as exc:
        return str(exc)
    known = {str(each.get("kid")) for each in found.get("keys") or []}
    own = key_id(blocks(new[f"{ACCOUNTS}.pub"])[0])
    if status != 200 or own not in known:
        return f"the API server does not know the new key of service accounts ({status})"
    return "the API server knows an old key of service accounts" if alone and len(known) > 1 else ""


def issued(address: str, new: Mapping[str, str]) -> str:
    """Say what here is not of the new CAs, and would be refused without the old ones; empty: nothing is."""
    try:
        with open(f"{FOLDER}/admin.conf", encoding="utf-8") as file:
            admin = file.read()
        api = Api(trusting(admin, new["pki/ca.crt"]), server=f"{address}:{PORT}")
        status, found = api.request(
            "POST",
            "/api/v1/namespaces/kube-system/serviceaccounts/default/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )
        token = str((found.get("status") or {}).get("token", ""))
        if status != 201 or signed_with(token) != key_id(blocks(new[f"{ACCOUNTS}.pub"])[0]):
            return f"a token of a service account is not signed with the new key ({status})"
        # With all that etcd is asked with, but believing the new CA alone.
        os.makedirs(PLACE, mode=0o700, exist_ok=True)
        for name in ("healthcheck-client.crt", "healthcheck-client.key"):
            shutil.copy(f"{FOLDER}/pki/etcd/{name}", f"{PLACE}/{name}")
        with open(f"{PLACE}/ca.crt", "w", encoding="ascii") as ca:
            ca.write(new["pki/etcd/ca.crt"])
        if not Etcd(PLACE).is_healthy():
            return "etcd does not serve with a certificate of its new CA"
    except (OSError, ValueError, ApiError, EtcdError) as exc:
        return f"what the new CA alone has signed is not served: {exc}"
    return "" if client_of(admin) else "admin.conf has no certificate"


def manager_is_well(step: str) -> str:
    """Say how kube-controller-manager does not run as a step wants it; empty: it does."""
    try:
        with open(f"/proc/{processes()[MANAGER]}/cmdline", "rb") as file:
            arguments = dict(running(file.read()))
    except (OSError, KeyError):
        return f"{MANAGER} does not run"
    signer = f"{FOLDER}/{'pki/ca.crt' if step == DROP else SIGNING}"
    if arguments.get("cluster-signing-cert-file") != signer:
        return f"{MANAGER} does not sign with {signer} yet"
    context = ssl.create_default_context()
    # It serves with a certificate of its own making, on loopback alone.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(*MANAGER_HEALTH, timeout=SECONDS, context=context)
    try:
        with closing(connection):
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"{MANAGER}: {exc}"
    return "" if status == 200 else f"{MANAGER} says that it is not well ({status})"


def seen(step: str, address: str, new: Mapping[str, str]) -> str:
    """Say how this controller does not do what a step is for; empty: it does."""
    if why := manager_is_well(step):
        return why
    if step == ACCEPT:
        return accepted(address, new)
    return issued(address, new) or _knows(address, new, alone=step == DROP)
