"""The heap in huge pages, once the program is up: what is there by then stays, and is what every
connection goes through.

Objects of Python lie all over tens of megabytes.  In pages of 4 KiB that is more of them than a
processor remembers the places of (its TLB), and what runs between two events pushes them out.
Medians of 30 alternating runs beside other work, as parts of the CPU without: a handshake 0.90, a
resumed one 0.85, a plain connection 0.92, a message with TLS 0.94; it takes a megabyte more.

Linux has that since 6.1 (MADV_COLLAPSE), also where huge pages are for those alone who ask for
them, its usual setting.  Where it is not to be had nothing is different.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

HUGE = 1 << 21

_NO_MORE = object()

_COLLAPSE = 25
"""MADV_COLLAPSE."""


PAUSE = 0.02
"""Seconds after each page: clients have come by then, and are not to wait for the next one."""


def collapse_all(clock: Any) -> None:
    """Put what exists now into huge pages, little by little."""
    pages = collapsing()

    def one_more() -> None:
        if next(pages, _NO_MORE) is not _NO_MORE:
            clock.callLater(PAUSE, one_more)

    one_more()


def collapsing() -> Iterator[None]:
    """Put what memory there is into huge pages, as far as it fills them: one in each step, which
    takes a millisecond or two.
    """
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    places: list[int] = []
    with suppress(OSError), open("/proc/self/maps") as maps:
        places = list(huge_places(maps))
    for place in places:
        advise(place, HUGE, _COLLAPSE)  # which fails where something else is there by now
        yield


def huge_places(maps: Iterable[str]) -> Iterator[int]:
    """Where in a process's own memory a huge page can be: the addresses.

    :param maps: the lines of /proc/self/maps.
    """
    for line in maps:
        span, access, *rest = line.split()
        name = rest[3] if len(rest) > 3 else ""
        if access == "rw-p" and name in ("", "[heap]"):
            start, end = (int(each, 16) for each in span.split("-"))
            yield from range(-(-start // HUGE) * HUGE, end - HUGE + 1, HUGE)
