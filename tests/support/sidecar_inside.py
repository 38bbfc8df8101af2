"""One pod's sidecar, its istiod, its application and hosts outside, in a network of their own, for ``sidecar.py``.

Standard library only. The job is JSON on stdin; what was answered is JSON on stdout.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

Json = dict[str, Any]

PROXY = 1337
POD, SERVICE = "10.0.0.1", "10.9.9.9"
OUTSIDE = "192.0.2.0/24"
KINDS = {
    "services": "Service",
    "pods": "Pod",
    "nodes": "Node",
    "namespaces": "Namespace",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "endpoints": "Endpoints",
    "serviceaccounts": "ServiceAccount",
    "endpointslices": "EndpointSlice",
    "customresourcedefinitions": "CustomResourceDefinition",
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
    "leases": "Lease",
    "ingresses": "Ingress",
    "ingressclasses": "IngressClass",
}
ABSENT = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
SPACES = ("shop", "elsewhere", "istio-system")


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Application(http.server.BaseHTTPRequestHandler):
    """Says who it is. /slow takes its time, and /flaky fails once for each query."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/slow":
            time.sleep(3)
        count = self.asked[self.path] = self.asked.get(self.path, 0) + 1
        token = bool(self.headers.get("authorization"))
        said = {"server": getattr(self.server, "called", ""), "host": self.headers.get("host"), "token": token}
        answer(self, 503 if path == "/flaky" and count == 1 else 200, said)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


class Api(http.server.BaseHTTPRequestHandler):
    """An API server without objects, but for namespaces: istiod wants to have asked one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query, parts = urllib.parse.parse_qs(url.query), [part for part in url.path.split("/") if part]
        if url.path == "/version":
            return answer(self, 200, {"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
        if "namespaces" in parts and len(parts) - parts.index("namespaces") > 3:
            return answer(self, 404, ABSENT)
        last, partial = parts[-1], "PartialObjectMetadata" in self.headers.get("accept", "")
        version = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        kind = "PartialObjectMetadata" if partial else KINDS.get(last, last.title())
        about = {"apiVersion": "meta.k8s.io/v1" if partial else version}
        items = [{"metadata": {"name": name, "uid": name, "resourceVersion": "1"}} for name in SPACES]
        found = [{"kind": kind, **about, **item} for item in items if last == "namespaces"]
        if "watch" not in query:
            return answer(
                self, 200, {"kind": f"{kind}List", **about, "metadata": {"resourceVersion": "1"}, "items": found}
            )
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = [{"type": "ADDED", "object": item} for item in found]
        end = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
        events.append({"type": "BOOKMARK", "object": {"kind": kind, **about, "metadata": end}})
        for event in events if query.get("sendInitialEvents") == ["true"] else ():
            text = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()
        time.sleep(600)
        return None

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        answer(self, 404, ABSENT)

    def do_PUT(self) -> None:
        self.do_POST()

    def do_PATCH(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


def answer(handler: http.server.BaseHTTPRequestHandler, status: int, said: Any) -> None:
    text = json.dumps(said).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def serve(place: str, port: int, handler: Any, called: str, pair: str = "") -> None:
    server = http.server.ThreadingHTTPServer((place, port), handler)
    server.called = called  # type: ignore[attr-defined]
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def network(addresses: list[str]) -> None:
    """Make the addresses, and lead to the proxy what a pod's rules lead there."""
    run("ip", "link", "set", "lo", "up")
    for address in sorted({POD, SERVICE, *addresses}):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    rule = ["iptables", "-w", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-m", "owner", "!", "--uid-owner", str(PROXY)]
    run(*rule, "-d", POD, "-j", "REDIRECT", "--to-ports", "15006")
    for place in (SERVICE, OUTSIDE):
        run(*rule, "-d", place, "-j", "REDIRECT", "--to-ports", "15001")


def authorities(folder: Path, files: dict[str, str], mounted: str) -> None:
    """Have the files where a pod's proxy has them, and nobody else."""
    upper, work = folder / "upper", folder / "work"
    upper.mkdir()
    work.mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={upper},workdir={work}", "/etc")
    Path(mounted).mkdir(parents=True)
    for name, text in files.items():
        (Path(mounted) / name).write_text(text)


def istiod(job: Json, folder: Path) -> subprocess.Popen[bytes]:
    serve("127.0.0.1", 8999, Api, "api")
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:8999"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config: Json = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
    config |= {"users": [{"name": "u", "user": {}}], "current-context": "x"}
    (folder / "kubeconfig").write_text(json.dumps(config))
    (folder / "mesh.yaml").write_text(json.dumps(job["mesh"]))
    command = [f"{folder}/pilot-discovery", "discovery", f"--configDir={folder}/objects", "--registries=Kubernetes"]
    command += [f"--kubeconfig={folder}/kubeconfig", f"--meshConfig={folder}/mesh.yaml", "--grpcAddr=127.0.0.1:15010"]
    command += ["--httpAddr=127.0.0.1:8081", "--httpsAddr=", "--secureGRPCAddr=", "--monitoringAddr=127.0.0.1:15014"]
    own = {"POD_NAMESPACE": "istio-system", "ENABLE_CA_SERVER": "false", "PILOT_CERT_PROVIDER": "none", **job["env"]}
    log = (folder / "istiod.log").open("wb")
    return subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log, cwd=folder)


