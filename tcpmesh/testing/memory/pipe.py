"""What the kernels of both ends hold of a connection in memory, and the order in which things
happen to it: see `stream`.
"""

from __future__ import annotations

from collections.abc import Callable


class EventQueue:
    """Work that waits for its turn, in the order it came unless `choose` says otherwise.

    `choose` gets the number of waiting steps and returns the index of the next to run: how a
    property test explores orders.
    """

    def __init__(self, choose: Callable[[int], int] | None = None) -> None:
        self._choose = choose
        self._waiting: dict[Callable[[], None], None] = {}

    def add(self, step: Callable[[], None]) -> None:
        """Run `step` later; a step that waits already is not added twice."""
        self._waiting[step] = None

    def waiting(self) -> list[Callable[[], None]]:
        """The steps that wait, in the order in which they came."""
        return list(self._waiting)

    def run_one(self) -> bool:
        """Run the next step; False where none waits."""
        if not self._waiting:
            return False
        steps = list(self._waiting) if self._choose is not None else []
        step = (
            steps[self._choose(len(steps))]
            if self._choose is not None
            else next(iter(self._waiting))
        )
        del self._waiting[step]
        step()
        return True


class Pipe:
    """One direction of a connection: what the kernels of both ends hold.

    `fin` and `reset` come after `data`; `deaf` means that the receiver is gone, so that sending
    brings back a reset.
    """

    __slots__ = ("capacity", "data", "deaf", "fin", "reset")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.fin = False
        self.reset = False
        self.deaf = False

    def take(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def put(self, pending: bytearray) -> None:
        """Move as much of `pending` into the buffer as has room; a receiver that is gone swallows
        all of it.
        """
        room = len(pending) if self.deaf else self.capacity - len(self.data)
        if not self.deaf:
            self.data += pending[:room]
        del pending[:room]
