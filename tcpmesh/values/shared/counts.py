"""Counts that limits go by: how many connections a cluster has, how many clients a filter has let
in.

They are no statistics, though statistics may show them.  Two clusters may share the name of a
statistic, and an operator may reset one; a limit belongs to what it was configured for, and only
its own events move it.  And where several workers serve, a limit holds for all of them together, so
each count has two sides: what this worker has counted, which only this worker changes, and the
total of all workers, which is what a limit is compared with.

Whoever has a limit takes its counts when it is built, from a block that main has set aside for its
cluster or listener.  With one worker that is all there is to it: a count is an integer of its own,
`LocalCount`.  For several workers see `tcpmesh.values.shared.memory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tcpmesh.values.shared.slots import Slots


class SharedCount(Protocol):
    """One number, moved by all workers: each adds to its `own`, and takes away again."""

    own: int
    """What this worker has counted."""

    @property
    def total(self) -> int:
        """What all workers have counted, as of now."""

    @property
    def parts(self) -> Sequence[int]:
        """What each worker has counted, as of now."""

    @property
    def highest(self) -> int:
        """The largest that one of the workers has counted."""

    def close(self) -> None:
        """Its user is gone: what it counts from now on, no other worker sees."""


class SharedCounts(Protocol):
    """Where counts come from."""

    def block(self, owner: str) -> SharedCounts:
        """The counts of a cluster or listener that is being built, all 0 in this worker.

        :param owner: its name, as main gave it to the block: `cluster.<name>`, for example.
        """

    def count(self, name: str) -> SharedCount:
        """One more count.  The second of one name is another one than the first; the n-th one of a
        name in a block is the same in all workers.
        """

    def count_of_all(self, name: str) -> SharedCount:
        """The count of this name that belongs to no block: whoever asks for it, in whichever
        worker, moves the same, each worker once.  It is gone when all have closed it.
        """

    def clients(self, limit: str) -> Slots | None:
        """What all workers know of the clients of a limit: as with counts the n-th of one name in a
        block is the same in all workers.  `None` where there are no others.
        """

    def clients_of_all(self, limit: str) -> Slots | None:
        """The same of the limit of this name that belongs to no block."""

    def close(self) -> None:
        """The owner is gone from this worker, and what it counts from now on, nobody sees."""


class LocalCount:
    """A count of the only worker: an addition to it costs an addition."""

    __slots__ = ("own",)

    total: int
    highest: int
    """The same: there are no others."""

    def __init__(self) -> None:
        self.own = 0

    @property
    def parts(self) -> Sequence[int]:
        """The same."""
        return (self.own,)

    def close(self) -> None:
        """There is nothing to give back."""


# One slot by three names: a property would cost a call.
LocalCount.total = LocalCount.highest = LocalCount.own  # type: ignore[misc]


class LocalCounts:
    """Where the only worker has its counts from: each is made as it is asked for, and belongs to
    whoever asks.
    """

    def block(self, owner: str) -> LocalCounts:
        """The same: no owner is confused with another, as no count is ever given twice."""
        return self

    def count(self, name: str) -> LocalCount:
        """A new count."""
        return LocalCount()

    def count_of_all(self, name: str) -> LocalCount:
        """A new count."""
        return LocalCount()

    def clients(self, limit: str) -> None:
        """There are no other workers."""

    def clients_of_all(self, limit: str) -> None:
        """There are no other workers."""

    def close(self) -> None:
        """There is nothing to give back."""
