"""``make token``: a token with which Headlamp, or Kiali, lets somebody look for a while."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import SlipwayError
from ..paths import state_folder

# Pages that ask for a token: namespace and ServiceAccount that may only look.
ACCOUNTS = {"headlamp": ("headlamp", "viewer"), "kiali": ("istio-system", "kiali")}
# Minutes: the least that the API server takes, and more than a working day.
LEAST, USUAL, MOST = 10, 60, 24 * 60
# What shows objects where no page does.
INSTEAD = "`make status`, `make graph NAMESPACE=default`, and kubectl show objects here, too"


class Asked(Protocol):
    """An API server that is asked."""

    def ask(self, path: str, *, method: str = "GET", body: Any = None, accept: str = "") -> tuple[int, dict[str, Any]]:
        """Give status and object of an answer."""


def token(cluster: Asked, part: str, minutes: int) -> tuple[str, str]:
    """Have a token made that ends by itself: the token, and when it ends. Raises SlipwayError."""
    namespace, account = ACCOUNTS[part]
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": minutes * 60},
    }
    where = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    status, said = cluster.ask(where, method="POST", body=body)
    if status == 404:
        raise SlipwayError(
            "console-missing",
            f"{part} is not in this cluster: there is no ServiceAccount {namespace}/{account}\n"
            f"  works: cluster_parts: {{{part}: true}} in group_vars/all/cluster.yml, then `make up`. If the image "
            f"of its publisher cannot be had, {part} is left out; {INSTEAD}",
        )
    if status not in (200, 201):
        raise SlipwayError("api-refuses", f"no token for {namespace}/{account}: {said.get('message', status)}")
    made = said["status"]
    return str(made["token"]), str(made["expirationTimestamp"])


def minutes(text: str) -> int:
    """Read how long a token holds."""
    if not text.isdecimal() or not LEAST <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes from {LEAST} to {MOST}; e.g. MINUTES=60")
    return int(text)


def _known() -> dict[str, str]:
    kubeconfig = state_folder() / "kubeconfig"
    if not kubeconfig.is_file():
        raise SlipwayError(
            "kubeconfig-missing", f"there is no cluster here: {kubeconfig} does not exist; `make up` makes one"
        )
    return {"kubeconfig": str(kubeconfig)}


def main(arguments: Sequence[str] | None = None) -> int:
    from ..cluster.client import Cluster

    parser = argparse.ArgumentParser(prog="make token", description="Print a token for Headlamp that soon ends.")
    parser.add_argument("--part", choices=sorted(ACCOUNTS), default="headlamp")
    parser.add_argument("--minutes", type=minutes, default=USUAL)
    options = parser.parse_args(arguments)
    try:
        made, ends = token(Cluster(_known()), options.part, options.minutes)
    except SlipwayError as exc:
        print(f"token: {exc.message}", file=sys.stderr)
        return 1
    # Only the token is on standard output, so that it can be handed on.
    print(
        f"For {options.part}, until {ends}. It may look, and change nothing. Who has it may look too.", file=sys.stderr
    )
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
