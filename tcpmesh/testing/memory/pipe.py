"""The order in which things happen to connections in memory: see `transport`."""

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
