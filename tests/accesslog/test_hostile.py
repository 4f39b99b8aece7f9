"""Values that clients choose, of which each character is one that a log writes in another way."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.fields.state import TypedState
from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.operators import OPERATORS
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.accesslog.writer import encode
from tcpmesh.config.fields.operators import FormatError, Operator
from tcpmesh.values.stream.http_request import HttpRequest
from tcpmesh.values.stream.moment import MOST_TEXT, Moment
from tcpmesh.values.stream.stream_info import StreamInfo

SIZE = 10_000

METADATA = "%DYNAMIC_METADATA(a)%"

ARGUMENTS = {
    "CEL": "connection.id",
    "TYPED_CEL": "connection.id",
    "COMMON_DURATION": "DS_RX_BEG:DS_TX_END",
}
"""Of operators that do not take any word."""


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

    def test_asked_for_often(self) -> None:
        """What a client sent is in a record as often as there is room for it, however often a
        format asks for it, and is then absent: in a text, in JSON, and in all records of one
        moment together.
        """
        info = StreamInfo(started=0.0)
        info.metadata = {"a": {"b": "x" * SIZE}}
        times = MOST_TEXT // SIZE + 1
        at = Moment(0.0, 0.0)

        text = TextFormat("%DYNAMIC_METADATA(a:b)%" * 500).format(info, at)
        self.assertEqual("x" * SIZE * times + "-" * (500 - times), text)
        self.assertEqual(500 - times, at.left_out)
        self.assertEqual('{"x":null}\n', JsonFormat({"x": METADATA}).format(info, at))
        self.assertEqual("0", TextFormat("%BYTES_SENT%").format(info, at))

        shown = JsonFormat({"x": [METADATA] * 500}).format(info, Moment(0.0, 0.0))
        value = '{"b":"' + "x" * SIZE + '"}'
        self.assertEqual(
            f'{{"x":[{",".join([value] * times + ["null"] * (500 - times))}]}}\n', shown
        )

    def test_whose_values_take_room(self) -> None:
        """It is taken by metadata, filter state, what peers say of themselves, expressions and what
        is asked of the admin interface, and by nothing else: the others are short.
        """
        at = Moment(0.0, 0.0, request=HttpRequest("GET", "/?a=b", "HTTP/1.1", 200), room=0)
        minding = set()
        for name in OPERATORS.table:
            before = at.left_out
            with contextlib.suppress(FormatError):
                OPERATORS.build(Operator(name, ARGUMENTS.get(name, "a")))(StreamInfo(), at)
            if at.left_out > before:
                minding.add(name)
        # There are no expressions where this Python has no library for them.
        cel = "|CEL" if find_spec("cel_expr_python") is not None else ""
        others = re.compile("METADATA|FILTER_STATE|_PEER_|SERVER_NAME" + cel)
        self.assertEqual(
            {"PATH", "PROTOCOL", "QUERY_PARAM", "QUERY_PARAMS", "REQ", "REQUEST_HEADER"}
            | {"RESP", "RESPONSE_CODE", "RESPONSE_HEADER"}
            | {name for name in OPERATORS.table if others.search(name)},
            minding,
        )

    def test_masked(self) -> None:
        """Nor does that of filter state, all of whose characters are masked."""
        state = TypedState({"a": "<\u2028" * SIZE})
        self.assertEqual('{"a":"' + "\\u003c\\u2028" * SIZE + '"}', str(state))
        self.assertLess(calls(lambda: str(state)), 100)

    def test_halves(self) -> None:
        """Nor do halves of surrogate pairs that stand for no byte, when a record is written."""
        self.assertEqual(b"a\xff?" * SIZE, encode("a\udcff\ud800" * SIZE))
        self.assertLess(calls(lambda: encode("a\udcff\ud800" * SIZE)), 10)
