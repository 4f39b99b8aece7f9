"""Rows as lines: which columns there are, which of them have room, and how wide each is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tcpmesh.terminal.filters import Row
from tcpmesh.terminal.texts import (
    columns_of,
    cut,
    duration,
    fit,
    micros,
    number,
    plain,
    size,
    time_of_day,
)

EXTRA = 2
"""Columns of this rank and above are of less use than that others are whole."""

SPACE = 1
"""Blanks between two columns."""


class Column(NamedTuple):
    """A field of rows, shown."""

    key: str
    title: str
    show: Callable[[Any], str] = plain
    least: int = 6
    """Where there is no room for so much of it, the column is left out."""

    most: int = 60
    rank: int = 0
    """Columns of a higher rank are left out first."""

    good: int = 0
    """Before columns of the rank `EXTRA` and above are shown, it gets so much if it wants it."""

    @property
    def is_right(self) -> bool:
        """Whether it is a number, which stands at the right."""
        return self.show is not plain

    @property
    def steady(self) -> int:
        """As wide as it always is: of numbers, which change all the time, the least."""
        return self.least if self.is_right else 0


def text(
    key: str, title: str, least: int = 8, rank: int = 0, most: int = 60, good: int = 0
) -> Column:
    """A column of texts."""
    return Column(key, title, plain, least, most, rank, good)


def count(key: str, title: str, rank: int = 0) -> Column:
    """A column of numbers."""
    return Column(key, title, number, 5, 8, rank)


def octets(key: str, title: str, rank: int = 0) -> Column:
    """A column of bytes, or of bytes in a second."""
    return Column(key, title, size, 5, 8, rank)


COLUMNS: dict[str, tuple[Column, ...]] = {
    "listeners": (
        text("listener", "LISTENER"),
        text("address", "ADDRESS", 21, rank=1),
        count("active", "OPEN"),
        count("total_rate", "NEW/s"),
        count("total", "ALL", rank=2),
    ),
    "clusters": (
        text("cluster", "CLUSTER"),
        count("healthy", "OK"),
        count("hosts", "HOSTS"),
        count("active", "OPEN"),
        count("total_rate", "NEW/s"),
        count("failed_rate", "FAIL/s"),
        octets("received_rate", "IN/s"),
        octets("sent_rate", "OUT/s"),
        count("failed", "FAILED", rank=1),
        count("total", "ALL", rank=2),
    ),
    "hosts": (
        text("host", "HOST", 21),
        text("cluster", "CLUSTER"),
        text("health", "HEALTH", 6),
        count("active", "OPEN"),
        count("total_rate", "NEW/s"),
        count("failed_rate", "FAIL/s"),
        count("failed", "FAILED", rank=1),
        count("total", "ALL", rank=2),
    ),
    "connections": (
        count("id", "ID"),
        text("client", "CLIENT", 21),
        text("cluster", "CLUSTER", 6, rank=1),
        text("host", "HOST", 21),
        text("phase", "PHASE", 6, rank=2, most=11),
        Column("age", "AGE", duration, 6, 8),
        Column("idle", "IDLE", duration, 6, 8, 3),
        octets("received_rate", "IN/s"),
        octets("sent_rate", "OUT/s"),
        octets("received", "IN", rank=5),
        octets("sent", "OUT", rank=5),
        text("listener", "LISTENER", 6, rank=4),
        text("sni", "SNI", 6, rank=4),
        Column("rtt", "RTT", micros, 6, 8, 6),
        count("retransmits", "RETR", rank=7),
        octets("buffered", "HELD", rank=8),
        text("filter_chain", "CHAIN", 6, rank=9),
        count("worker", "WORKER", rank=10),
    ),
    "closes": (
        Column("when", "WHEN", time_of_day, 8, 8),
        text("client", "CLIENT", 21),
        text("host", "HOST", 21, rank=1),
        text("flags", "FLAGS", 5, rank=2),
        text("reason", "REASON", 24, most=200, good=60),
        text("by", "BY", 8, rank=3),
        text("cluster", "CLUSTER", 6, rank=4),
        Column("duration", "LASTED", duration, 6, 8, 5),
        octets("received", "IN", rank=5),
        octets("sent", "OUT", rank=5),
        text("listener", "LISTENER", 6, rank=6),
        text("sni", "SNI", 6, rank=6),
        count("id", "ID", rank=7),
        text("filter_chain", "CHAIN", 6, rank=9),
        count("worker", "WORKER", rank=10),
    ),
}
"""Of each view, in order."""

SORTS = {
    "listeners": "-active",
    "clusters": "-active",
    "hosts": "cluster",
    "connections": "-received_rate",
    "closes": "",
}
"""What each view is in the order of at first; ends are in the order in which they came."""


def in_order(rows: Iterable[Row], sort: str) -> list[Row]:
    """Rows by a field, after a minus the largest first; those that do not know it come last."""
    key = sort.removeprefix("-")
    every = list(rows)
    if not key:
        return every
    known = [row for row in every if row.get(key) is not None]
    known.sort(key=lambda row: _orderable(row[key]), reverse=sort.startswith("-"))
    return known + [row for row in every if row.get(key) is None]


def _orderable(value: Any) -> tuple[bool, Any]:
    is_text = isinstance(value, str)
    return is_text, value


class Laid(NamedTuple):
    """A table as lines."""

    head: str
    lines: list[str]


def lay(columns: Sequence[Column], rows: Sequence[Row], width: int, sort: str = "") -> Laid:
    """Rows as lines of at most so many columns of a terminal; the field that they are in the order
    of has a mark.
    """
    cells = [[column.show(row.get(column.key)) for row in rows] for column in columns]
    titles = [_title(column, sort) for column in columns]
    wants = [
        min(column.most, max([columns_of(title), column.steady, *map(columns_of, own)]))
        for column, title, own in zip(columns, titles, cells, strict=True)
    ]
    widths = widths_of(columns, [columns_of(title) for title in titles], wants, width)
    shown = [each for each in zip(columns, titles, cells, widths, strict=True) if each[3]]
    head = _joined(fit(title, wide, column.is_right) for column, title, _, wide in shown)
    lines = [
        _joined(fit(own[index], wide, column.is_right) for column, _, own, wide in shown)
        for index in range(len(rows))
    ]
    return Laid(cut(head, width), [cut(line, width) for line in lines])


def widths_of(
    columns: Sequence[Column], titles: Sequence[int], wants: Sequence[int], width: int
) -> list[int]:
    """How wide each column is, 0 where it is left out: those of the highest rank, the last first,
    until the others have what they need; what is left then goes to those that want more, by rank.

    :param titles: how wide the title of each is: none has less.
    """
    leasts = [
        min(max(column.least, title), want)
        for column, title, want in zip(columns, titles, wants, strict=True)
    ]
    goods = [
        max(least, min(column.good, want))
        for column, least, want in zip(columns, leasts, wants, strict=True)
    ]
    by_rank = sorted(range(len(columns)), key=lambda index: (columns[index].rank, index))
    kept = list(by_rank)
    while len(kept) > 1:
        wished = goods if columns[kept[-1]].rank >= EXTRA else leasts
        if sum(wished[i] + SPACE for i in kept) - SPACE <= width:
            break
        kept.pop()
    left = width + SPACE - sum(leasts[i] + SPACE for i in kept)
    widths = [leasts[i] if i in kept else 0 for i in range(len(columns))]
    for index in kept:
        more = max(0, min(left, wants[index] - widths[index]))
        widths[index] += more
        left -= more
    return widths


def _title(column: Column, sort: str) -> str:
    if not sort or column.key != sort.removeprefix("-"):
        return column.title
    return f"{column.title}{'v' if sort.startswith('-') else '^'}"


def _joined(cells: Iterable[str]) -> str:
    return (" " * SPACE).join(cells).rstrip()
