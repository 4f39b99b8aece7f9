"""Formats of log lines as Envoy takes them: the flags of spdlog, and Envoy's own.

A pattern is text in which `%` and a letter stand for something of the event, `%8l` for the same in
eight columns, `%-8l` to the left, `%=8l` in the middle, `%3!l` for no more than three of them.
What spdlog does with a flag that it does not know is done here too: it stays as it is.

`FLAGS` has them all.  `%g`, `%s`, `%#`, `%@` and `%!` say where in the source an event was logged:
the file is that of the module, from its package on.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tcpmesh.facts import dataclass
from tcpmesh.version import __version__

DEFAULT_PATTERN = "[%Y-%m-%d %T.%e][%t][%l][%n] %v"
"""Envoy's, but for the place in the source."""

MOST_COLUMNS = 64
"""Wider a flag does not become, whatever is asked for."""

_SPEC = re.compile(
    r"%(?P<side>[-=]?)0*(?P<width>[0-9]*)(?P<cut>(?<=[0-9])!)?(?P<flag>.)?", re.DOTALL
)
_TAGS = re.compile(r"\[C(?P<id>[0-9]+)\] ?")

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True)
class Location:
    """Where in the source something was logged."""

    path: str
    line: int
    function: str


class Record:
    """An event as a line sees it."""

    def __init__(
        self,
        text: str,
        level: str,
        logger: str,
        seconds: float,
        location: Location | None = None,
    ) -> None:
        self.text = text
        self.level = level
        self.logger = logger
        self.seconds = seconds
        """Wall time."""
        self._location = location
        self._local: time.struct_time | None = None

    @property
    def location(self) -> Location:
        """Where it was logged: it is looked for only where a pattern asks."""
        if self._location is None:
            self._location = _caller()
        return self._location

    @property
    def local(self) -> time.struct_time:
        """The local time."""
        if self._local is None:
            self._local = time.localtime(self.seconds)
        return self._local

    @property
    def nanoseconds(self) -> int:
        """Of the second."""
        return int(self.seconds % 1 * 1_000_000_000)

    @property
    def tags(self) -> str:
        """The connection that the text begins with, as Envoy has it in JSON."""
        found = _TAGS.match(self.text)
        return f',"ConnectionId":"{found["id"]}"' if found else ""

    @property
    def message(self) -> str:
        """The text without that."""
        return _TAGS.sub("", self.text, count=1) if self.tags else self.text


Part: TypeAlias = "Callable[[Record], str]"


def line_of(pattern: str) -> Part:
    """What makes lines, without their ends, of records.  Any text is a pattern."""
    parts: list[Part] = []
    at = 0
    for found in _SPEC.finditer(pattern):
        if found.start() > at:
            parts.append(_literal(pattern[at : found.start()]))
        parts += _parts_of(found)
        at = found.end()
    if at < len(pattern):
        parts.append(_literal(pattern[at:]))
    return lambda record: "".join([part(record) for part in parts])


def escaped(text: str) -> str:
    """A text with what no terminal shows, quotes and what is not ASCII escaped as in C
    (`--log-format-escaped`).
    """
    return "".join(_ESCAPES[byte] for byte in text.encode("utf-8", "backslashreplace"))


def _escape(byte: int) -> str:
    named = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}
    if byte in named:
        return named[byte]
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"


_ESCAPES = tuple(map(_escape, range(256)))


def json_pattern(values: Mapping[str, Any]) -> str:
    """The pattern of a line that is a JSON object with these values.

    :raise ValueError: where one would not make JSON of every text.
    """
    pattern = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for flag in ("%v", "%_"):
        if flag in pattern:
            raise ValueError(f"{flag} cannot be used in a JSON format: %j is the text in JSON")
    return pattern


def _literal(text: str) -> Part:
    return lambda record: text


def _parts_of(found: re.Match[str]) -> list[Part]:
    flag, width = found["flag"], min(int(found["width"][:3] or 0), MOST_COLUMNS)
    if flag is None:
        return []
    if flag in UNPADDED:
        return [UNPADDED[flag]]
    make = _elapsed(ELAPSED[flag]) if flag in ELAPSED else FLAGS.get(flag)
    if make is not None:
        return [make if not width else _padded(make, found["side"], width, bool(found["cut"]))]
    if found["cut"]:
        # The mark was not one of width, it was the flag of the function, as spdlog has it.
        return [_padded(FLAGS["!"], found["side"], width, False), _literal(flag)]
    return [_literal(f"%{flag}")]


