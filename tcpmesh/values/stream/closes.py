"""The connections of a worker that have ended: the last ones as they were, and the sum of all."""

from __future__ import annotations

from collections import deque

from tcpmesh.values.stream.stream_info import StreamInfo

CLOSES = 1000
"""Those that are still remembered."""


class Closes(deque[StreamInfo]):
    """The last ones, the latest at the end.  Whoever appends one adds it to the sums."""

    __slots__ = ("ended", "received", "sent")

    def __init__(self) -> None:
        super().__init__(maxlen=CLOSES)
        self.ended = 0
        """How many there were; so with those that are open, how many were accepted."""
        self.received = 0
        """Bytes from their clients, that were relayed."""
        self.sent = 0
