"""Points in time as Envoy writes them: strftime, and fractions of a second beyond it."""

from __future__ import annotations

import re
import time

_SPECIAL = re.compile(r"%%|%[1-9]?[fs]|%E(?:[0-9]|\*)[Sf]|%E\*?z|%ET|%Z")


UTC_FORMAT = "%Y-%m-%dT%H:%M:%S.%3fZ"
LOCAL_FORMAT = "%Y-%m-%dT%H:%M:%S.%3f%z"
"""What START_TIME and START_TIME_LOCAL are where no format is given."""


def format_time(moment: float, text: str, local: bool = False) -> str:
    """A moment, in seconds since 1970, in words.

    Beyond strftime: `%s` (seconds since 1970), `%f` (nanoseconds), `%1f` to `%9f` (so many digits
    of them), and the forms with `%E` of the library that Envoy uses, such as `%E3S`.

    :raise ValueError: where the system's strftime refuses the text.
    """
    nanoseconds = round(moment * 1_000_000) * 1000
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    fields = time.localtime(seconds) if local else time.gmtime(seconds)

    def special(found: re.Match[str]) -> str:
        return _special(found[0], seconds, f"{fraction:09}", fields, local).replace("%", "%%")

    return time.strftime(_SPECIAL.sub(special, text), fields)


def _special(word: str, seconds: int, digits: str, fields: time.struct_time, local: bool) -> str:
    """What strftime does not know, or not as Envoy has it."""
    if word == "%%":
        return "%"
    if word == "%ET":
        return "T"
    if word == "%Z":
        return fields.tm_zone if local else "UTC"
    if word.endswith("z"):
        offset = time.strftime("%z", fields)
        return f"{offset[:3]}:{offset[3:]}" + (":00" if "*" in word else "")
    if word.endswith("s"):
        return str(seconds)
    if word.startswith("%E"):
        part = (digits.rstrip("0") or "0") if word[2] == "*" else digits[: int(word[2])]
        return part if word.endswith("f") else f"{fields.tm_sec:02}" + (f".{part}" if part else "")
    return digits[: int(word[1])] if len(word) == 3 else digits