def sidecar(job: Json, folder: Path) -> subprocess.Popen[bytes]:
    home = folder / "home"
    home.mkdir()
    os.chown(home, PROXY, PROXY)
    proxy = {"discoveryAddress": "127.0.0.1:15010", "controlPlaneAuthPolicy": "NONE", "statusPort": 15020}
    proxy |= {"binaryPath": f"{folder}/envoy", "configPath": f"{home}/proxy"}
    proxy |= {"proxyBootstrapTemplatePath": f"{folder}/bootstrap.json"}
    own = {"POD_NAME": "web-v1-abc", "POD_NAMESPACE": "shop", "SERVICE_ACCOUNT": "web-v1", "INSTANCE_IP": POD}
    own |= {"ISTIO_META_CLUSTER_ID": "Kubernetes", "ISTIO_META_INTERCEPTION_MODE": "REDIRECT"}
    own |= {"FILE_MOUNTED_CERTS": "true", "PROXY_CONFIG": json.dumps(proxy), "HOME": str(home)}
    own["ISTIO_METAJSON_LABELS"] = json.dumps({**job["labels"], "security.istio.io/tlsMode": "istio"})
    for side in ("SERVER", "CLIENT"):
        for name, file in (("CERT_CHAIN", "pod.crt"), ("KEY", "pod.key"), ("ROOT_CERT", "mesh.crt")):
            own[f"ISTIO_META_TLS_{side}_{name}"] = f"{folder}/{file}"
    log = (folder / "agent.log").open("wb")
    command = [f"{folder}/pilot-agent", "proxy", "sidecar", "--domain", "shop.svc.cluster.local"]
    env = {**os.environ, **own}
    return subprocess.Popen(
        command, env=env, stdout=log, stderr=log, cwd=home, user=PROXY, group=PROXY, extra_groups=[]
    )


def fetched(url: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as found:
            return int(found.status), found.read()
    except OSError:
        return 0, b""


def wait_until_ready(processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    until = time.monotonic() + 120
    while fetched("http://127.0.0.1:15020/healthz/ready")[0] != 200:
        if time.monotonic() > until or any(process.poll() is not None for process in processes):
            logs = "\n".join(
                (folder / name).read_text(errors="replace")[-1500:] for name in ("istiod.log", "agent.log")
            )
            raise SystemExit(f"the sidecar is not ready\n{logs}")
        time.sleep(0.5)


def ask(step: Json, folder: Path) -> Json:
    """Send one request, to an address, in the name of a host."""
    place, port = step["to"]
    connection = http.client.HTTPConnection(place, port, timeout=10)
    try:
        connection.connect()
        if "server" in step or "as" in step:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            if "as" in step:
                context.load_cert_chain(folder / f"{step['as']}.crt", folder / f"{step['as']}.key")
            connection.sock = context.wrap_socket(connection.sock, server_hostname=step.get("server") or None)
        headers = {"host": step.get("host", place), **step.get("headers", {})}
        connection.request(step.get("method", "GET"), step.get("path", "/"), headers=headers)
        got = connection.getresponse()
        body = got.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        return {"status": 0, "said": type(exc).__name__}
    finally:
        connection.close()
    try:
        return {"status": got.status, **json.loads(body)}
    except ValueError:
        return {"status": got.status, "said": body[:120]}


def main() -> None:
    job = json.load(sys.stdin)
    folder = Path(job["folder"])
    network([place for place, *_ in job["servers"]])
    authorities(folder, job["authorities"], job["mounted"])
    serve(POD, 8080, Application, "app")
    for place, port, called, pair in job["servers"]:
        serve(place, port, Application, called, f"{folder}/{pair}" if pair else "")
    processes = [istiod(job, folder)]
    try:
        processes.append(sidecar(job, folder))
        wait_until_ready(processes, folder)
        answers = {name: ask(step, folder) for name, step in job["steps"].items()}
        dumps = {name: json.loads(fetched(f"http://127.0.0.1:15000/{path}")[1]) for name, path in job["dumps"].items()}
        json.dump({"answers": answers, "dumps": dumps}, sys.stdout)
    finally:
        for process in processes[::-1]:
            process.kill()


if __name__ == "__main__":
    main()
