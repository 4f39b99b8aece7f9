"""Numbers of hosts that several have counted, each for itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def summed(one: Iterable[tuple[int, ...]], other: Iterable[tuple[int, ...]]) -> tuple[Any, ...]:
    """The numbers of each host that two have counted, which begin with its key."""
    sums = {each[0]: each for each in one}
    for each in other:
        known = sums.get(each[0])
        if known is not None:
            added = (a + b for a, b in zip(known[1:], each[1:], strict=True))
            sums[each[0]] = (each[0], *added)
        else:
            sums[each[0]] = each
    return tuple(sums.values())
