"""How long to wait before something is tried again: longer each time, and not all at once."""

from __future__ import annotations

from random import Random


class Backoff:
    """The times between attempts that follow each other (Envoy's `JitteredExponentialBackOff`).

    :param base: seconds within which the second attempt is made.
    :param most: seconds within which any is.
    """

    def __init__(self, random: Random, base: float = 0.5, most: float = 30.0) -> None:
        self._random = random
        self._base = base
        self._most = most
        self._next = base

    def next(self) -> float:
        """Seconds to wait now: at random up to a time that doubles with each attempt."""
        within = self._next
        self._next = min(within * 2, self._most)
        return self._random.random() * within

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._next = self._base
