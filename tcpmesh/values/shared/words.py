"""A count whose parts are words of memory that workers share: each of them writes one."""

from __future__ import annotations

from collections.abc import Sequence

WORD = 8
"""Bytes."""


class WordCount:
    """A count of several workers."""

    __slots__ = ("_own", "_words", "_worker")

    def __init__(self, words: memoryview, worker: int) -> None:
        self._words = words
        self._worker = worker
        self._own = words[worker] = 0

    @property
    def own(self) -> int:
        """What this worker has counted."""
        return self._own

    @own.setter
    def own(self, value: int) -> None:
        self._own = self._words[self._worker] = value

    @property
    def total(self) -> int:
        """What all workers have counted, as of now."""
        return sum(self._words)

    @property
    def parts(self) -> Sequence[int]:
        """What each worker has counted, as of now."""
        return self._words

    @property
    def highest(self) -> int:
        """The largest that one of the workers has counted."""
        return max(self._words)

    def close(self) -> None:
        """Count on for this worker alone."""
        words, self._words = self._words, memoryview(bytearray(len(self._words) * WORD)).cast("q")
        self._words[self._worker] = self._own
        words[self._worker] = 0
