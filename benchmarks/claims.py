"""What other pages say of speed, each with the row of the report that shows it.

A sentence outlives the figures that it was written for.  So the report looks at each of them, and
the tests look whether it still stands in its page and is true of the published figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import REFERENCE, Results
from benchmarks.targets import CONTESTANT

_ABOUT = 1.05
"""What counts as about as much."""


@dataclass(frozen=True)
class Claim:
    """One sentence and one figure.

    :ivar page: from the root of the repository.
    :ivar words: as they stand there, but for line breaks.
    :ivar proxy: whose figure is at most so many times that of `other`.
    """

    page: str
    words: str
    workload: str
    metric: str
    proxy: str
    other: str
    at_most: float = 1.0


def _claims() -> Iterator[Claim]:
    page, words = "README.md", "a new connection still costs them less CPU"
    for proxy in ("haproxy", "nginx"):
        yield Claim(page, words, "new", "cpu", proxy, CONTESTANT)
    words = "a TLS handshake costs any of them less"
    for proxy in (REFERENCE, "haproxy", "nginx"):
        yield Claim(page, words, "tls-ecdsa", "cpu", proxy, CONTESTANT)
    words = "it does with less processor time than Envoy, or about as much"
    for workload in ("small-64", "new", "download", "upload"):
        yield Claim(page, words, workload, "cpu", CONTESTANT, REFERENCE, _ABOUT)
    words = "up to a fifth more where each connection is logged"
    for workload in ("new-text", "new-json"):
        yield Claim(page, words, workload, "cpu", CONTESTANT, REFERENCE, 1.20 * _ABOUT)
    words = "and with less memory for each connection"
    yield Claim(page, words, "idle", "kib", CONTESTANT, REFERENCE)
    page, words = "docs/operations.md", "a small request costs no more processor time than with one"
    yield Claim(page, words, "small-64", "cpu", f"{CONTESTANT}-2", CONTESTANT, _ABOUT)
    words = "and a connection 1.17 times"
    yield Claim(page, words, "new", "cpu", f"{CONTESTANT}-2", CONTESTANT, 1.17 * _ABOUT)
    for words, times, workloads in (
        ("three quarters of what it costs on epoll", 0.75, ("small-64", "small-1000")),
        ("a new connection and a gigabyte as much", 1.0, ("new", "download", "upload")),
        ("single busy connection 1.45 times", 1.45, ("small-1",)),
    ):
        for workload in workloads:
            yield Claim(
                page, words, workload, "cpu", f"{CONTESTANT}-uring", CONTESTANT, times * _ABOUT
            )


CLAIMS = tuple(_claims())


@dataclass(frozen=True)
class Finding:
    """A claim, and the ratio that a run has for it: `None` where it has none."""

    claim: Claim
    ratio: float | None

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return self.ratio is None or self.ratio <= self.claim.at_most


def findings(results: Results) -> list[Finding]:
    """All claims, beside a run."""
    return [
        Finding(claim, results.ratio(claim.proxy, claim.other, claim.workload, claim.metric))
        for claim in CLAIMS
    ]
