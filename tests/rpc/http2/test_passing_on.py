"""The bytes of tunnels, which pass by h2: nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.http2 import incoming
from tcpmesh.rpc.http2.codec import Http2Codec
from tcpmesh.rpc.http2.connection import Http2Connection
from tcpmesh.rpc.http2.options import Http2Options
from tcpmesh.rpc.http2.stream import Reset, TwoWayStream
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.rpc.http2.test_connection import raw

WINDOW = 1 << 16
STREAMS = (1, 3)
FIELDS = ((":method", "CONNECT"), (":authority", "there:1"))

Told = list[tuple[Any, ...]]
Step = Callable[["Run"], object]


class Anything:
    """The owner of a connection, and its socket: whatever they are asked is as well."""

    read_size = high_watermark = 1 << 16

    def __init__(self, told: Told) -> None:
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._told.append((name, *map(str, arguments[1:])))

    def write(self, data: bytes) -> None:
        """What is sent."""
        self._told.append(("sent", bytes(data)))

    def bytes_received(self, size: int) -> None:
        """It is known."""


class Observer:
    """Who has a tunnel; whatever it is told is written down."""

    def __init__(self, number: int, told: Told) -> None:
        self._number = number
        self._told = told

    def __getattr__(self, name: str) -> Any:
        def told(*arguments: Any) -> None:
            # Transports have no equality that is of use here, and resets have no failure.
            shown = [str(each) for each in arguments if not isinstance(each, Anything)]
            self._told.append((self._number, name, *shown))

        return told


class Run:
    """A connection with two tunnels, and all that it tells anybody."""

    def __init__(self, h2_sees_all: bool) -> None:
        self.told: Told = []
        self.network = MemoryNetwork()
        options = Http2Options(stream_window=WINDOW, connection_window=WINDOW)
        anything: Any = Anything(self.told)
        kind = Seen if h2_sees_all else Http2Connection
        self.connection = kind(options, self.network, anything)
        if h2_sees_all:
            h2: Any = self.connection._h2
            h2.send_bytes = partial(send_by_h2, h2)
        self.connection.makeConnection(anything)
        self.tunnels = []
        for number in STREAMS:
            observer: Any = Observer(number, self.told)
            tunnel = TwoWayStream(FIELDS, observer, self._over)
            self.connection.begin(tunnel)
            self.tunnels.append(tunnel)

    def _over(self, stream: Any, reset: Reset | None) -> None:
        self.told.append(("over", stream.id, reset))

    def step(self, step: Step) -> None:
        """Do something, and what comes of it in later turns."""
        step(self)
        self.network.pump()
        h2 = self.connection._h2
        windows = [each.outbound_flow_control_window for each in h2.streams.values()]
        windows += [h2.outbound_flow_control_window, h2.inbound_flow_control_window]
        self.told.append(("left", self.connection.active, windows))


class Seen(Http2Connection):
    """One all of whose frames h2 reads, and writes."""

    __slots__ = ()

    def _passes_on(self, tunnel: TwoWayStream, frame: bytes) -> bool:
        return False


def send_by_h2(h2: Http2Codec, number: int, data: bytes, is_last: bool) -> int:
    """What `Http2Codec.send_bytes` does, a frame after the other."""
    pieces = [data[start : start + 16384] for start in range(0, len(data), 16384)] or [b""]
    for place, piece in enumerate(pieces, 1):
        h2.send_data(number, piece, end_stream=is_last and place == len(pieces))
    return len(pieces)


def told(steps: list[Step], h2_sees_all: bool) -> Told:
    """What comes of these steps."""
    run = Run(h2_sees_all)
    for step in steps:
        run.step(step)
    return run.told


def receives(data: bytes) -> Step:
    """The host sends this."""
    return lambda run: run.connection.dataReceived(data)


def answer(number: int, status: str = "200") -> bytes:
    """The host opens a tunnel.  No table is kept, so that any of these may be left out."""
    block = Encoder().encode([(":status", status)])
    return raw(HeadersFrame(number), block, "END_HEADERS")


def sends(place: int, size: int) -> Step:
    """Who has a tunnel writes."""
    return lambda run: run.tunnels[place].send(b"w" * size)


def took(place: int, size: int) -> Step:
    """... has taken so much."""
    return lambda run: run.tunnels[place].took(size)


def ends(place: int) -> Step:
    """... has written all."""
    return lambda run: run.tunnels[place].end()


numbers = st.sampled_from((*STREAMS, *STREAMS, 2, 5))
places = st.sampled_from((0, 1))
sizes = st.one_of(st.integers(0, 300), st.sampled_from((16384, 16383)))


@st.composite
def data_frames(draw: Any) -> bytes:
    """A DATA frame, as it may be and as it may not."""
    frame: Any = DataFrame(draw(numbers))
    flags = draw(st.sets(st.sampled_from(("END_STREAM", "PADDED")), max_size=1))
    if "PADDED" in flags:
        frame.pad_length = draw(st.integers(0, 9))
    return raw(frame, b"d" * draw(sizes), *flags)


def windows() -> st.SearchStrategy[bytes]:
    """Room, or none."""
    return st.builds(
        lambda number, size: WindowUpdateFrame(number, window_increment=size).serialize(),
        st.sampled_from((0, *STREAMS)),
        st.sampled_from((1, 100, 1 << 20)),
    )


heads = st.one_of(
    st.builds(answer, st.sampled_from(STREAMS), st.sampled_from(("200", "503", "103"))),
    st.builds(lambda number: raw(HeadersFrame(number), b"\x88"), st.sampled_from(STREAMS)),
    st.builds(
        lambda number: raw(ContinuationFrame(number), b"", "END_HEADERS"), st.sampled_from(STREAMS)
    ),
)
others = st.one_of(
    st.just(SettingsFrame(0).serialize()),
    st.just(raw(PingFrame(0), b"12345678")),
    st.builds(
        lambda number: RstStreamFrame(number, error_code=8).serialize(), st.sampled_from(STREAMS)
    ),
)
frames = st.one_of(data_frames(), data_frames(), data_frames(), heads, windows(), others)
steps = st.one_of(
    st.lists(frames, min_size=1, max_size=9).map(b"".join).map(receives),
    st.builds(sends, places, sizes),
    st.builds(took, places, sizes),
    st.builds(ends, places),
)

OPEN = receives(b"".join(map(answer, STREAMS)))
FULL = raw(DataFrame(1), b"d" * 16384)
MORE = b"".join(WindowUpdateFrame(each, window_increment=1 << 17).serialize() for each in (0, 1))
HEAD_BEGINS = raw(HeadersFrame(3), b"\x88")


class PassingOnTests(SynchronousTestCase):
    """The same frames, with h2 and by it."""

    def setUp(self) -> None:
        """What a frame takes does not say in which turn the next one is read."""
        self.patch(incoming, "READ_FOR", 60)

    @given(st.booleans(), st.lists(steps, max_size=30))
    @example(True, [receives(FULL * 3), took(0, 3 * 16384), receives(FULL * 3)])
    @example(True, [receives(FULL * 5)])
    @example(True, [sends(0, 40000), sends(1, 40000), ends(0), receives(b"")])
    @example(True, [sends(0, 16384), ends(0)])
    @example(True, [sends(0, 80000), ends(0), receives(MORE), ends(1)])
    @example(True, [receives(HEAD_BEGINS + FULL)])
    @example(False, [receives(FULL)])
    def test_as_with_h2(self, is_open: bool, steps: list[Step]) -> None:
        """Whatever comes, what is told and sent is what it would be if h2 saw every frame."""
        steps = [OPEN, *steps] if is_open else steps
        self.assertEqual(told(steps, h2_sees_all=True), told(steps, h2_sees_all=False))

    def test_passes_by(self) -> None:
        """h2 sees no frame that has bytes of a tunnel and nothing else, in either direction."""
        self.patch(Http2Codec, "send_data", self.fail)
        run = Run(h2_sees_all=False)
        run.step(OPEN)
        self.patch(Http2Codec, "receive_data", self.fail)
        run.step(receives(FULL + raw(DataFrame(3), b"three")))
        run.step(sends(0, 5))
        self.assertIn((3, "on_data", "b'three'"), run.told)
        self.assertIn(("sent", raw(DataFrame(1), b"wwwww")), run.told)

    def test_sent_as_one(self) -> None:
        """What several tunnels send in one turn of the loop the socket is given at once."""
        run = Run(h2_sees_all=False)
        run.step(OPEN)
        calls: list[Any] = []
        self.patch(run.network, "call_soon", calls.append)
        for _ in range(2):
            run.told.clear()
            for tunnel in run.tunnels:
                tunnel.send(b"x")
            (call,) = calls
            self.assertEqual([], [each for each in run.told if each[0] == "sent"])
            calls.clear()
            call()
            both = raw(DataFrame(1), b"x") + raw(DataFrame(3), b"x")
            self.assertIn(("sent", both), run.told)

    def test_closed_before(self) -> None:
        """What is sent in the turn in which the connection ends goes before its end."""
        run = Run(h2_sees_all=False)
        run.step(OPEN)
        run.told.clear()
        run.tunnels[0].send(b"x")
        run.connection.close()
        run.network.pump()
        (sent,) = [each[1] for each in run.told if each[0] == "sent"]
        self.assertTrue(sent.startswith(raw(DataFrame(1), b"x")))
