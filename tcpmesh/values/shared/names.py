"""Counts that belong to no block: whoever asks for one by its name, in any worker, moves the same.

The filters that draw from one bucket by their `share_key` may stand in any listeners, which come
and go, and only they know of the name; so main sets nothing aside for it.  There is one region of
rows for all names, and a worker that needs one claims it under a lock of the file::

    name | held by worker 0 | held by worker 1 | ... | of worker 0 | of worker 1 | ...

A row that nobody holds is free, whatever its name is: a worker that closes a count, and main for
one that has died, writes 0 for it in either half, so the next one to claim it begins at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import blake2b

from tcpmesh.values.shared.words import WORD, WordCount

ROWS = 4096
"""Names that may be in use at a time."""


class NoRoom(Exception):
    """There are more counts than the memory, or a part of it, has rows for."""


def key_of(name: str) -> int:
    """A word for a name, never 0."""
    return int.from_bytes(blake2b(name.encode(), digest_size=WORD).digest(), "little") >> 1 or 1


def size_of(workers: int) -> int:
    """The words of the region."""
    return ROWS * _stride(workers)


def _stride(workers: int) -> int:
    return 1 + 2 * workers


class Names:
    """The region, in main or in a worker.

    :param words: the region alone.
    """

    def __init__(self, words: memoryview, workers: int) -> None:
        self._words = words
        self._workers = workers

    def claim(
        self, name: str, worker: int, locked: Callable[[], AbstractContextManager[None]]
    ) -> NamedCount:
        """The count of this name, which is 0 in this worker.

        :param locked: nobody else claims meanwhile.
        :raise NoRoom: where too many names are in use.
        """
        with locked():
            at = self._find(key_of(name))
            if at is None:
                raise NoRoom(f"no row is left for {name}")
            self._words[at] = key_of(name)
            return NamedCount(self._words[at + 1 : at + _stride(self._workers)], worker)

    def _find(self, key: int) -> int | None:
        """The row that has this name, or else the first that is free."""
        words, workers, free = self._words, self._workers, None
        for at in range(0, len(words), _stride(workers)):
            if words[at] == key:
                return at
            if free is None and not any(words[at + 1 : at + 1 + workers]):
                free = at
            if not words[at]:  # No row behind it was ever used.
                break
        return free

    def worker_died(self, worker: int) -> None:
        """It holds nothing any more."""
        words, stride = self._words, _stride(self._workers)
        for at in range(0, len(words), stride):
            if not words[at]:
                break
            words[at + 1 + worker] = words[at + 1 + self._workers + worker] = 0


class NamedCount(WordCount):
    """A count of several workers that is held as long as one of them has not closed it.

    :param row: who holds it, and what each has counted.
    """

    __slots__ = ("_held",)

    def __init__(self, row: memoryview, worker: int) -> None:
        half = len(row) // 2
        super().__init__(row[half:], worker)
        self._held = row[:half]
        self._held[worker] = 1

    def close(self) -> None:
        """Give it back, and count on for this worker alone."""
        super().close()
        self._held[self._worker] = 0
