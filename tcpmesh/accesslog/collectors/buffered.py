"""Records on their way to a collector: kept until they are enough, or old enough, to be sent
together.

A collector may be slow, or dead.  Whoever sends says so, and then the records wait here, as many as
the size says; for more there is no room, and they are lost.  So nobody ever waits for a collector,
and what it costs in memory is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.config.fields.values import seconds

Record = TypeVar("Record")

INTERVAL = 1.0
"""Seconds that a record waits at most (`buffer_flush_interval`), where nothing else is said."""

SIZE = 16384
"""Bytes that are sent at once (`buffer_size_bytes`), where nothing else is said."""


def buffering(message: Any) -> tuple[float, int]:
    """The interval in seconds and the size in bytes that a message with `buffer_flush_interval` and
    `buffer_size_bytes` asks for.
    """
    has_interval = message.HasField("buffer_flush_interval")
    has_size = message.HasField("buffer_size_bytes")
    return (
        max(seconds(message.buffer_flush_interval), 0.001) if has_interval else INTERVAL,
        message.buffer_size_bytes.value if has_size else SIZE,
    )


class RecordBuffer(Generic[Record]):
    """Records for one collector.

    :param send: takes what is here and returns whether it did; where it did not it is asked again
        when the interval is over, and may itself call `flush` once it can.
    :param interval: seconds that a record waits at most for others to be sent with it.
    :param size: with so many bytes records are sent at once; with 0, each for itself.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[list[Record]], bool],
        interval: float = INTERVAL,
        size: int = SIZE,
    ) -> None:
        self._clock = clock
        self._send = send
        self._interval = interval
        self._size = size
        self._most = size or SIZE
        self._records: list[Record] = []
        self._bytes = 0
        self._timer: IDelayedCall | None = None

    def add(self, record: Record, size: int) -> bool:
        """Take a record of so many bytes.

        :return: whether there was room for it; otherwise it is lost.
        """
        if self._bytes >= self._most:
            self.flush()
            if self._bytes >= self._most:
                return False
        self._records.append(record)
        self._bytes += size
        if self._bytes >= self._size:
            self.flush()
        elif self._timer is None:
            self._wait()
        return True

    def flush(self) -> None:
        """Send what is here, if it is taken."""
        if not self._records:
            return
        if self._send(self._records):
            self.take()
        elif self._timer is None:
            self._wait()

    def take(self) -> list[Record]:
        """All records that are here, which are another's from now on."""
        records, self._records, self._bytes = self._records, [], 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return records

    def close(self) -> list[Record]:
        """Send what can be sent; there is no room for more, and who sends is let go of.

        :return: the records that are lost.
        """
        self.flush()
        self._most = 0
        self._send = _not_taken
        return self.take()

    def _wait(self) -> None:
        self._timer = self._clock.callLater(self._interval, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()


def _not_taken(records: list[Any]) -> bool:
    return False
