"""The four kinds of statistics: counters, gauges, text readouts and histograms; `store` tells how
they live.

Whoever moves one holds the object itself and adds to it, so counting costs one attribute.  What is
dearer than an addition is left for the reader: histograms fold their values into bins when they are
merged.
"""

from __future__ import annotations

from tcpmesh.stats.distribution import DEFAULT_BOUNDS, Distribution

PENDING_LIMIT = 1024
"""Values a histogram keeps before it folds them by itself, between two merges."""


class Counter:
    """A number that only grows, until an operator resets it.  Whoever counts adds to `value`."""

    __slots__ = ("_was_used", "holders", "name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holders = 0
        self.value = 0
        self._was_used = False

    @property
    def used(self) -> bool:
        """True once it was ever counted up, even if it has been reset since."""
        return self.value != 0 or self._was_used

    def reset(self) -> None:
        """Start from 0 again."""
        self._was_used = self.used
        self.value = 0


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("holders", "name", "used", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holders = 0
        self.value = 0
        self.used = False

    def add(self, amount: int) -> None:
        """Change it by this much, which may be negative."""
        self.value += amount
        self.used = True

    def set(self, value: int) -> None:
        """Make it this."""
        self.value = value
        self.used = True


class TextReadout:
    """A text that is shown among the numbers, such as the version of a configuration."""

    __slots__ = ("_value", "holders", "name", "used")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holders = 0
        self._value = ""
        self.used = False

    @property
    def value(self) -> str:
        """The text, empty until it is set."""
        return self._value

    @value.setter
    def value(self, value: str) -> None:
        self._value = value
        self.used = True


class Histogram:
    """A distribution of values: of all time, and of the last interval between two merges.

    Only what was merged can be seen; the values since then wait in a list.
    """

    __slots__ = ("_next", "_pending", "bounds", "cumulative", "holders", "interval", "name", "unit")

    def __init__(self, name: str, unit: str = "ms") -> None:
        self.name = name
        self.holders = 0
        self.unit = unit
        self.bounds = DEFAULT_BOUNDS
        self.cumulative = Distribution()
        self.interval = _EMPTY
        self._pending: list[float] = []
        self._next = _EMPTY

    @property
    def used(self) -> bool:
        """True once a merge has seen a value."""
        return self.cumulative.count != 0

    def record(self, value: float) -> None:
        """Take one value, zero or more, in the histogram's unit."""
        pending = self._pending
        pending.append(value)
        if len(pending) >= PENDING_LIMIT:
            self._fold()

    def merge(self) -> None:
        """End the interval: what was recorded since the last merge becomes visible."""
        if self._pending:
            self._fold()
        self.interval, self._next = self._next, _EMPTY
        if self.interval is not _EMPTY:
            self.cumulative.merge(self.interval)

    def _fold(self) -> None:
        if self._next is _EMPTY:
            self._next = Distribution()
        self._next.add(self._pending)
        self._pending.clear()


_EMPTY = Distribution()
