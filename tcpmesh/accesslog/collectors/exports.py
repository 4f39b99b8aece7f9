"""Requests to a collector that answers each of them.

So many may be under way; while none of these is answered the records for the next one wait where
they are.  What comes of a request is counted once it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tcpmesh.logs.reachability import Reachability

MOST_UNDER_WAY = 8
"""Requests that a collector may keep waiting."""

TIMEOUT = 10.0
"""Seconds that a collector may take for its answer where nothing is said, as OpenTelemetry has it
(OTEL_EXPORTER_OTLP_TIMEOUT); Envoy waits for ever.
"""


class Exports:
    """Those of one log.

    :param post: makes a request; its result is how many records the collector refused.
    :param written: told how many records were taken.
    :param dropped: told how many were not.
    :param reachability: told whether requests are answered.
    :param ready: told after each answer that another request may be made.
    """

    def __init__(
        self,
        post: Callable[[Any], Deferred[int]],
        written: Callable[[int], object],
        dropped: Callable[[int], object],
        reachability: Reachability,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        self._post = post
        self._written = written
        self._dropped = dropped
        self._reachability = reachability
        self._ready = ready
        self._under_way: set[Deferred[int]] = set()
        self._on_idle: Callable[[], object] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether another request may be made."""
        return len(self._under_way) < MOST_UNDER_WAY

    def send(self, request: Any, records: int) -> None:
        """Make a request with so many records."""
        posted = self._post(request)
        self._under_way.add(posted)
        posted.addBoth(self._answered, posted, records)

    def when_idle(self, done: Callable[[], object]) -> None:
        """Call this once nothing is under way; there will be no more requests."""
        if self._under_way:
            self._on_idle = done
        else:
            self._end(done)

    def _answered(self, result: int | Failure, posted: Deferred[int], records: int) -> None:
        self._under_way.discard(posted)
        if isinstance(result, Failure):
            refused = records
            self._reachability.failed(result.value)
        else:
            refused = min(max(result, 0), records)
            self._reachability.succeeded()
        if refused:
            self._dropped(refused)
        self._written(records - refused)
        self._ready()
        done = self._on_idle
        if done is not None and not self._under_way:
            self._on_idle = None
            self._end(done)

    def _end(self, done: Callable[[], object]) -> None:
        """Nothing comes of it any more: who counts is let go of."""
        del self._written, self._dropped, self._ready
        done()
