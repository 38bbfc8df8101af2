"""What the API server refuses of a plan, with the line of the page that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.page.read import SettingsError
from slipway.release.planner import plan
from slipway.release.refusals import faults
from slipway.release.spec import load

from tests.support.errors import tells
from tests.support.release import page

IMAGE = "example.org/app:1.0"
PAGE: dict[str, Any] = {
    "name": "shop",
    "hosts": ["shop.local"],
    "volumes": {"disk": {"size": "1Gi"}},
    "services": {
        "web": {
            "replicas": 2,
            "mounts": {"disk": "/disk"},
            "resources": {"cpu": "50m"},
            "versions": {"v1": {"image": IMAGE, "names": {"deployment": "web-one"}}},
        }
    },
    "alerts": {"E": "errors > 5%"},
}
SHRUNK = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
IMMUTABLE = "spec: Forbidden: spec is immutable after creation except resources.requests"


@pytest.mark.parametrize(
    ("name", "said", "key", "works"),
    [
        ("PersistentVolumeClaim/shop/disk", SHRUNK, "volumes.disk", "disk as it was made, or disk-2: {…}"),
        ("PersistentVolumeClaim/shop/disk", IMMUTABLE, "volumes.disk", "which is another claim and begins empty"),
        (
            "Deployment/shop/web-one",
            'spec.template.spec.containers[0].resources.requests: Invalid value: "9": must be less than the limit',
            "services.web.resources",
            "must be less than the limit",
        ),
        ("Deployment/shop/web-one", "spec.replicas: Invalid value", "services.web.replicas", "replicas: 2"),
        ("Deployment/shop/web-one", "no policy allows it", "services.web.versions.v1", "another value"),
        ("Deployment/shop/web-one", "metadata.name: Invalid", "services.web.versions.v1.names.deployment", ""),
        ("PrometheusRule/shop/shop", "admission webhook denied the request", "alerts", "without this key"),
        ("Service/shop/web", "exceeded quota: few, used: services=1", "services.web", "describe resourcequota"),
        ("Telemetry/shop/shop", "unknown field", "name", ""),
    ],
)
def test_a_refusal_is_said_of_the_page(tmp_path: Path, name: str, said: str, key: str, works: str) -> None:
    spec = load(page(tmp_path, {**PAGE, "tracing": "10%"}))
    made = plan(spec)
    with pytest.raises(SettingsError) as caught:
        spec.refuse(faults({name: (422, said)}, made.places, spec))
    (problem,) = caught.value.problems
    assert problem.key == key
    assert problem.where.endswith(f"page.yml:{problem.line}")
    assert problem.line
    tells(problem, f"refused-by-api: {name} … (422): {said}")
    assert works in problem.works


def test_what_comes_from_no_page_is_left_to_the_raw_message(tmp_path: Path) -> None:
    spec = load(page(tmp_path, PAGE))
    assert faults({"ConfigMap/shop/other": (403, "no")}, plan(spec).places, spec) == []
