"""What a plan promises of hosts outside, of what may leave, and of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .jwt_paths import Tokens
from .outside_keys import Jwt
from .shape import Shape

Facts = dict[str, Any]


def facts(shape: Shape) -> Facts:
    """Give what is promised."""
    release = shape.release
    return {
        "outside": [
            {
                "host": host,
                "port": given.called,
                "tls": given.tls,
                "timeout": given.timeout,
            }
            for host, given in release.outside.items()
        ],
        "egress": release.egress,
        "jwt": _jwt(shape, release.jwt) if release.jwt else None,
    }


def _jwt(shape: Shape, jwt: Jwt) -> Facts:
    tokens = Tokens(shape)
    return {
        "free": tokens.free,
        "hosts": [*shape.hosts, *shape.host_routes],
        "header": jwt.header,
        "cookie": jwt.cookie,
        "issuers": [
            {
                "issuer": issuer,
                "audiences": given.audiences,
                "jwks_uri": given.jwks_uri,
                "kinds": sorted({key["kty"] for key in json.loads(given.jwks)["keys"]}) if given.jwks else [],
            }
            for issuer, given in jwt.issuers.items()
        ],
        # Where a request that brings no token is refused.
        "refused": [
            {"host": host, "path": path}
            for host, routes in [(shape.hosts[0], shape.routes), *shape.host_routes.items()]
            for path in routes
            if not tokens.is_free(path)
        ],
        "services": tokens.services,
    }


def claims(made: Facts) -> Iterator[Facts]:
    """Give the claims about them."""
    for outside in made["outside"]:
        who = {"app": "the program encrypts", "mesh": "the mesh encrypts", "none": "nobody encrypts"}[outside["tls"]]
        title = f"{outside['host']} is known outside at port {outside['port']}; {who}"
        yield {"kind": "outside", "title": title, "outside": outside}
    if made["egress"] == "named":
        yield {"kind": "egress", "title": "what is not named outside is refused"}
    if made["jwt"]:
        free = f", but for {', '.join(made['jwt']['free'])}" if made["jwt"]["free"] else ""
        title = f"requests need a token of {', '.join(each['issuer'] for each in made['jwt']['issuers'])}{free}"
        yield {"kind": "jwt", "title": title, "jwt": made["jwt"]}
