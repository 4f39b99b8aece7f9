"""Messages of one flush of statistics on their way to a collector that takes them one after the
other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MOST_MESSAGES = 100
"""Messages that wait for a collector."""


class Outbox:
    """What waits.

    :param send: takes a message, and returns whether it did.
    :param dropped: told of messages that are given up.
    """

    def __init__(self, send: Callable[[Any], bool], dropped: Callable[[int], object]) -> None:
        self._send = send
        self._dropped = dropped
        self._waiting: deque[Any] = deque()

    def flush(self, messages: Iterable[Any]) -> Iterator[None]:
        """Send all of a flush, in steps, which has a `None` at each rest; where the one before is
        not gone yet, nothing of it.
        """
        if self._waiting:
            self.go_on()
        if self._waiting:
            self._dropped(1)
            return
        for message in messages:
            if message is None:
                yield
            elif len(self._waiting) >= MOST_MESSAGES:
                self._dropped(1)
            else:
                self._waiting.append(message)
                self.go_on()

    def go_on(self) -> None:
        """The collector may take more."""
        while self._waiting:
            # Sending one may lead here again, before it has returned.
            message = self._waiting.popleft()
            if not self._send(message):
                self._waiting.appendleft(message)
                return

    def close(self) -> None:
        """Nothing waits any longer."""
        if self._waiting:
            self._dropped(len(self._waiting))
            self._waiting.clear()
