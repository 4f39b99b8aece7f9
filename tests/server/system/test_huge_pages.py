"""Which memory is put into huge pages."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.system import huge_pages
from tcpmesh.server.system.huge_pages import (
    HUGE,
    PAUSE,
    collapse_all,
    collapsing,
    huge_places,
)

MAPS = """\
00200000-00600000 r-xp 00000000 08:01 77 /usr/bin/python3
00a00000-00e01000 rw-p 00000000 00:00 0 [heap]
10100000-10500000 rw-p 00000000 00:00 0
20000000-20200000 rw-p 00000000 08:01 78 /usr/lib/libc.so.6
30000000-30100000 rw-p 00000000 00:00 0
40000000-40200000 rw-s 00000000 00:01 79
50000000-50200000 ---p 00000000 00:00 0
"""


class HugePageTests(SynchronousTestCase):
    """What is asked of the system."""

    def test_places(self) -> None:
        """A huge page can be wherever one fits into memory that is the process's own, and no
        file's.
        """
        expected = [0xA00000, 0xC00000, 0x10200000]
        self.assertEqual(expected, list(huge_places(MAPS.splitlines())))

    def test_contents_stay(self) -> None:
        """What lies in memory is the same afterwards, whatever the system makes of it."""
        held = [bytes([number % 251]) * 4096 for number in range(3 * HUGE // 4096)]
        for _ in collapsing():
            pass
        self.assertTrue(all(each == bytes([n % 251]) * 4096 for n, each in enumerate(held)))

    def test_pauses(self) -> None:
        """Between two pages others have their turn."""
        left: list[int | None] = [1, 2]
        self.patch(huge_pages, "collapsing", lambda: iter(left.pop, None))
        left.insert(0, None)
        clock = Clock()
        collapse_all(clock)
        self.assertEqual([None, 1], left)
        clock.advance(PAUSE)
        clock.advance(PAUSE)
        self.assertEqual([], clock.getDelayedCalls())
