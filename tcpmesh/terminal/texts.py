"""Values as a terminal shows them: nothing in them can move the cursor, and each fits its place.

Names come from clients too: a server name with an escape sequence in it would otherwise be one for
the terminal of whoever looks.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

from tcpmesh.admin.answers import text_table

ELLIPSIS = "~"
"""Where something is cut off; a letter that every terminal has."""

UNKNOWN = "-"


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int, is_right: bool = False) -> str:
    """A text in exactly so many columns: filled up with blanks, or cut off."""
    room = width - columns_of(text)
    if room < 0:
        text = cut(text, width)
        room = width - columns_of(text)
    return " " * room + text if is_right else text + " " * room


def cut(text: str, width: int) -> str:
    """A text in at most so many columns; where it is cut off there is a mark."""
    if columns_of(text) <= width:
        return text
    kept, room = [], width - len(ELLIPSIS)
    for each in text:
        room -= _columns(each)
        if room < 0:
            break
        kept.append(each)
    return "".join(kept) + ELLIPSIS[:width]


def number(value: float | None) -> str:
    """A count, in at most six characters: `12345`, `123k`, `1M`."""
    if value is None:
        return UNKNOWN
    if value < 10 and value != int(value):
        return f"{value:.1f}"
    unit, rest = "", value
    for larger in "kMGTPE":
        if rest < (100_000 if not unit else 1000):
            break
        unit, rest = larger, rest / 1000
    return f"{rest:.0f}{unit}"


def size(value: float | None) -> str:
    """A number of bytes, as the admin interface's own pages have it."""
    return UNKNOWN if value is None else text_table.size(value)


def duration(seconds: float | None) -> str:
    """A time span, likewise."""
    return UNKNOWN if seconds is None else text_table.duration(seconds)


def micros(value: float | None) -> str:
    """A number of microseconds as milliseconds."""
    return UNKNOWN if value is None else f"{value / 1000:.1f}ms"


def time_of_day(when: str | None) -> str:
    """A moment as the admin interface tells it, in ISO 8601: the time of day, here."""
    try:
        moment = datetime.fromisoformat(str(when).replace("Z", "+00:00"))
    except ValueError:
        return UNKNOWN
    return moment.astimezone().strftime("%H:%M:%S")


def plain(value: object) -> str:
    """Any other value."""
    return UNKNOWN if value is None or value == "" else text_table.printable(str(value))
