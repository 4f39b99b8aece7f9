"""Numbers in texts as Envoy reads them (its library's `absl::SimpleAtoi`): blanks around them, a
sign and any zeros before them are no matter, and what does not fit is none.
"""

from __future__ import annotations

import re

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,20})[ \t\n\v\f\r]*")


def signed(text: str, bits: int) -> int | None:
    """The integer of so many bits that a text is; `None` where it is none."""
    number = _integer(text)
    limit = 1 << bits - 1
    return number if number is not None and -limit <= number < limit else None


def unsigned(text: str, bits: int) -> int | None:
    """The same of one without a sign, but for a plus."""
    number = None if "-" in text else _integer(text)
    return number if number is not None and number < 1 << bits else None


def _integer(text: str) -> int | None:
    found = _INTEGER.fullmatch(text)
    return None if found is None else int("".join(found.groups()))
