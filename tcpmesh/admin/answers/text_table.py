"""Tables of plain text: what a person reads in a terminal.

What clients have sent (an SNI, for example) may be anything, so whatever is not printable is shown
by its code: nobody's terminal obeys it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

WIDEST = 64
"""Characters of a cell; more are cut off."""

STEP = 16
"""Rows that are put into words in one step."""

Row = TypeVar("Row")


def text_table(
    titles: Sequence[str],
    rows: Iterable[Row],
    cells_of: Callable[[Row], Sequence[str]],
    right: frozenset[int] = frozenset(),
) -> Iterator[str]:
    """The table in pieces, of which some are empty; the columns of `right` are aligned there."""
    widths = [len(title) for title in titles]
    lines = [titles]
    for index, row in enumerate(rows):
        cells = cells_of(row)
        lines.append(cells)
        widths = [max(width, len(cell)) for width, cell in zip(widths, cells, strict=True)]
        if index % STEP == 0:
            yield ""
    for line in lines:
        aligned = (
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(line)
        )
        yield "  ".join(aligned).rstrip() + "\n"


def shown(text: str) -> str:
    """A text that others have chosen, as a cell."""
    if len(text) > WIDEST:
        text = text[: WIDEST - 3] + "..."
    return printable(text)[: 2 * WIDEST] or "-"


def printable(text: str) -> str:
    """A text whose characters all can be seen: any other is written as an escape, such as
    `\\x1b`.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )


def duration(seconds: float) -> str:
    """As `12.3s`, `4m05s`, `2h03m`, `5d06h`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s"


def size(count: float) -> str:
    """Bytes, as `512`, `1.5K`, `20M`."""
    if count < 1024:
        return f"{count:.0f}"
    for unit in "KMGTP":
        count /= 1024
        if count < 1024 or unit == "P":
            break
    return f"{count:.1f}{unit}" if count < 10 else f"{count:.0f}{unit}"
