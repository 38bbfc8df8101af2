"""A cluster that one fault after the other comes upon; each of them ends with everything back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .checkout import Checkout
from .mesh import Echo


@dataclass(frozen=True)
class Survivor:
    """The clone with its settings. ``systems``: workers and the system that each of them runs."""

    checkout: Checkout
    page: dict[str, Any]
    systems: dict[str, str]

    def echo(self) -> Echo:
        """The echo behind its gateway; what of it is not there is started."""
        address, host = self.page["cluster_gateway"]["address"], f"echo.{self.page['cluster_name']}.local"
        return Echo(self.checkout.kube, address, host, replicas=2)
