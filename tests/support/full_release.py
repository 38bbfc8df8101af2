"""A release whose page says everything that a page can say, its pods and its containers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from .release import RELEASES, one, page, shipped

IMAGE = "example.org/app:1.0"
SHIPPED = sorted(path.stem for path in RELEASES.glob("*.yml"))

# Everything that a page can say, at once.
FULL: dict[str, Any] = {
    "name": "full",
    "hosts": ["full.local"],
    "weights": {"v1": 50, "v2": 50},
    "override": {"hosts": {"next": "v2"}},
    "sticky": {"hash": {"header": "x-user"}},
    "gateway": {"ports": [80, 8080], "tls": {}},
    "limits": {"per_client": "10/minute", "total": "100/second"},
    "tracing": "10%",
    "outside": {
        "pay.example.com": {
            "tls": "mesh",
            "protocol": "http2",
            "port": 8443,
            "call_port": 81,
            "addresses": ["192.0.2.1"],
            "ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "timeout": "2s",
            "retries": 1,
        },
        "*.cdn.example.com": {},
    },
    "egress": "named",
    "version_header": "x-served-by-version",
    "routes": {
        "/": "web",
        "/api": {
            "to": "web",
            "headers": {"request": {"set": {"x-a": "b"}}, "response": {"add": {"vary": "Origin"}, "remove": ["x-c"]}},
            "cors": {"origins": ["https://a.b", "*"], "expose": ["x-id"]},
        },
    },
    "image_pull_secrets": ["registry"],
    "services": {
        "web": {
            "image": IMAGE,
            "replicas": 2,
            "command": ["/app"],
            "args": ["--x"],
            "env": {"A": "1", "B": {"secret": "token", "key": "K"}, "C": {"field": "metadata.name"}},
            "config": {"MODE": "x"},
            "config_mount": "/etc/web",
            "secrets": "token",
            "mounts": {"disk": {"path": "/disk", "sub_path": "a"}, "node": "/node", "room": "/room", "token": "/token"},
            "probes": {"ready": "/r", "live": {"path": "/l", "period": "10s", "port": 81}, "start": "/s"},
            "resources": {"cpu": 0.1, "memory": "1024Mi", "cpu_limit": 1, "memory_limit": "2Gi"},
            "min_available": 1,
            "init": {"wait": {"image": IMAGE, "command": ["/wait"], "mounts": {"room": "/room"}}},
            "beside": {"export": {"image": IMAGE, "env": {"T": {"secret": "token", "key": "K"}}, "user": 2000}},
            "labels": {"team": "shop"},
            "annotations": {"example.org/owner": "shop"},
            "node_selector": {"disk": "fast"},
            "tolerations": ["gpu"],
            "ports": {"admin": 9000, "raw": {"port": 9001, "protocol": "tcp"}},
            "protocol": "http2",
            "service_port": 80,
            "calls": ["api"],
            "callers": ["batch/report", "tools/*"],
            "circuit_breaking": {},
            "metrics": {"port": 9090, "labels": {"release": "prom"}},
            "service_per_version": True,
            "versions": {"v1": None, "v2": {"sidecar": False, "writable": True, "user": 1000, "drain": "0.5s"}},
        },
        "api": {
            "image": IMAGE,
            "autoscaling": {"min": 2, "max": 4, "cpu": "70%"},
            "metrics": "/m",
            "load_balancing": "least-requests",
            "versions": {"v1": None, "v2": None, "v3": {"shadow": "10%"}},
        },
    },
    "volumes": {
        "disk": {"size": "1Gi", "storage_class": "fast"},
        "node": {"host_path": "/mnt/x", "create": True}, "room": {"temporary": "8Mi"},
    },
    "secrets": {"token": {"keys": {"K": {"environment": "TOKEN"}}}, "registry": {"existing": True}},
    "jobs": {
        "migrate": {"image": IMAGE, "args": ["up"], "mounts": {"disk": "/disk"}, "timeout": "1m"},
        "clean": {"image": IMAGE, "schedule": "0 3 * * *", "retries": 1},
    },
    "alerts": {"Errors": "errors > 5%"},
    "mail": {"to": ["a@b.c", "d@e.f"], "server": "mail.b.c:25", "tls": False},
    "alertmanager": "own",
    "tools": {
        "grafana": {"host": "grafana", "service": "graf.x:3000"}, "prometheus": {"host": "prom", "alias": "myprom"},
    },
}  # fmt: skip


# Tokens, which a service needs proxies for in all of its versions.
TOKENS: dict[str, Any] = {
    "name": "tokens",
    "hosts": ["tokens.local"],
    "services": {"web": {"versions": {"v1": IMAGE}}},
    "jwt": {
        "issuers": {
            "https://id.example.org": {
                "audiences": ["tokens"],
                "jwks": {
                    "keys": [
                        {
                            "kty": "EC",
                            "crv": "P-256",
                            "x": "euugiZtW9tnDGy4URlRn4-UcaugN9QMOFn9zs3l0FZg",
                            "y": "96jCVyDEhGN0HwfFes85ZeAcCcfOMGZT6MSDjQMdkrE",
                        }
                    ]
                },
            },
            "urn:other": {"audiences": ["tokens"], "jwks_uri": "https://id.example.net/keys"},
        },
        "free": ["/login"],
        "cookie": "id",
        "forward": False,
    },
}


# Pods with names and claims of their own.
STATEFUL: dict[str, Any] = {
    "name": "stateful",
    "hosts": ["stateful.local"],
    "services": {"db": {"stateful": True, "mounts": {"data": "/data"}, "versions": {"v1": IMAGE}}},
    "volumes": {"data": {"size": "1Gi", "per_pod": True, "storage_class": "fast"}},
}


def full_plan(folder: Path) -> Plan:
    """Plan the release whose page says everything."""
    return plan(load(page(folder, FULL)))


def every(full: Plan) -> Iterator[Any]:
    """Each object of that plan, of those with tokens and with StatefulSets, and of what the repository has."""
    yield from full.objects
    with tempfile.TemporaryDirectory() as folder:
        for more in (TOKENS, STATEFUL):
            yield from plan(load(page(Path(folder), more))).objects
    for name in SHIPPED:
        yield from shipped(name).objects


def pod(made: Plan, name: str) -> dict[str, Any]:
    """The pod that a Deployment makes."""
    found: dict[str, Any] = one(made, "Deployment", name)["spec"]["template"]
    return found


def container(made: Plan, name: str) -> dict[str, Any]:
    """The container of the application in that pod."""
    return dict(pod(made, name)["spec"]["containers"][0])
