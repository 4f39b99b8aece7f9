"""What a connection over HTTP/2 does with what a host may send."""

from __future__ import annotations

from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tcpmesh.rpc.http2 import incoming
from tcpmesh.rpc.http2.allowance import MOST, PER_SECOND
from tcpmesh.rpc.http2.heads import MOST_STRAYS
from tcpmesh.rpc.http2.incoming import READ_AT_ONCE
from tests.rpc.called import HOST, RpcTestCase, text

STATUS = b"\x88"
"""`:status: 200`, as HPACK has it in its static table."""


def raw(frame: Frame, data: bytes = b"", *flags: str) -> bytes:
    """A frame as it is sent."""
    if data:
        frame.data = data  # type: ignore[attr-defined]
    for flag in flags:
        frame.flags.add(flag)
    return frame.serialize()


def goaway(last: int, error: int = 0) -> bytes:
    """A GOAWAY."""
    frame = GoAwayFrame(0)
    frame.last_stream_id, frame.error_code = last, error
    return raw(frame)


class ConnectionTestCase(RpcTestCase):
    """A test of one connection, on which a stream is open."""

    def setUp(self) -> None:
        """A stream."""
        super().setUp()
        self.server.reply = lambda call: None
        self.stream, self.observer = self.begin()
        self.call_got = self.server.calls[0]
        self.line = self.server.connections[0]

    def send(self, data: bytes) -> None:
        """The host sends these bytes."""
        self.line.write(data)
        self.pump()

    @property
    def is_open(self) -> bool:
        """Whether the connection is there."""
        return self.moved("upstream_cx_active") == [1]

    def assert_hung_up(self) -> None:
        """The host was told off, its connection closed, its call ended, and nothing is left."""
        self.assertEqual([1, 0], self.moved("upstream_cx_protocol_error", "upstream_cx_active"))
        self.assertEqual("UNAVAILABLE", self.observer.end)
        self.assertEqual([], self.mesh.network.clock.getDelayedCalls())