def _padded(make: Part, side: str, width: int, cut: bool) -> Part:
    def padded(record: Record) -> str:
        text = make(record)
        missing = width - len(text)
        if missing <= 0:
            return text[:width] if cut else text
        before = {"": missing, "-": 0, "=": missing // 2}[side]
        return " " * before + text + " " * (missing - before)

    return padded


def _elapsed(unit: float) -> Part:
    """How long after the line before, in such units."""
    before = [time.time()]

    def elapsed(record: Record) -> str:
        passed = max(0.0, record.seconds - before[0])
        before[0] = record.seconds
        return str(int(passed / unit))

    return elapsed


def _caller() -> Location:
    """Whoever called `twisted.logger`."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("twisted.logger", "tcpmesh.logs", "twisted.python.log")):
            code = frame.f_code
            return Location(_from_package(code.co_filename, name), frame.f_lineno, code.co_name)
        frame = frame.f_back
    return Location("", 0, "")


def _from_package(path: str, module: str) -> str:
    depth = module.count(".") + 1 + path.endswith("__init__.py")
    return "/".join(path.split(os.sep)[-depth:])


def _zone(record: Record) -> str:
    minutes = record.local.tm_gmtoff // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _of_time(name: str) -> Part:
    """A number of the local time, in two digits."""
    return lambda record: f"{getattr(record.local, name):02d}"


def _clock(record: Record) -> str:
    now = record.local
    return f"{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"


def _short_date(record: Record) -> str:
    now = record.local
    return f"{now.tm_mon:02d}/{now.tm_mday:02d}/{now.tm_year % 100:02d}"


def _hour12(record: Record) -> str:
    return f"{(record.local.tm_hour + 11) % 12 + 1:02d}"


def _half(record: Record) -> str:
    return "PM" if record.local.tm_hour >= 12 else "AM"


def _date(record: Record) -> str:
    day, month = _DAYS[record.local.tm_wday][:3], _MONTHS[record.local.tm_mon - 1][:3]
    return f"{day} {month} {record.local.tm_mday} {_clock(record)} {record.local.tm_year}"


#: What each flag stands for.
FLAGS: Mapping[str, Part] = {
    "v": lambda record: record.text,
    "l": lambda record: record.level,
    "L": lambda record: record.level[0].upper(),
    "n": lambda record: record.logger,
    "t": lambda record: str(threading.get_native_id()),
    "P": lambda record: str(os.getpid()),
    "g": lambda record: record.location.path,
    "s": lambda record: record.location.path.rpartition("/")[2],
    "#": lambda record: str(record.location.line),
    "!": lambda record: record.location.function,
    "@": lambda record: f"{record.location.path}:{record.location.line}",
    "Y": lambda record: str(record.local.tm_year),
    "C": lambda record: f"{record.local.tm_year % 100:02d}",
    "m": _of_time("tm_mon"),
    "d": _of_time("tm_mday"),
    "H": _of_time("tm_hour"),
    "M": _of_time("tm_min"),
    "S": _of_time("tm_sec"),
    "T": _clock,
    "X": _clock,
    "R": lambda record: _clock(record)[:5],
    "D": _short_date,
    "x": _short_date,
    "I": _hour12,
    "p": _half,
    "r": lambda record: f"{_hour12(record)}{_clock(record)[2:]} {_half(record)}",
    "a": lambda record: _DAYS[record.local.tm_wday][:3],
    "A": lambda record: _DAYS[record.local.tm_wday],
    "b": lambda record: _MONTHS[record.local.tm_mon - 1][:3],
    "h": lambda record: _MONTHS[record.local.tm_mon - 1][:3],
    "B": lambda record: _MONTHS[record.local.tm_mon - 1],
    "c": _date,
    "e": lambda record: f"{record.nanoseconds // 1_000_000:03d}",
    "f": lambda record: f"{record.nanoseconds // 1000:06d}",
    "F": lambda record: f"{record.nanoseconds:09d}",
    "E": lambda record: str(int(record.seconds)),
    "z": _zone,
    "^": lambda record: "",
    "$": lambda record: "",
    "&": lambda record: "",
}

#: Time since the line before, in units of so many seconds.
ELAPSED: Mapping[str, float] = {"u": 1e-9, "i": 1e-6, "o": 1e-3, "O": 1.0}

#: Flags of Envoy's own, and the percent sign: these take no notice of a width.
UNPADDED: Mapping[str, Part] = {
    "%": lambda record: "%",
    "_": lambda record: record.text.replace("\n", "\\n"),
    "j": lambda record: json.dumps(record.message, ensure_ascii=False)[1:-1],
    "+": lambda record: record.message,
    "*": lambda record: record.tags,
    "N": lambda record: __version__,
}
