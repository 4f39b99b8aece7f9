"""A host of a cluster as a worker knows it: what main says of it, and what is counted for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcpmesh.values.hosts import (
    DEGRADED_FLAGS,
    EDS_FLAGS,
    FROM_EDS,
    NO_FLAGS,
    UNHEALTHY_FLAGS,
    Health,
    HostSpec,
)


class Host:
    """A host as a worker knows it.  The numbers are those of `/clusters`."""

    __slots__ = (
        "__weakref__",
        "address",
        "cluster",
        "created",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "flags",
        "key",
        "outlier",
        "rq_active",
        "rq_error",
        "rq_pending_active",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "sessions",
        "spec",
        "weight",
    )

    def __init__(
        self, spec: HostSpec, created: float = 0.0, cluster: Any = None, key: int | None = None
    ) -> None:
        self.key = key
        """The number that main gave it; `None` while only a connection has named it."""
        self.flags = NO_FLAGS
        self.learn(spec)
        self.address = spec.address
        self.cluster = cluster
        """The `Cluster` it belongs to, also where an aggregate one picked it."""
        self.created = created
        """Seconds of the network's clock: slow start counts from here, or from the first passed
        health check.
        """
        self.outlier: Any = None
        """Told of each connect result where the cluster has outlier detection: a
        `tcpmesh.cluster.upstream.outcomes.Outcomes`; else `None`.
        """
        self.sessions: set[Any] = set()
        """Whose `host_failed()` is called when health checks or outlier detection take the host
        out: filled by those who connect, where the cluster's `close_on_failure` says so."""
        self.cx_active = self.cx_total = self.cx_connect_fail = 0
        self.rq_active = self.rq_total = self.rq_error = self.rq_success = self.rq_timeout = 0
        self.rq_pending_active = 0

    def learn(self, spec: HostSpec) -> None:
        """Discovery says this of it now; the health that it gives is taken over."""
        self.spec = spec
        self.weight = spec.weight
        self.flags = (self.flags & ~FROM_EDS) | EDS_FLAGS.get(spec.health_status, NO_FLAGS)

    @property
    def health(self) -> Health:
        """Whether new connections may go here."""
        if self.flags == NO_FLAGS:
            return (
                Health.HEALTHY
            )  # nearly always, and a comparison costs a tenth of what masking a flag does
        if self.flags & UNHEALTHY_FLAGS:
            return Health.UNHEALTHY
        return Health.DEGRADED if self.flags & DEGRADED_FLAGS else Health.HEALTHY

    def fail_sessions(self) -> Iterator[None]:
        """Tell all in `sessions` that the host has failed, one in each step."""
        for session in tuple(self.sessions):
            if session in self.sessions:  # it has not ended while others were told
                session.host_failed()
                yield