class HostileTests(ConnectionTestCase):
    """Who does not keep to HTTP/2, or too much of it, is hung up on."""

    def assert_bounded(self, frame: bytes) -> None:
        """A host may send some of these at once, and not without end."""
        self.send(frame * (MOST // 2))
        self.assertTrue(self.is_open)
        self.send(frame * MOST)
        self.assert_hung_up()

    def test_garbage(self) -> None:
        """Another protocol is none."""
        self.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assert_hung_up()

    def test_too_large_frame(self) -> None:
        """A frame that says it is too large is not waited for."""
        self.send(b"\xff\xff\xff\0\0\0\0\0\1")
        self.assert_hung_up()

    def test_pings(self) -> None:
        """Pings, all of which want to be answered."""
        self.assert_bounded(raw(PingFrame(0), b"12345678"))

    def test_settings(self) -> None:
        """Settings, all of which want to be acknowledged."""
        frame = SettingsFrame(0)
        frame.settings = {4: 70000}
        self.assert_bounded(raw(frame))

    def test_windows(self) -> None:
        """Windows that grow by a byte."""
        frame = WindowUpdateFrame(0)
        frame.window_increment = 1
        self.assert_bounded(raw(frame))

    def test_priorities(self) -> None:
        """Priorities of streams that nobody has opened."""
        frame = PriorityFrame(2)
        frame.depends_on, frame.stream_weight, frame.exclusive = 0, 1, False
        self.assert_bounded(raw(frame))

    def test_unknown(self) -> None:
        """Frames of a kind that nobody knows."""
        self.assert_bounded(b"\0\0\0\x63\0\0\0\0\0")

    def test_empty_data(self) -> None:
        """Data without data, and without end."""
        self.call_got.head()
        self.pump()
        self.send(raw(DataFrame(1)) * (2 * MOST))
        self.assertEqual([1, 0], self.moved("upstream_cx_protocol_error", "upstream_cx_active"))

    def test_padding(self) -> None:
        """Data with nothing but padding."""
        self.call_got.head()
        frame = DataFrame(1)
        frame.pad_length = 255
        self.send(raw(frame, b"", "PADDED") * (2 * MOST))
        self.assertEqual([1, 0], self.moved("upstream_cx_protocol_error", "upstream_cx_active"))

    def test_small_messages(self) -> None:
        """Messages without anything in them, thousands in a frame."""
        self.call_got.head()
        self.pump()
        self.send(raw(DataFrame(1), b"\0" * 5000))
        self.assertTrue(self.is_open)
        self.send(raw(DataFrame(1), b"\0" * 15000))
        self.assertFalse(self.is_open)
        self.assertEqual("INTERNAL", self.observer.end)

    def test_interim(self) -> None:
        """Interim responses without end."""
        frame = raw(HeadersFrame(1), b"\x08\x03103", "END_HEADERS")
        self.send(frame * MOST_STRAYS)
        self.assertTrue(self.is_open)
        self.send(frame * 3)
        self.assert_hung_up()

    def test_stray_heads(self) -> None:
        """Heads of a stream that was broken off."""
        self.stream.cancel()
        self.pump()
        frame = raw(HeadersFrame(1), STATUS, "END_HEADERS")
        self.send(frame)
        self.assertTrue(self.is_open)
        self.send(frame * (MOST_STRAYS + 1))
        self.assertFalse(self.is_open)

    def test_resets(self) -> None:
        """Resets of a stream that is over."""
        frame = RstStreamFrame(1)
        frame.error_code = 1
        self.send(raw(frame) * (2 * MOST))
        self.assertEqual([1, 0], self.moved("upstream_cx_protocol_error", "upstream_cx_active"))

    def test_continuations(self) -> None:
        """A head that is continued without end, in large pieces or small ones."""
        for piece, count in ((STATUS, MOST * 2), (STATUS * 16000, 3)):
            first = raw(HeadersFrame(1), STATUS)
            self.send(first + raw(ContinuationFrame(1), piece) * count)
            self.assert_hung_up()
            self.setUp()

    def test_large_fields(self) -> None:
        """A head that is small on the wire and large when it is read."""
        block = STATUS + b"\x40\x01a\x7f\x81\x1e" + b"b" * 4000 + b"\xbe" * 10_000
        self.send(raw(HeadersFrame(1), block, "END_HEADERS"))
        self.assert_hung_up()

    def test_push(self) -> None:
        """Nobody has asked to be pushed anything."""
        frame = PushPromiseFrame(1)
        frame.promised_stream_id = 2
        self.send(raw(frame, STATUS, "END_HEADERS"))
        self.assert_hung_up()

    def test_window_overflow(self) -> None:
        """A window that grows beyond what there is."""
        frame = WindowUpdateFrame(0)
        frame.window_increment = (1 << 31) - 1
        self.send(raw(frame))
        self.assert_hung_up()

    def test_trailers_twice(self) -> None:
        """Trailers after the end."""
        self.call_got.head()
        self.call_got.end()
        self.send(raw(HeadersFrame(1), STATUS, "END_HEADERS") * 3)
        self.assertFalse(self.stream.is_open)

    def test_strange_status(self) -> None:
        """A response whose status is no number, or 101, which HTTP/2 does not have, or that has
        none.
        """
        for block in (b"\x08\x03abc", b"\x08\x03101", b"\x40\x01a\x01b"):
            self.send(raw(HeadersFrame(1), block, "END_HEADERS"))
            self.assert_hung_up()
            self.setUp()

    def test_many_turns(self) -> None:
        """Of many frames that come at once few are read in one turn."""
        self.patch(incoming, "READ_FOR", 60)
        network = self.mesh.network
        self.line.write(raw(PingFrame(0), b"12345678") * 1000)
        before = len(self.line.received)
        while not network.transports[-2].paused and network.step():
            pass
        self.assertTrue(network.transports[-2].paused)
        self.assertEqual(READ_AT_ONCE * 17, len(network.transports[-2].outgoing.data))
        self.pump()
        self.assertEqual(1000 * 17, len(self.line.received) - before)
        self.assertFalse(network.transports[-2].paused)

    def test_lost_between_turns(self) -> None:
        """A connection that is closed while frames wait to be read is over at once."""
        self.line.write(raw(PingFrame(0), b"12345678") * 1000)
        while not self.mesh.network.transports[-2].paused and self.mesh.network.step():
            pass
        self.mesh.clusters.remove("c")
        before = len(self.line.received)
        self.pump()
        self.assertEqual("UNAVAILABLE", self.observer.end)
        self.assertGreater(1000 * 17, len(self.line.received) - before)

    def test_patience(self) -> None:
        """With time a host may send more small frames: one that pings twice a second may do so for
        ever.
        """
        ping = raw(PingFrame(0), b"12345678")
        self.send(ping * (MOST - 10))
        for _ in range(5):
            self.mesh.network.advance(1)
            self.send(ping * PER_SECOND)
        self.assertTrue(self.is_open)


class ResetTests(ConnectionTestCase):
    """A host that breaks a stream off."""

    def test_reasons(self) -> None:
        """A call that the host has refused is told from one that it has reset, as in Envoy."""
        for code, reason in ((7, "remote refused stream reset"), (8, "remote reset")):
            self.setUp()
            frame = RstStreamFrame(1)
            frame.error_code = code
            self.send(raw(frame))
            (error,) = self.observer.ends
            assert error is not None
            self.assertEqual("UNAVAILABLE", error.status.name)
            self.assertTrue(error.message.endswith(f"reset reason: {reason}"), error.message)
            self.assertTrue(self.is_open)


class SlowTests(RpcTestCase):
    """A host that takes nothing for a while."""

    def test_given_up(self) -> None:
        """A call that is broken off while it waits for the socket holds up no other."""
        self.server.settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20}
        self.add(more="per_connection_buffer_limit_bytes: 1000")
        first, heard = self.begin()
        second, _ = self.begin()
        (line,) = self.server.connections
        line.h2.increment_flow_control_window(1 << 20)
        line.flush()
        self.pump()
        line.transport.pauseProducing()
        for stream in (first, second):
            stream.send(text("x" * 100_000))
        self.pump()
        self.assertEqual([False, True], [bool(stream.buffered) for stream in (first, second)])
        second.cancel()
        first.half_close()
        line.transport.resumeProducing()
        self.pump()
        self.assertEqual((["a"], "OK"), (heard.heard, heard.end))

    def test_at_once(self) -> None:
        """Of what did not have to wait nobody is told that it is sent."""
        stream, observer = self.begin()
        stream.send(text("x"))
        stream.half_close()
        self.pump()
        self.assertEqual((["a"], 0), (observer.heard, observer.drained))

    def test_abandoned(self) -> None:
        """Where the owner of a connection abandons it, what was on it is over, and nobody is told;
        what is sent goes nowhere.
        """
        stream, observer = self.begin()
        client, server = self.mesh.network.transports[-2:]
        connection = client.protocol
        connection.abandon()
        before = len(server.protocol.received)
        self.assertFalse(stream.send(text("late")))
        stream.cancel()
        self.pump()
        self.assertEqual(([], 0), (observer.ends, connection.active))
        self.assertEqual(before, len(server.protocol.received))


class GoAwayTests(ConnectionTestCase):
    """A host that leaves."""

    def test_served(self) -> None:
        """Calls that it still serves come to their end; the next one makes a new connection."""
        self.send(goaway(1))
        self.server.reply = lambda call: call.answer("a")
        self.assertEqual(["a"], self.call())
        self.assertEqual(2, len(self.server.connections))

        self.call_got.head()
        self.call_got.end()
        self.pump()
        self.assertEqual("OK", self.observer.end)
        self.assertEqual([1, 1], self.moved("upstream_cx_active", "upstream_cx_destroy_local"))

    def test_not_served(self) -> None:
        """Calls that it has not begun are UNAVAILABLE, and the connection is closed."""
        self.send(goaway(0))
        self.assertEqual(("UNAVAILABLE", False), (self.observer.end, self.is_open))

    def test_twice(self) -> None:
        """A warning with the highest number, then the last stream, as servers do that drain."""
        _, heard = self.begin()
        self.send(goaway((1 << 31) - 1))
        self.assertEqual([], heard.ends)
        self.send(goaway(1))
        self.assertEqual(("UNAVAILABLE", []), (heard.end, self.observer.ends))

    def test_short(self) -> None:
        """One that is too short is an error."""
        self.send(b"\0\0\x04\x07\0\0\0\0\0\0\0\0\1")
        self.assert_hung_up()


ONE_CONNECTION = "circuit_breakers: {thresholds: [{max_connections: 1}]}"


class LimitTests(RpcTestCase):
    """How many streams there may be at a time."""

    def setUp(self) -> None:
        """A server that takes two at a time, and answers none."""
        super().setUp()
        self.server.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
        self.server.reply = lambda call: None

    @property
    def streams(self) -> list[int]:
        """How many each connection has had."""
        return [len(each.calls) for each in self.server.connections]

    def test_another(self) -> None:
        """A call beyond what the host takes on its connections brings another one."""
        for _ in range(5):
            self.begin()
        self.assertEqual(([2, 2, 1], 5), (self.streams, len(self.server.calls)))
        self.assertEqual([3, 0], self.moved("upstream_cx_total", "upstream_rq_pending_active"))

    def test_room(self) -> None:
        """A call goes to a connection that has room again, and none is made for it."""
        for _ in range(3):
            self.begin()
        self.server.calls[0].answer("a")
        self.pump()
        self.begin()
        self.assertEqual([3, 1], self.streams)

    def test_of_the_host(self) -> None:
        """Where there may be no further connection calls beyond what the host takes wait until
        another is over.
        """
        self.add(more=ONE_CONNECTION)
        self.begin()
        found = [self.call() for _ in range(3)]
        self.assertEqual(2, len(self.server.calls))
        self.assertEqual([2, 2], self.moved("upstream_rq_active", "upstream_rq_pending_active"))
        for number in range(1, 4):
            self.server.calls[number].answer("a")
            self.pump()
        self.assertEqual([["a"]] * 3, found)
        self.assertEqual(1, len(self.server.connections))

    def test_changed(self) -> None:
        """A host may change its mind."""
        self.add(more=ONE_CONNECTION)
        self.begin()
        self.begin()
        self.call()
        line = self.server.connections[0]
        line.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
        line.flush()
        self.pump()
        self.assertEqual(3, len(self.server.calls))

    def test_of_the_options(self) -> None:
        """`max_concurrent_streams` of the cluster is a limit too."""
        self.mesh.clusters.remove("c")
        self.server.settings = {}
        self.add("max_concurrent_streams: 1")
        self.begin()
        self.begin()
        self.assertEqual([1, 1], self.streams)

    def test_none(self) -> None:
        """A host that takes none is waited for until the deadline."""
        self.begin()
        line = self.server.connections[0]
        line.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        line.flush()
        self.pump()
        found = self.call(timeout=1)
        self.mesh.network.advance(1)
        self.assertEqual("DEADLINE_EXCEEDED", self.status(found))

    def test_lost(self) -> None:
        """Calls that wait when the connection is lost go to the next one."""
        self.add(more=ONE_CONNECTION)
        _, first = self.begin()
        self.begin()
        found = self.call()
        self.server.reply = lambda call: call.answer("a")
        self.server.connections[0].transport.abortConnection()
        self.pump()
        self.assertEqual(("UNAVAILABLE", ["a"]), (first.end, found))
        self.assertEqual(2, len(self.server.connections))

    def test_pending(self) -> None:
        """Of calls that wait there may be `max_pending_requests`."""
        self.add(more=ONE_CONNECTION.replace("}]", ", max_pending_requests: 1}]"))
        self.begin()
        self.begin()
        waits = self.call()
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.assertEqual(([], [1]), (waits, self.moved("upstream_rq_pending_overflow")))

    def test_requests(self) -> None:
        """Of calls that are served there may be `max_requests`."""
        self.add(more="circuit_breakers: {thresholds: [{max_requests: 1}]}")
        self.begin()
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.assertEqual(
            [1, 0], self.moved("upstream_rq_active_overflow", "upstream_rq_pending_overflow")
        )


class KeepaliveTests(RpcTestCase):
    """`connection_keepalive`."""

    def setUp(self) -> None:
        """Pings every ten seconds."""
        super().setUp()
        self.add("connection_keepalive: {interval: 10s, timeout: 2s, interval_jitter: {value: 0}}")
        self.stream, self.observer = self.begin()

    def test_answered(self) -> None:
        """A host that answers stays."""
        for _ in range(5):
            self.mesh.network.advance(10)
        self.assertEqual([1, 0], self.moved("upstream_cx_active", "http2.keepalive_timeout"))

    def test_silent(self) -> None:
        """One that does not is given up, and its calls with it."""
        self.mesh.network.transports[-1].pauseProducing()
        self.mesh.network.advance(10)
        self.mesh.network.advance(1.9)
        self.assertEqual([], self.observer.ends)
        self.mesh.network.advance(0.1)
        self.assertEqual("UNAVAILABLE", self.observer.end)
        self.assertEqual([0, 1], self.moved("upstream_cx_active", "http2.keepalive_timeout"))

    def test_after_silence(self) -> None:
        """A call after a silence brings a ping along, where `connection_idle_interval` says so."""
        self.mesh.clusters.remove("c")
        self.add("connection_keepalive: {connection_idle_interval: 5s, timeout: 2s}")
        self.begin()
        self.mesh.network.transports[-1].pauseProducing()
        self.mesh.network.advance(5)
        _, observer = self.begin()
        self.mesh.network.advance(2)
        self.assertEqual("UNAVAILABLE", observer.end)


class IdleTests(RpcTestCase):
    """Connections without calls."""

    def test_idle(self) -> None:
        """A connection that has had no call for an hour is closed, and not before."""
        self.call()
        self.mesh.network.advance(3599)
        self.call()
        self.mesh.network.advance(3599)
        self.assertEqual([1, 0], self.moved("upstream_cx_active", "upstream_cx_idle_timeout"))
        self.mesh.network.advance(1)
        self.assertEqual([0, 1], self.moved("upstream_cx_active", "upstream_cx_idle_timeout"))
        self.assertEqual(["a"], self.call())

    def test_for_ever(self) -> None:
        """With an `idle_timeout` of 0 a connection stays, whether it has calls or not."""
        self.mesh.clusters.remove("c")
        more = "http2_protocol_options: {}\ncommon_http_protocol_options: {idle_timeout: 0s}"
        self.mesh.add_cluster("c", HOST, more=more)
        self.call()
        self.mesh.network.advance(100_000)
        self.assertEqual(["a"], self.call())
        self.assertEqual([1, 1], self.moved("upstream_cx_active", "upstream_cx_total"))

    def test_used(self) -> None:
        """One with a call stays, also if it had none for a while before."""
        self.call()
        self.mesh.network.advance(3599)
        self.begin()
        self.mesh.network.advance(7200)
        self.assertEqual([1], self.moved("upstream_cx_active"))

    def test_cluster_removed(self) -> None:
        """With its cluster a connection is closed, and the calls on it are broken off."""
        _, observer = self.begin()
        self.mesh.clusters.remove("c")
        self.pump()
        self.assertEqual("UNAVAILABLE", observer.end)
        self.assertEqual([], self.mesh.network.clock.getDelayedCalls())
