"""Values that clients choose, of which each character is one that a log writes in another way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.fields.state import TypedState
from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.writer import encode
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

SIZE = 10_000


def calls(act: Callable[[], object]) -> int:
    """How many functions written in Python that calls."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count


class HostileTests(SynchronousTestCase):
    """Everybody waits for what is formatted."""

    def test_no_utf8(self) -> None:
        """JSON of metadata that is no UTF-8 costs no call for each byte, and shows each byte."""
        info = StreamInfo(started=0.0)
        info.metadata = {"a": {"b": "\udcff" * SIZE}}
        shown = JsonFormat({"x": "%DYNAMIC_METADATA(a)%"})
        self.assertEqual(
            '{"x":{"b":"' + "\\u00ff" * SIZE + '"}}\n', shown.format(info, Moment(0.0, 0.0))
        )
        self.assertLess(calls(lambda: shown.format(info, Moment(0.0, 0.0))), 100)

    def test_masked(self) -> None:
        """Nor does that of filter state, all of whose characters are masked."""
        state = TypedState({"a": "<\u2028" * SIZE})
        self.assertEqual('{"a":"' + "\\u003c\\u2028" * SIZE + '"}', str(state))
        self.assertLess(calls(lambda: str(state)), 100)

    def test_halves(self) -> None:
        """Nor do halves of surrogate pairs that stand for no byte, when a record is written."""
        self.assertEqual(b"a\xff?" * SIZE, encode("a\udcff\ud800" * SIZE))
        self.assertLess(calls(lambda: encode("a\udcff\ud800" * SIZE)), 10)
