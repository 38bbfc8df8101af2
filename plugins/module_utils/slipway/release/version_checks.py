"""Checks of versions, their weights and labels, and of what carries a version along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..page.form import Fault
from ..page.read import flow
from .form import near, works
from .shape import Shape


def versions_answer(shape: Shape) -> Iterator[Fault]:
    """Refuse a service whose versions are all shadows."""
    for service, declared in shape.services.items():
        if not shape.users(service):
            version = next(iter(declared.versions))
            key = ("services", service, "versions", version, "shadow")
            yield Fault(
                "no-version-for-users",
                key,
                f"leaves {service} without a version that answers users",
                "a version without shadow",
            )


def weights_fit(shape: Shape) -> Iterator[Fault]:
    """Refuse weights that are not 100 together, or that are of versions nobody gets."""
    weights = shape.release.weights
    total = sum(weights.values())
    if weights and total != 100:
        yield Fault("weights-sum", ("weights",), f"sum to {total}, not to 100", works(("weights",), _repaired(weights)))
    used = [version for service in shape.services for version in shape.users(service)]
    for version in weights:
        if version not in used:
            shadow = any(version in shape.shadows(service) for service in shape.services)
            error_id = "shadow-gets-no-users" if shadow else "unknown-version"
            what = "is a shadow, which gets no user traffic" if shadow else "is a version that no service has"
            known = list(dict.fromkeys(used)) or ["v1"]
            yield Fault(error_id, ("weights", version), what, works(("weights",), _shared(known)))


def _repaired(weights: Mapping[str, int]) -> dict[str, int]:
    """Bring weights to 100 by changing the heaviest, where that can do it."""
    heaviest = max(weights, key=lambda version: weights[version])
    rest = sum(weights.values()) - weights[heaviest]
    return {**weights, heaviest: 100 - rest} if rest <= 100 else _shared(list(weights))


def _shared(versions: list[str]) -> dict[str, int]:
    """Give most to the first version and a tenth to the second, or all to a single one."""
    shares = (100,) if len(versions) == 1 else (90, 10)
    return {version: shares[index] if index < len(shares) else 0 for index, version in enumerate(versions)}


def versions_have_weights(shape: Shape) -> Iterator[Fault]:
    """Refuse versions that the weights do not know, and weights that a service has no version for."""
    weights = shape.release.weights
    for service in shape.services:
        users = shape.users(service)
        if len(users) < 2:
            continue
        if not weights:
            what = f"is missing: {service} has {', '.join(users)}, and nobody says who gets which"
            yield Fault("weights-missing", ("weights",), what, works(("weights",), _shared(users)))
            return
        for version in users:
            if version not in weights:
                what = f"has no weight, so nobody would ever reach it; versions with weights: {', '.join(weights)}"
                key = ("services", service, "versions", version)
                yield Fault("version-without-weight", key, what, works(("weights",), {**weights, version: 0}))
        for version in weights:
            if version not in users and len(weights) > 1:
                what = (
                    f"is a hop without version {version}: with more than one version a service needs every one of "
                    f"weights ({', '.join(weights)}), else requests of {version} have nowhere to go"
                )
                image = next((own.image for own in shape.services[service].versions.values() if own.image), None)
                fix = f"{version}: {flow(image or {})} here, or one version alone, which then serves all"
                yield Fault("version-missing-in-hop", ("services", service, "versions"), what, fix)


def labels_differ(shape: Shape) -> Iterator[Fault]:
    """Refuse two versions of a service with the same label."""
    known = {version for service in shape.services.values() for version in service.versions}
    for version in shape.release.version_labels:
        if version not in known:
            what = "is a version that no service has"
            yield Fault(
                "unknown-version",
                ("version_labels", version),
                what,
                f"{near(version, sorted(known))}: {shape.label(version)}",
            )
    for service, declared in shape.services.items():
        seen: dict[str, str] = {}
        for version in declared.versions:
            label = shape.label(version)
            if label in seen:
                what = f"has the label {label}, which {seen[label]} of this service has too"
                yield Fault(
                    "duplicate-value",
                    ("services", service, "versions", version),
                    what,
                    f"version_labels: {{{version}: {version}}}",
                )
            seen[label] = version


def carriers_forward(shape: Shape) -> Iterator[Fault]:
    """Warn of a program that has to pass on the header of the version."""
    for service in sorted(shape.carriers):
        header = shape.release.chain_header
        behind = [other for other in shape.services[service].calls if shape.minds(other)]
        what = (
            f"has one version and calls {', '.join(behind)}, whose version follows: its program has to forward the "
            f"header {header}, else they answer with {shape.default(behind[0])}"
        )
        yield Fault(
            "header-not-forwarded",
            ("services", service),
            what,
            f"a version each of {', '.join(shape.versions)} here",
            warning=True,
        )


def shadows_have_someone(shape: Shape) -> Iterator[Fault]:
    """Warn of calls of shadows that would be refused."""
    for service, declared in shape.services.items():
        for version in shape.shadows(service):
            alone = [other for other in declared.calls if version not in shape.services[other].versions]
            if alone:
                what = f"is a shadow that calls {', '.join(alone)}, which has no {version}: those calls are refused"
                fix = f"a version {version} of {alone[0]} with shadow: 0"
                yield Fault("shadow-call-refused", ("services", service, "versions", version), what, fix, warning=True)
