"""The keys that say how the mesh calls a service: retries, circuit breaking, load balancing, faults."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from ..page.form import Map, WrongError, setting
from .keys import Short
from .routing_keys import HashKey
from .values import Duration, Percent

HttpReason = Literal["5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "retriable-4xx"]
GrpcReason = Literal["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"]


class Retries(Short):
    """How often the mesh asks again."""

    short = "attempts"

    attempts: int = setting(..., "Number of retries. 0 means none.", unit="times", example=2, ge=0, le=10)
    per_try: Duration | None = setting(None, "Timeout of each attempt.", example="2s")
    reasons: list[Literal[HttpReason, GrpcReason]] | None = setting(
        None,
        "Failures that cause a retry. By default connect-failure, refused-stream and gateway-error; for grpc "
        "connect-failure, refused-stream, cancelled and unavailable.",
        example=["gateway-error"],
        min_length=1,
    )
    methods: Literal["safe", "idempotent", "all"] = setting(
        "safe",
        "Methods that are retried for any of the reasons. safe: GET, HEAD, OPTIONS, TRACE; idempotent: PUT and DELETE "
        "too; all: every method, so a request may be done twice. Requests with other methods are retried only if "
        "nothing of the request was sent yet (connect-failure, refused-stream).",
        example="idempotent",
    )


class CircuitBreaking(Map):
    """When the mesh stops asking a pod, or a service."""

    connections: int = setting(
        100, "Largest number of connections to the service.", unit="connections", example=100, ge=1
    )
    pending: int = setting(
        100, "Largest number of requests that wait for a connection.", unit="requests", example=100, ge=1
    )
    errors: int = setting(5, "Consecutive 5xx errors that eject a pod.", unit="answers", example=5, ge=1)
    interval: Duration = setting("10s", "Time between two analyses of the outlier detection.", example="10s")
    out_for: Duration = setting(
        "30s", "Base ejection time. It is multiplied by the number of ejections of the pod.", example="30s"
    )
    most_out: Percent = setting(50.0, "Largest share of the pods that may be ejected at once.", example="50%")


class LoadBalancing(Short):
    """How the pods of a version share the requests."""

    short = "algorithm"

    algorithm: Literal["round-robin", "least-requests", "random"] | None = setting(
        None, "round-robin, least-requests or random.", example="least-requests"
    )
    hash: HashKey | None = setting(
        None,
        "Consistent hash: the same pod for the same header, cookie or address.",
        example={"cookie": "session", "ttl": "1h"},
    )

    @model_validator(mode="after")
    def _one_way(self) -> LoadBalancing:
        if (self.algorithm is None) == (self.hash is None):
            raise WrongError("needs-one-of", "must have either an algorithm or a hash")
        return self


class Delay(Map):
    """Delay of requests."""

    time: Duration = setting(..., "Length of the delay.", example="2s")
    share: Percent = setting(..., "Share of the requests.", example="5%")


class Abort(Map):
    """Requests that get an error as answer."""

    status: int = setting(..., "HTTP status of the answer.", unit="HTTP status", example=503, ge=400, le=599)
    share: Percent = setting(..., "Share of the requests.", example="1%")


class Faults(Map):
    """Faults put in on purpose, to see what happens."""

    delay: Delay | None = setting(None, "Delay of requests.", example={"time": "2s", "share": "5%"})
    abort: Abort | None = setting(None, "Requests that get an error as answer.", example={"status": 503, "share": "1%"})

    @model_validator(mode="after")
    def _something(self) -> Faults:
        if self.delay is None and self.abort is None:
            raise WrongError("needs-one-of", "must have a delay, an abort, or both")
        return self
