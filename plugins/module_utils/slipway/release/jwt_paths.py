"""Which paths need a token, as clients ask for them, and as the proxy of each service sees them. Pure.

The gateway may write a path anew before a service gets it, and tokens are checked beside the service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..page.read import Key
from .routing_keys import Route
from .shape import Shape


def below(path: str, above: str) -> bool:
    """Tell whether a path is another one, or below it."""
    return above == "/" or path == above or path.startswith(f"{above}/")


@dataclass(frozen=True)
class Way:
    """A path that leads to a service: its key, the path, what it becomes, and longer paths that are for others."""

    key: Key
    path: str
    becomes: str
    longer: tuple[str, ...]

    def seen(self, path: str) -> str:
        """Give what the service sees of a path below this one."""
        rest = path if self.path == "/" else path[len(self.path) :]
        return _joined(self.becomes, rest)

    def asked(self, seen: str) -> str:
        """Give the path that clients ask for where the service sees this one, or all below it; empty: none."""
        if below(self.becomes, seen):
            return self.path
        if not below(seen, self.becomes):
            return ""
        rest = seen if self.becomes == "/" else seen[len(self.becomes) :]
        return _joined(self.path, rest)


def _joined(above: str, rest: str) -> str:
    return (above.rstrip("/") + rest).rstrip("/") or "/"


@dataclass(frozen=True)
class Tokens:
    """What the page says of tokens, service by service."""

    shape: Shape

    @cached_property
    def free(self) -> list[str]:
        """Paths that need no token, as clients ask for them."""
        jwt = self.shape.release.jwt
        return [path.rstrip("/") for path in jwt.free] if jwt else []

    @cached_property
    def services(self) -> list[str]:
        """Services that the gateway leads to by a path that needs a token."""
        if self.shape.release.jwt is None:
            return []
        return [name for name in self.shape.entries if any(not self.is_free(way.path) for way in self.ways(name))]

    def is_free(self, path: str) -> bool:
        """Tell whether a path, as clients ask for it, needs no token."""
        return any(below(path, each) for each in self.free)

    def ways(self, service: str) -> list[Way]:
        """List the paths that lead to a service."""
        return list(self._ways(service))

    def _ways(self, service: str) -> Iterator[Way]:
        shape = self.shape
        for routes, above in _together(shape):
            for path, route in routes.items():
                if service in {route.to, *(case.to for case in route.when if case.to)}:
                    new = route.rewrite or ("/" if route.strip else path)
                    longer = tuple(each for each in routes if each != path and below(each, path))
                    yield Way((*above, path), path, new.rstrip("/") or "/", longer)

    def opened(self, service: str) -> dict[str, str]:
        """Give the paths that need no token as a service sees them, each with the one of the page."""
        found: dict[str, str] = {}
        for way in self.ways(service):
            for path in self.free:
                if below(way.path, path):
                    found.setdefault(way.becomes, path)
                elif below(path, way.path) and not any(below(path, each) for each in way.longer):
                    found.setdefault(way.seen(path), path)
        return found

    def leaks(self, service: str) -> Iterator[tuple[str, str, Way]]:
        """Find free paths by which others would be free, too: the free one, the other, and its way."""
        for seen, path in self.opened(service).items():
            for way in self.ways(service):
                asked = way.asked(seen)
                if asked and not self.is_free(asked) and not any(below(asked, each) for each in way.longer):
                    yield path, asked, way


def _together(shape: Shape) -> Iterator[tuple[dict[str, Route], Key]]:
    """Yield the paths of the hosts, and of each host that has its own, with the key that they are below."""
    yield shape.routes, ("routes",)
    for host, routes in shape.host_routes.items():
        yield routes, ("entries", host, "routes")
