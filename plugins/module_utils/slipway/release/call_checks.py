"""Checks of calls: who calls whom, who is let in, and what the mesh does when an answer is late or wrong."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from ..page.read import Key, flow
from . import retries
from .access import PLAIN
from .form import near, works
from .shape import Shape
from .values import milliseconds, prometheus_time
from .workload import has_sidecar


def calls_lead_somewhere(shape: Shape) -> Iterator[Fault]:
    """Refuse calls of unknown services, and calls in a circle."""
    known = list(shape.services)
    unknown = False
    for service, declared in shape.services.items():
        for index, other in enumerate(declared.calls):
            key = ("services", service, "calls", index)
            if other not in known:
                unknown = True
                others = [name for name in known if name != service] or ["model"]
                yield Fault(
                    "unknown-service", key, "is no service of this release", works(key[:3], [near(other, others)])
                )
            elif other in declared.calls[:index]:
                yield Fault(
                    "duplicate-value", key, "is named twice", works(key[:3], list(dict.fromkeys(declared.calls)))
                )
    if not unknown and (circle := shape.cycle()):
        key = ("services", circle[-2], "calls", shape.services[circle[-2]].calls.index(circle[-1]))
        without = [name for name in shape.services[circle[-2]].calls if name != circle[-1]]
        what = f"goes round in a circle: {' → '.join(circle)}; a version could follow it for ever"
        yield Fault("calls-in-circle", key, what, works(key[:3], without))


def plain_callers_are_known(shape: Shape) -> Iterator[Fault]:
    """Refuse rules about callers without mTLS that contradict each other."""
    release = shape.release
    naming_it = {service: own.callers for service, own in shape.services.items() if PLAIN in own.callers}
    for service, callers in naming_it.items():
        key: Key = ("services", service, "callers", callers.index(PLAIN))
        if release.mtls == "strict":
            yield Fault(
                "keys-contradict",
                key,
                "is whoever comes without mTLS, whose connections mtls: strict closes",
                "mtls: permissive",
            )
    guarded = [s for s, own in shape.services.items() if any(has_sidecar(own, version) for version in own.versions)]
    if release.mtls == "permissive" and release.access == "calls" and guarded and not set(naming_it) & set(guarded):
        wide = [(s, text) for s in guarded for text in shape.services[s].callers if text.endswith("/*")]
        service, text = wide[0] if wide else (guarded[0], "")
        what = "lets nobody in: whoever comes without mTLS shows no identity, and is answered 403"
        what += f" ({text} is the pods there that have the mesh's proxy)" if text else ""
        fix = f"callers: {flow([*shape.services[service].callers, PLAIN])} at {service}, which lets in everybody who "
        yield Fault("nobody-let-in", ("mtls",), what, f"{fix}comes without it, or mtls: strict")
    for service, declared in shape.services.items():
        bare = [version for version in declared.versions if not has_sidecar(declared, version)]
        for other in declared.calls if bare else ():
            theirs = shape.services[other]
            closed = release.mtls == "strict" or (release.access == "calls" and PLAIN not in theirs.callers)
            if closed and any(has_sidecar(theirs, version) for version in theirs.versions):
                what = f"has no sidecar in {', '.join(bare)}, so its calls come without mTLS and {other} refuses them"
                fix = f"sidecar: true, or mtls: permissive and callers: {flow([*theirs.callers, PLAIN])} at {other}"
                yield Fault("calls-without-mtls", ("services", service), what, fix, warning=True)


def everything_is_reached(shape: Shape) -> Iterator[Fault]:
    """Warn of services that nobody can reach."""
    for service, declared in shape.services.items():
        if service not in shape.entries and not shape.callers(service) and not declared.callers:
            what = "is neither routed to nor called, so nobody can reach it"
            fix = f"routes: {{/{service}: {service}}}, or calls: [{service}] at who calls it"
            yield Fault("unreachable-service", ("services", service), what, fix, warning=True)


def times_fit(shape: Shape) -> Iterator[Fault]:
    """Refuse a time for one try that leaves no time for a second one."""
    for service, declared in shape.services.items():
        again, most = declared.retries, declared.timeout
        if not (most and again and again.per_try and again.attempts):
            continue
        if milliseconds(again.per_try) >= milliseconds(most):
            what = f"is not shorter than timeout {most}, which all tries share: no second try would come"
            shorter = prometheus_time(f"{max(1, milliseconds(most) // (again.attempts + 1))}ms")
            yield Fault("per-try-too-long", ("services", service, "retries", "per_try"), what, f"per_try: {shorter}")


def reasons_fit(shape: Shape) -> Iterator[Fault]:
    """Refuse reasons for another try that do not belong to the protocol."""
    for service, declared in shape.services.items():
        if declared.retries is None:
            continue
        key = ("services", service, "retries")
        grpc = declared.protocol == "grpc"
        given = declared.retries.reasons or []
        wrong = [reason for reason in given if reason in (retries.HTTP if grpc else retries.GRPC)]
        if wrong:
            belongs = "HTTP" if grpc else "gRPC"
            what = f"{wrong[0]} tells of {belongs}, and {service} has protocol: {declared.protocol}"
            kept = [reason for reason in given if reason not in wrong]
            usual = retries.usual(declared.protocol)
            fix = works((*key, "reasons"), kept or [reason for reason in usual if reason not in retries.UNSENT])
            yield Fault("retry-not-of-protocol", (*key, "reasons"), what, fix if grpc else f"{fix}, or protocol: grpc")
        if grpc and "methods" in declared.retries.model_fields_set:
            what = "says nothing here: each call of gRPC is a POST, so reasons alone decide"
            yield Fault(
                "retry-not-of-protocol",
                (*key, "methods"),
                what,
                works((*key, "reasons"), list(retries.reasons(declared))),
            )
