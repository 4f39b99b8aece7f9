"""What `tcpmesh top` shows and what its keys do, without a terminal: lines are made of what was
gathered, keys change what is wanted.

`tcpmesh.terminal.screen` draws the lines and reads the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from tcpmesh.admin.answers.text_table import printable
from tcpmesh.terminal.filters import Filter, Row, filter_of, fitting, quoted
from tcpmesh.terminal.gathering import TOLD, VIEWS, Snapshot, Wanted
from tcpmesh.terminal.tables import COLUMNS, SORTS, in_order, lay
from tcpmesh.terminal.texts import cut, duration, fit, number, size

PAGE = 10
"""Lines that PAGE UP and PAGE DOWN move by."""

KEYS = "? help  q quit  1-6 view  / filter  s sort  r reverse  x close  p pause"

HELP = """\
1 to 6, TAB      another view
up, down, PAGE UP, PAGE DOWN, HOME, END
                 choose a row
ENTER            the connections of the chosen listener, cluster or host
/                filter: words that must all be in a row, or FIELD=VALUE;
                 of connections also client=10.0.0.0/8 'age=>60' 'sni=~^api'
ESC              no filter any more
s  r             sort by the next column; the other way round
x                close the chosen connection, once you have said yes
p                pause, and go on
q                quit"""

KEY_FIELDS = {
    "listeners": ("listener", "address"),
    "clusters": ("cluster",),
    "hosts": ("cluster", "host"),
    "connections": ("worker", "id"),
    "closes": ("worker", "id", "when"),
}
"""What tells a row of a view from all others."""

LEADS = {"listeners": "listener", "clusters": "cluster", "hosts": "host"}
"""The field of a row whose connections can be looked at."""


class Style(Enum):
    """How a line is drawn."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    CHOSEN = "chosen"
    BAD = "bad"


class Line(NamedTuple):
    """A line of the screen."""

    text: str
    style: Style = Style.PLAIN


class Prompt(Enum):
    """What is being asked."""

    NOTHING = ""
    FILTER = "filter"
    CLOSE = "close"
    HELP = "help"


