"""Requests to a collector that answers each of them.

So many may be under way; while none of these is answered the records for the next one wait where
they are.  What comes of a request is counted once it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

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
    """

    def __init__(
        self,
        post: Callable[[Any], Deferred[int]],
        written: Callable[[int], object],
        dropped: Callable[[int], object],
    ) -> None:
        self._post = post
        self._written = written
        self._dropped = dropped
        self._under_way: set[Deferred[int]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether another request may be made."""
        return len(self._under_way) < MOST_UNDER_WAY

    def send(self, request: Any, records: int) -> None:
        """Make a request with so many records."""
        posted = self._post(request)
        self._under_way.add(posted)
        posted.addBoth(self._answered, posted, records)

    def close(self) -> None:
        """What is under way may still be answered; then it is counted."""

    def _answered(self, result: int | Failure, posted: Deferred[int], records: int) -> None:
        self._under_way.discard(posted)
        refused = records if isinstance(result, Failure) else min(max(result, 0), records)
        if refused:
            self._dropped(refused)
        if refused < records:
            self._written(records - refused)
