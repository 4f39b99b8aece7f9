"""The statistics of reloads, `tcpmesh.reload.`: Envoy has none."""

from __future__ import annotations

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store
from tcpmesh.values.lifecycle.reload import Verdict


class ReloadStats:
    """What is told of them."""

    def __init__(self, store: Store) -> None:
        scope = store.scope("tcpmesh.reload")
        self._attempts = scope.counter("attempt")
        self._successes = scope.counter("success")
        self._rejections = scope.counter("rejected")
        self._time = scope.gauge("time_ms", Merge.MAIN)
        self._version = scope.gauge("version", Merge.MAIN)
        self._number = scope.gauge("number", Merge.MAIN)
        self._duration = scope.histogram("duration_ms")
        self._number.set(1)

    def begins(self) -> None:
        """A configuration is read."""
        self._attempts.tally += 1

    def ended(self, verdict: Verdict, seconds: float) -> None:
        """This has come of it, after so long."""
        if verdict in (Verdict.APPLIED, Verdict.UNCHANGED):
            self._successes.tally += 1
        else:
            self._rejections.tally += 1
        self._duration.record(seconds * 1000)

    def serves(self, number: int, version: str, wall: float) -> None:
        """Another configuration is served, from this time on."""
        self._number.set(number)
        self._version.set(int(version, 16))
        self._time.set(int(wall * 1000))
