"""Points in time as Envoy writes them: strftime, and fractions of a second beyond it.

A proxy writes many lines in a second, so what a format says of a whole second is kept until the
next one: only the fraction is new for each.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_SPECIAL = re.compile(r"%%|%[1-9]?[fs]|%E(?:[0-9]|\*)[Sf]|%E\*?z|%ET|%Z")


UTC_FORMAT = "%Y-%m-%dT%H:%M:%S.%3fZ"
LOCAL_FORMAT = "%Y-%m-%dT%H:%M:%S.%3f%z"
"""What START_TIME and START_TIME_LOCAL are where no format is given."""


class TimeFormat:
    """A format for moments in seconds since 1970.

    Beyond strftime: `%s` (seconds since 1970), `%f` (nanoseconds), `%1f` to `%9f` (so many digits
    of them), and the forms with `%E` of the library that Envoy uses, such as `%E3S`.

    :raise ValueError: where the system's strftime refuses the text.
    """

    __slots__ = ("_digits", "_fractions", "_local", "_pieces", "_second", "_template")

    def __init__(self, text: str, local: bool = False) -> None:
        self._local = local
        self._pieces: list[str] = [""]
        """What is the same for all of a second, around the fractions."""
        self._fractions: list[Callable[[str], str]] = []
        """What each fraction makes of nine digits."""
        self._digits = 0
        """Of how many digits it is, where it is the only one, and no more than digits."""
        at = 0
        for found in _SPECIAL.finditer(text):
            self._pieces[-1] += text[at : found.start()]
            at = found.end()
            self._add(found[0])
        self._pieces[-1] += text[at:]
        if len(self._fractions) > 1:
            self._digits = 0
        self._second: int | None = None
        self._template = ""
        self.format(0)

    def _add(self, word: str) -> None:
        """Take up a word that strftime does not know, or not as Envoy has it."""
        digits = word.removeprefix("%").removeprefix("E")[:-1]
        if word[-1] == "f" or word[-1] == "S":
            if word[-1] == "S":
                self._pieces[-1] += "%S"
            self._fractions.append(_fraction(digits, dotted=word[-1] == "S"))
            if word[-1] == "f" and digits != "*":
                self._digits = int(digits or 9)
            self._pieces.append("")
        else:
            self._pieces[-1] += word

    def format(self, moment: float) -> str:
        """The words for a moment.

        :raise ValueError OverflowError OSError: where the system knows no such time.
        """
        second, microseconds = divmod(round(moment * 1_000_000), 1_000_000)
        if second != self._second:
            self._template = self._whole_second(second)
            self._second = second
        if not self._fractions:
            return self._template
        digits = f"{microseconds:06}000"
        if self._digits:  # as in nearly every format
            return self._template % digits[: self._digits]
        return self._template % tuple([shown(digits) for shown in self._fractions])

    def _whole_second(self, second: int) -> str:
        """What all moments of a second have in common, with `%s` for each fraction where there are
        some.
        """
        fields = time.localtime(second) if self._local else time.gmtime(second)

        def special(found: re.Match[str]) -> str:
            return _special(found[0], second, fields, self._local).replace("%", "%%")

        whole = [time.strftime(_SPECIAL.sub(special, piece), fields) for piece in self._pieces]
        if not self._fractions:
            return whole[0]
        return "%s".join(piece.replace("%", "%%") for piece in whole)


def _fraction(digits: str, dotted: bool) -> Callable[[str], str]:
    """So many digits of a fraction; `*` for all but the last zeros.

    :param dotted: whether a point stands before it, if there is any.
    """
    if digits == "*":
        if dotted:
            return lambda nine: f".{nine.rstrip('0') or '0'}"
        return lambda nine: nine.rstrip("0") or "0"
    count = int(digits) if digits else 9
    if dotted:
        return (lambda nine: f".{nine[:count]}") if count else (lambda nine: "")
    return lambda nine: nine[:count]


def _special(word: str, second: int, fields: time.struct_time, local: bool) -> str:
    if word == "%%":
        return "%"
    if word == "%ET":
        return "T"
    if word == "%Z":
        return fields.tm_zone if local else "UTC"
    if word.endswith("z"):
        offset = time.strftime("%z", fields)
        return f"{offset[:3]}:{offset[3:]}" + (":00" if "*" in word else "")
    return str(second)
