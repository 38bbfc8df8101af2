"""Releases of contents for tests: objects as a chart would have them, and plans of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway.contents import kinds
from slipway.contents.keys import Contents
from slipway.contents.plan import Known, Made, plan
from slipway.contents.reading import Read, documents
from slipway.contents.source import Source

Object = dict[str, Any]
CHARTS = Path(__file__).parents[1] / "releases" / "charts"

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1}
spec:
  selector: {matchLabels: {app: web, version: v1}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: web, image: "example.org/web:1", env: [{name: NEXT, value: "http://back:80"}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v2}
spec:
  selector: {matchLabels: {app: web, version: v2}}
  template:
    metadata: {labels: {app: web, version: v2}}
    spec: {containers: [{name: web, image: "example.org/web:2", env: [{name: NEXT, value: "http://back:80"}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: back}
spec:
  selector: {matchLabels: {app: back}}
  template:
    metadata: {labels: {app: back}}
    spec: {containers: [{name: back, image: "example.org/back:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: back}
spec: {selector: {app: back}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: stable, labels: {version: v1}}, {name: canary, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
# Leads to a subchart that is off.
PICTURES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pictures}
spec:
  hosts: [pictures.local]
  gateways: [shop]
  http: [{route: [{destination: {host: shop-grafana}}]}]
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.local]
  gateways: [shop]
  http:
    - match: [{headers: {x-group: {exact: testers}}}]
      route: [{destination: {host: web, subset: canary}}]
    - route:
        - {destination: {host: web, subset: stable}, weight: 90}
        - {destination: {host: web, subset: canary}, weight: 10}
"""


def read(*texts: str, source: str = "shop/templates/all.yaml") -> list[Read]:
    """Give the objects of texts."""
    return [one for text in texts for one in documents(text, source)]


def scope(_: str, kind: str) -> bool | None:
    """Say of a kind whether it is of a namespace; one is unknown."""
    return None if kind == "Unheard" else kind not in kinds.OF_NO_NAMESPACE


def made(*texts: str, known: Known | None = None, **page: Any) -> Made:
    """Plan a release of texts."""
    contents = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}, **page})
    return plan(contents, Source(read(*texts), "shop 1.0.0"), scope, known)


def job(name: str, events: str, weight: int = 0) -> str:
    """Write a hook of Helm that is a Job."""
    return f"""
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  annotations: {{helm.sh/hook: "{events}", helm.sh/hook-weight: "{weight}"}}
spec:
  template: {{spec: {{containers: [{{name: a, image: "example.org/a:1"}}]}}}}
"""
