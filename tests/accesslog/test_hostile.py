"""Formatting never fails, whatever clients, filters, names and clocks have done."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.fields.value import encoded
from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.operators import OPERATORS
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.filter_state import HashableText, Sharing, Text
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.stream_info import (
    ClientHello,
    ClusterInfo,
    ListenerInfo,
    StreamInfo,
    UpstreamInfo,
)
from tests.accesslog.known import Ends
from tests.accesslog.test_text_format import ARGUMENTS

#: Texts of all characters, also such as stand for bytes that are no UTF-8, and for nothing at all.
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["\udcff\udcfe", "\ud800", '"\\\n\r\t\0\x7f', "%s%d%%", "{0}{}", "\u2028\u2029<>&", "é" * 9]
)
NUMBERS = st.integers(-(10**5000), 10**5000) | st.integers()
MOMENTS = st.floats() | st.floats(-1e4, 2e9)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ADDRESSES = st.sampled_from(
    [
        Address("1.2.3.4", 5),
        Address("::1", 65535),
        Address("/run/\udcff"),
        Address("@"),
        Address("fe80::1%eth0", 1),
    ]
)


@st.composite
def infos(draw: st.DrawFn) -> StreamInfo:
    """Connections of which everything may be strange."""
    info = StreamInfo(draw(NUMBERS), Ends("1.2.3.4:5", "[::1]:6"), draw(MOMENTS))
    ends = Ends("1.2.3.4:5", "[::1]:6")
    ends.peer, ends.host = draw(ADDRESSES), draw(ADDRESSES)
    info.addresses = ends
    info.ended = draw(st.none() | MOMENTS)
    info.metadata = {"a": {"b": draw(PLAIN)}, draw(TEXTS): {draw(TEXTS): draw(PLAIN)}}
    info.set_filter_state("a", Text(draw(TEXTS)), sharing=Sharing.ONCE)
    info.set_filter_state(draw(TEXTS), HashableText(draw(TEXTS)))
    info.hello = ClientHello(draw(TEXTS), (), draw(TEXTS), draw(TEXTS), draw(TEXTS))
    info.listener = ListenerInfo(draw(TEXTS), draw(TEXTS))
    info.bytes = (draw(NUMBERS), 0, 1 << 70, -1)
    info.flags = ResponseFlag(draw(st.integers(0, (1 << 30) - 1)))
    info.details, info.termination_details = draw(TEXTS), draw(TEXTS)
    info.local_close_reason = draw(TEXTS)
    if draw(st.booleans()):
        upstream = info.upstream = UpstreamInfo(ClusterInfo(draw(TEXTS), draw(TEXTS)))
        host = HostSpec(draw(ADDRESSES), draw(TEXTS))
        upstream.attempted, upstream.failed_host = (host, host), host
        upstream.connect_began = draw(st.none() | MOMENTS)
        upstream.connect_ended = draw(st.none() | MOMENTS)
        upstream.addresses = draw(st.sampled_from([None, ends]))
    return info


def _written(name: str) -> str:
    own = {"DYNAMIC_METADATA": "a:b", "METADATA": "DYNAMIC:a:b", "TCPMESH": "close_reason"}
    argument = {**ARGUMENTS, **own}.get(name, "a")
    return f"%{name}%" if _alone(name) else f"%{name}({argument})%"


def _alone(name: str) -> bool:
    try:
        OPERATORS.parse(f"%{name}%")
    except ValueError:
        return False
    return True


NAMES = [name for name in OPERATORS.table if not name.endswith(("CEL", "_QUERY"))]
EVERY = [_written(name) for name in NAMES] + [
    "%FILTER_STATE(a:PLAIN):3%",
    "%DYNAMIC_METADATA(a:b):2%",
]
TEXT = TextFormat(" ".join(EVERY))
JSON = JsonFormat({"deep": [{text: text for text in EVERY}, {"mixed": f"<{EVERY[0]}>"}]})
SPARSE = JsonFormat({text: text for text in EVERY}, omit_empty=True)


class HostileTests(SynchronousTestCase):
    """Every operator, of connections of all kinds."""

    @given(infos(), MOMENTS, MOMENTS, st.sampled_from(LogType))
    @settings(deadline=None, max_examples=150)
    def test_never_raises(
        self, info: StreamInfo, seconds: float, wall: float, log_type: LogType
    ) -> None:
        """A text can be written out as bytes, and a JSON line is one line of JSON in UTF-8."""
        at = Moment(seconds, wall, log_type)
        self.assertIsInstance(encoded(TEXT.format(info, at)), bytes)
        for form in (JSON, SPARSE):
            line = form.format(info, at)
            self.assertEqual(line.count("\n"), 1)
            found: Any = json.loads(line.encode(), parse_int=str)
            self.assertIsInstance(found, dict)
        self.flushLoggedErrors()
