"""The release of Kubernetes that the shipped page has, so that tests do not name one that goes some day."""

from __future__ import annotations

from slipway.page.model import Settings

SHIPPED = Settings().cluster_kubernetes_version