class Top:
    """The state of the screen.

    :param address: of the admin interface, to be shown.
    """

    def __init__(self, address: str, view: str = "overview", text: str = "") -> None:
        self.view = view
        self.is_over = self.is_paused = False
        self.to_close: list[int] = []
        """Connections that somebody has said yes to close, to be taken from here."""
        self._address = address
        self._sorts = dict(SORTS)
        self._filters = dict.fromkeys(VIEWS, text)
        self._prompt = Prompt.NOTHING
        self._typed = self._message = self._failure = ""
        self._asked_of: Row = {}
        self._snapshot: Snapshot | None = None
        self._chosen: tuple[object, ...] = ()
        self._index = 0
        self._height = 24

    # What comes in

    @property
    def wanted(self) -> Wanted:
        """What is to be gathered."""
        sort = self._sorts["connections"]
        return Wanted(self.view, filter_of(self._filters[self.view]), sort)

    def sort_by(self, sort: str) -> None:
        """Put this view in order of a field, after a minus the largest first."""
        self._sorts[self.view] = sort

    def take(self, snapshot: Snapshot) -> None:
        """Something was gathered."""
        self._snapshot, self._failure = snapshot, ""

    def fail(self, reason: str) -> None:
        """It could not be; what was there before stays."""
        self._failure = reason

    def say(self, text: str) -> None:
        """Show this until the next key."""
        self._message = text

    def press(self, key: str) -> None:
        """A key: a character, or a name such as UP."""
        self._message = ""
        if self._prompt is Prompt.FILTER:
            self._edit(key)
        elif self._prompt is Prompt.CLOSE:
            self._answer(key)
        elif self._prompt is Prompt.HELP:
            self._prompt = Prompt.NOTHING
        else:
            self._command(key)

    def _command(self, key: str) -> None:
        if key == "q":
            self.is_over = True
        elif key in "123456" and key:
            self._show(VIEWS[int(key) - 1])
        elif key == "TAB":
            self._show(VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)])
        elif key == "/":
            self._prompt, self._typed = Prompt.FILTER, self._filters[self.view]
        elif key == "ESCAPE":
            self._filters[self.view] = ""
        elif key == "?":
            self._prompt = Prompt.HELP
        elif key == "p":
            self.is_paused = not self.is_paused
        elif key in ("s", "r"):
            self._sort(key)
        elif key == "x":
            self._ask_close()
        elif key == "ENTER":
            self._look_into()
        else:
            self._move(key)

    def _show(self, view: str) -> None:
        if view != self.view:
            self.view, self._chosen, self._index = view, (), 0

    def _edit(self, key: str) -> None:
        if key == "ENTER":
            self._filters[self.view], self._prompt = self._typed, Prompt.NOTHING
        elif key == "ESCAPE":
            self._prompt = Prompt.NOTHING
        elif key == "BACKSPACE":
            self._typed = self._typed[:-1]
        elif len(key) == 1 and key.isprintable():
            self._typed += key

    def _sort(self, key: str) -> None:
        keys = [column.key for column in COLUMNS.get(self.view, ())]
        if not keys or self.view == "closes":
            self._message = "the order of this view is fixed"
            return
        sort = self._sorts[self.view]
        now = sort.removeprefix("-")
        if key == "r":
            self._sorts[self.view] = now if sort.startswith("-") else f"-{now}"
        else:
            self._sorts[self.view] = "-" + keys[(keys.index(now) + 1) % len(keys)]

    def _ask_close(self) -> None:
        row = self._row()
        if self.view != "connections" or row is None:
            self._message = "choose a connection first (5)"
        else:
            self._prompt, self._asked_of = Prompt.CLOSE, row

    def _answer(self, key: str) -> None:
        self._prompt = Prompt.NOTHING
        if key in ("y", "Y"):
            self.to_close.append(int(self._asked_of["id"]))
        else:
            self._message = "nothing is closed"

    def _look_into(self) -> None:
        field, row = LEADS.get(self.view, ""), self._row()
        if field and row is not None:
            self._filters["connections"] = quoted(field, str(row[field]))
            self._show("connections")

    # The chosen row

    def _move(self, key: str) -> None:
        rows = self._rows(self.view)
        steps = {"UP": -1, "DOWN": 1, "PAGE_UP": -PAGE, "PAGE_DOWN": PAGE}
        if key in steps and rows:
            target = self._position(rows) + steps[key]
        elif key in ("HOME", "END") and rows:
            target = 0 if key == "HOME" else len(rows) - 1
        else:
            return
        self._index = max(0, min(target, len(rows) - 1))
        self._chosen = self._key(rows[self._index])

    def _key(self, row: Row) -> tuple[object, ...]:
        return tuple(row.get(field) for field in KEY_FIELDS[self.view])

    def _position(self, rows: Sequence[Row]) -> int:
        """Where the chosen row is now; where it is gone, what has taken its place."""
        for index, row in enumerate(rows):
            if self._chosen and self._key(row) == self._chosen:
                return index
        return max(0, min(self._index, len(rows) - 1))

    def _row(self) -> Row | None:
        rows = self._rows(self.view)
        return rows[self._position(rows)] if rows else None

    def _rows(self, view: str) -> list[Row]:
        """The rows of a view, as they are shown."""
        if self._snapshot is None or view == "overview":
            return []
        return rows_of(self._snapshot, view, filter_of(self._filters[self.view]), self._sorts[view])

    # What is seen

    def lines(self, width: int, height: int) -> list[Line]:
        """As many lines as the screen has, none longer than it is wide."""
        body = max(0, height - 3)
        if self._prompt is Prompt.HELP:
            middle = [Line(text) for text in HELP.splitlines()]
        elif self.view == "overview":
            middle = self._overview(width, body)
        else:
            middle = self._table(width, body)
        middle = [*middle, *[Line("")] * body][:body]
        every = [self._title(), self._tabs(), *middle, self._foot(width)][:height]
        return [Line(fit(line.text, width), line.style) for line in every]

    def _title(self) -> Line:
        if self._failure:
            return Line(f"{printable(self._failure)}; trying again", Style.BAD)
        if self._snapshot is None:
            return Line(f"tcpmesh top  {printable(self._address)}  asking", Style.TITLE)
        return Line(title_of(self._address, self._snapshot), Style.TITLE)

    def _tabs(self) -> Line:
        tabs = [f"{number}:{view}" for number, view in enumerate(VIEWS, 1)]
        here = VIEWS.index(self.view)
        tabs[here] = f"[{tabs[here]}]"
        return Line("  ".join([*tabs, *(["PAUSED"] if self.is_paused else [])]))

    def _foot(self, width: int) -> Line:
        if self._prompt is Prompt.FILTER:
            # The end of a long one is where it is written.
            return Line(f"filter: {printable(self._typed)}_"[-width:], Style.HEAD)
        if self._prompt is Prompt.CLOSE:
            row = self._asked_of
            client, host = (printable(str(row.get(key) or "?")) for key in ("client", "host"))
            return Line(f"close connection {row['id']} (y/n)? {client} to {host}", Style.BAD)
        if self._message:
            return Line(printable(self._message), Style.HEAD)
        text = self._filters[self.view]
        note = self._snapshot.notes.get(self.view, "") if self._snapshot is not None else ""
        parts = [f"filter: {printable(text)} (ESC: none)"] if text else []
        return Line("  ".join([*parts, *([printable(note)] if note else []), KEYS]), Style.HEAD)

    def _table(self, width: int, height: int) -> list[Line]:
        rows = self._rows(self.view)
        room = max(1, height - 1)
        chosen = self._position(rows)
        first = max(0, min(chosen - room // 2, len(rows) - room))
        part = rows[first : first + room]
        laid = lay(COLUMNS[self.view], part, width, self._sorts[self.view])
        if not rows:
            return [Line(laid.head, Style.HEAD), Line(self._nothing())]
        body = [
            Line(text, Style.CHOSEN if index == chosen else style_of(row))
            for index, (text, row) in enumerate(zip(laid.lines, part, strict=True), first)
        ]
        return [Line(laid.head, Style.HEAD), *body]

    def _nothing(self) -> str:
        if self._snapshot is None:
            return ""
        return "none that fits the filter" if self._filters[self.view] else "none"

    def _overview(self, width: int, height: int) -> list[Line]:
        if self._snapshot is None:
            return []
        sections = {view: self._rows(view) for view in VIEWS[1:]}
        sections["hosts"].sort(key=lambda row: row["health"] == "ok")
        rooms = shared_room([len(rows) for rows in sections.values()], height - len(sections))
        lines: list[Line] = []
        for (view, rows), room in zip(sections.items(), rooms, strict=True):
            part = rows[:room]
            laid = lay(COLUMNS[view], part, width)
            lines.append(Line(laid.head, Style.HEAD))
            lines += [Line(text, style_of(row)) for text, row in zip(laid.lines, part, strict=True)]
        return lines


def rows_of(snapshot: Snapshot, view: str, wanted: Filter, sort: str) -> list[Row]:
    """The rows of a view that fit, in order."""
    rows = snapshot.tables.get(view, [])
    return in_order(rows if view in TOLD else fitting(rows, wanted), sort)


def title_of(address: str, snapshot: Snapshot) -> str:
    """A proxy in one line."""
    server, tables = snapshot.server, snapshot.tables
    parts = [
        printable(address),
        str(server.get("state", "")),
        f"up {duration(server.get('uptime'))}",
    ]
    if "listeners" in tables:
        parts.append(f"{number(sum(row['active'] for row in tables['listeners']))} clients")
    if "clusters" in tables:
        for key, title in (("received_rate", "in"), ("sent_rate", "out")):
            rates = [row[key] for row in tables["clusters"] if row[key] is not None]
            parts.append(f"{title} {size(sum(rates) if rates else None)} B/s")
    return "  ".join(["tcpmesh", *parts])


def style_of(row: Row) -> Style:
    """How a row is drawn that is not the chosen one: what is wrong can be told by its text too."""
    is_down = row.get("health", "ok") != "ok"
    has_none = "healthy" in row and row["healthy"] < row["hosts"]
    return Style.BAD if is_down or has_none else Style.PLAIN


def shared_room(wants: Sequence[int], room: int) -> list[int]:
    """How many of so many lines each of several gets: none more than it wants, and those that want
    more than the others have get as many as each other.
    """
    given = [0] * len(wants)
    left = max(0, room)
    while left > 0 and any(given[i] < wants[i] for i in range(len(wants))):
        for index, want in enumerate(wants):
            if given[index] < want and left > 0:
                given[index] += 1
                left -= 1
    return given


def report(address: str, snapshot: Snapshot, wanted: Wanted, width: int) -> str:
    """All that was gathered, as text for a script or a file."""
    blocks = [cut(title_of(address, snapshot), width)]
    for view in VIEWS[1:] if wanted.view == "overview" else (wanted.view,):
        sort = wanted.sort if wanted.view == view != "closes" else SORTS[view]
        rows = rows_of(snapshot, view, wanted.filter, sort)
        laid = lay(COLUMNS[view], rows, width, sort)
        note = snapshot.notes.get(view, "")
        title = f"{view}{f' ({printable(note)})' if note else ''}"
        blocks.append("\n".join([title, laid.head, *laid.lines]))
    return "\n\n".join(blocks)
