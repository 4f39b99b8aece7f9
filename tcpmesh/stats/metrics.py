"""The four kinds of statistics: counters, gauges, text readouts and histograms; `store` tells how
they live.

Whoever moves one holds the object itself and adds to it, so counting costs one attribute.  What is
dearer than an addition is left for the reader: histograms fold their values into bins when they are
merged.

Statistics show what happens, and nothing goes by them: a decision that read one would change when
an operator resets it, or when something else counts under its name.  So what can be read of one has
names that nothing else in tcpmesh has (`tally`, `raised`, `lowered`, `readout`, `was_used`,
`cumulative`, `last_interval`), and `tests/test_statistics.py` fails where one of these is read by
anything but what shows statistics.  `counter.tally += 1` is the way to count, and no reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import partial

from tcpmesh.stats.distribution import DEFAULT_BOUNDS, Distribution

PENDING_LIMIT = 1024
"""Values a histogram keeps before it folds them by itself, between two merges."""

KEPT_LIMIT = 1000
"""Values of an interval that a histogram keeps as they are for a stats sink that wants each."""


class Counter:
    """A number that only grows, until an operator resets it.  Whoever counts adds to `tally`."""

    __slots__ = ("_is_reset", "_told", "holders", "name", "tally")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holders = 0
        self.tally = 0
        self._told = 0
        """How much of the tally `growth` has told; less than nothing after a reset, where it had
        not told all."""
        self._is_reset = False

    @property
    def was_used(self) -> bool:
        """True once it was ever counted up, even if it has been reset since."""
        return self.tally != 0 or self._is_reset

    def touch(self) -> None:
        """Count as used from now on, though it may be 0."""
        self._is_reset = True

    def take_over(self, amount: int, told: int) -> None:
        """Go on from what a predecessor has counted.

        :param told: how much of that `growth` is not to tell once more.
        """
        self.tally += amount
        self._told += told

    def reset(self) -> None:
        """Start from 0 again."""
        self._is_reset = self.was_used
        self._told -= self.tally
        self.tally = 0


def growth(counters: Iterable[Counter]) -> dict[str, int]:
    """By how much those of these counters have grown that have, since they were last asked."""
    found = {}
    for counter in [each for each in counters if each.tally != each._told]:
        found[counter.name] = counter.tally - counter._told
        counter._told = counter.tally
    return found


class Merge(Enum):
    """What the gauges of several processes come to, those of one name in the workers and in main.

    Whoever makes a gauge has to say: of `membership_total` in four workers the sum would be wrong,
    of `upstream_cx_active` anything else.  Envoy, where threads share their gauges, has the same
    question when a process takes over from another, and its answers are kept there: what it has as
    `Accumulate` is a `SUM`, what it has as `NeverImport` is not taken from a predecessor.
    """

    SUM = "sum"
    """Each process has a part: connections, bytes that are held."""

    MAX = "max"
    """Each worker sees the same whole, at its own time: members of a cluster, a breaker that is
    open.  The greatest is shown."""

    MAIN = "main"
    """Only the process that shows it knows: its state, the version of a configuration."""


class Gauge:
    """A number that goes up and down; `merge` is what those of several processes come to.

    Whoever moves it for each connection adds to `raised` or to `lowered`, which costs no call.
    """

    __slots__ = ("_others", "_told", "_was_told", "holders", "lowered", "merge", "name", "raised")

    def __init__(self, name: str, merge: Merge) -> None:
        self.name = name
        self.merge = merge
        self.holders = 0
        self.raised = 0
        """How far up it has gone in this process, and `lowered` how far down: its own part is the
        difference.
        """
        self.lowered = 0
        self._others = 0
        self._told: int | None = 0
        """The sum of the two when `moved` last told of it; `None` after anything else has moved it
        since.
        """
        self._was_told = False

    @property
    def was_used(self) -> bool:
        """True once it was ever moved, whatever it is now."""
        return self._was_told or self._told != self.raised + self.lowered

    @property
    def tally(self) -> int:
        """The number, for whoever shows it; with that of other processes, where they have one."""
        own = self.raised - self.lowered
        return own + self._others if self.merge is Merge.SUM else max(own, self._others)

    def add(self, amount: int) -> None:
        """Change it by this much, which may be negative."""
        self.raised += amount
        self._told = None

    def set(self, value: int) -> None:
        """Make it this."""
        change = value - self.raised + self.lowered
        if change or not self.was_used:
            self.add(change)

    def follow(self, value: int) -> None:
        """Make it this, where that is a change: a gauge that nothing has moved does not count as
        used for being 0.
        """
        change = value - self.raised + self.lowered
        if change:
            self.add(change)

    def set_others(self, value: int) -> None:
        """Other processes together make it this."""
        if value != self._others or not self.was_used:
            self._others = value
            self._told = None


def moved(gauges: Iterable[Gauge]) -> list[Gauge]:
    """Those that were moved since they were last asked, also where they are what they were."""
    found = [each for each in gauges if each._told != each.raised + each.lowered]
    for each in found:
        each._told, each._was_told = each.raised + each.lowered, True
    return found


MAKE_GAUGE = {merge: partial(Gauge, merge=merge) for merge in Merge}
"""What makes a gauge of a name."""


class TextReadout:
    """A text that is shown among the numbers, such as the version of a configuration."""

    __slots__ = ("_is_news", "_others", "_own", "_was_told", "holders", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holders = 0
        self._own = self._others = ""
        self._is_news = self._was_told = False

    @property
    def was_used(self) -> bool:
        """True once it was ever set."""
        return self._is_news or self._was_told

    @property
    def readout(self) -> str:
        """The text, for whoever shows it: that of this process, or else of another."""
        return self._own or self._others

    def set(self, text: str) -> None:
        """Make it this; it is empty until then."""
        self._own = text
        self._is_news = True

    def set_others(self, text: str) -> None:
        """Another process makes it this."""
        self._others = text
        self._is_news = True


def news(texts: Iterable[TextReadout]) -> list[TextReadout]:
    """Those that were set since they were last asked."""
    found = [each for each in texts if each._is_news]
    for each in found:
        each._is_news, each._was_told = False, True
    return found


class Histogram:
    """A distribution of values: of all time, and of the last interval between two merges.

    Only what was merged can be seen; the values since then wait in a list.
    """

    __slots__ = (
        "_next",
        "_pending",
        "bounds",
        "cumulative",
        "holders",
        "kept",
        "last_interval",
        "name",
        "unit",
    )

    def __init__(self, name: str, unit: str = "ms") -> None:
        self.name = name
        self.holders = 0
        self.unit = unit
        self.bounds = DEFAULT_BOUNDS
        self.cumulative = Distribution()
        self.last_interval = _EMPTY
        self.kept = 0
        """How many values of an interval are kept as they are."""
        self._pending: list[float] = []
        self._next = _EMPTY

    @property
    def was_used(self) -> bool:
        """True once a merge has seen a value."""
        return self.cumulative.count != 0

    def record(self, value: float) -> None:
        """Take one value, zero or more, in the histogram's unit."""
        pending = self._pending
        pending.append(value)
        if len(pending) >= PENDING_LIMIT:
            self._fold()

    def merge(self) -> bool:
        """End the interval: what was recorded since the last merge becomes visible.

        :return: whether there was anything.
        """
        if self._pending:
            self._fold()
        self.last_interval, self._next = self._next, _EMPTY
        if self.last_interval is _EMPTY:
            return False
        self.cumulative.merge(self.last_interval)
        return True

    def absorb(self, other: Distribution) -> None:
        """Take what another process was given, as if it had been recorded here."""
        if self._next is _EMPTY:
            self._next = Distribution(self.kept)
        self._next.merge(other)

    def _fold(self) -> None:
        if self._next is _EMPTY:
            self._next = Distribution(self.kept)
        self._next.add(self._pending)
        self._pending.clear()


_EMPTY = Distribution()
