"""The project's targets for tcpmesh, and whether a run met them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import REFERENCE, Results

CONTESTANT = "tcpmesh"


@dataclass(frozen=True)
class Target:
    """One line of the table of targets: a figure as a multiple of Envoy's.

    :ivar bound: what must be reached.
    :ivar aim: what is aimed at: a multiple of Envoy's, or the name of the proxy whose figure it is.
    :ivar rising: whether more is better.
    """

    workload: str
    metric: str
    title: str
    bound: float
    aim: float | str
    rising: bool = False


TARGETS = (
    Target("small-64", "cpu", "CPU per small keep-alive request (64 connections)", 0.85, "nginx"),
    Target("new", "cpu", "CPU per new connection", 1.0, 0.75),
    Target("download", "cpu", "bulk CPU per GB, to the client", 0.9, 0.6),
    Target("upload", "cpu", "bulk CPU per GB, from the client", 0.9, 0.6),
    Target("download", "rate", "bulk rate, to the client", 1.0, 1.1, rising=True),
    Target("upload", "rate", "bulk rate, from the client", 1.0, 1.1, rising=True),
    Target("small-1", "p99", "p99 of small requests, 1 connection", 1.0, 0.8),
    Target("small-64", "p99", "p99 of small requests, 64 connections", 1.0, 0.8),
    Target("small-1000", "p99", "p99 of small requests, 1,000 connections", 1.0, 0.8),
    Target("new", "p99", "p99 of new connections", 1.0, 0.8),
    Target("idle", "kib", "KiB per idle connection", 0.5, "haproxy"),
    Target("start", "resident", "resident memory at start", 1.0, 0.5),
    Target("filters", "cost", "what rbac and local_ratelimit add to a connection", 1.0, 0.97),
    Target("new-text", "cpu", "CPU per new connection with a line in a log", 1.0, 0.9),
    Target("tls-rsa", "cpu", "CPU per TLS handshake, RSA", 0.85, 0.8),
    Target("tls-ecdsa", "cpu", "CPU per TLS handshake, ECDSA", 1.45, 1.25),
    Target("tls-resumed", "cpu", "CPU per TLS handshake, resumed", 1.5, 1.25),
    Target("tls-small", "cpu", "CPU per small request with TLS", 1.15, 1.0),
    Target("tls-download", "cpu", "bulk CPU per GB with TLS, to the client", 1.0, 0.9),
    Target("tls-upload", "cpu", "bulk CPU per GB with TLS, from the client", 1.0, 0.8),
    Target("tls-idle", "kib", "KiB per idle connection with TLS", 1.1, 1.0),
)


@dataclass(frozen=True)
class Verdict:
    """How a target fared: the ratio seen, the aim as a ratio where it is known, and the two
    answers.
    """

    target: Target
    ratio: float
    aim: float | None
    reached: bool
    aim_reached: bool


def verdicts(results: Results) -> Iterator[Verdict]:
    """A verdict for every target that the run has figures for."""
    for target in TARGETS:
        ratio = results.ratio(CONTESTANT, REFERENCE, target.workload, target.metric)
        if ratio is None:
            continue
        aim = target.aim
        limit = (
            results.ratio(aim, REFERENCE, target.workload, target.metric)
            if isinstance(aim, str)
            else aim
        )
        yield Verdict(
            target, ratio, limit, _meets(target, ratio, target.bound), _meets(target, ratio, limit)
        )


def _meets(target: Target, ratio: float, limit: float | None) -> bool:
    if limit is None:
        return False
    return ratio >= limit if target.rising else ratio <= limit
