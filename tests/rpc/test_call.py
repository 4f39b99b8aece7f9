"""How gRPC calls end, whatever a server says."""

from __future__ import annotations

from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tcpmesh.rpc.call import MOST_BUFFERED
from tcpmesh.rpc.http2.outgoing import BYTES_AT_ONCE
from tcpmesh.wire.grpc import framed
from tests.rpc.called import HEAD, METHOD, Call, Observer, RpcTestCase, packed, text

NO_MESSAGE = ((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0"))


class EndTests(RpcTestCase):
    """What the end of a call is, by what the server says."""

    def ended(self, *steps: Any) -> str:
        """The status of a unary call that is answered so."""
        self.server.reply = lambda call: [step(call) for step in steps]
        found = self.call()
        return "OK" if found == ["a"] else self.status(found)

    def test_trailers(self) -> None:
        """The status is that of the trailers; without one it is UNKNOWN, as it is with one that is
        no number or that nobody knows.
        """
        for value, wanted in (
            ("0", "OK"),
            ("00", "OK"),
            ("5", "NOT_FOUND"),
            ("16", "UNAUTHENTICATED"),
            ("17", "UNKNOWN"),
            ("x", "UNKNOWN"),
            ("-1", "UNKNOWN"),
            ("99999999999999999999", "UNKNOWN"),
        ):
            end = (("grpc-status", value),)
            found = self.ended(Call.head, lambda c: c.say("a"), lambda c, end=end: c.end(end))
            self.assertEqual(wanted, found, value)
        none = self.ended(Call.head, lambda c: c.say("a"), lambda c: c.end((("x", "y"),)))
        self.assertEqual("UNKNOWN", none)

    def test_no_trailers(self) -> None:
        """A body that ends the response leaves no status."""
        found = self.ended(Call.head, lambda c: c.data(packed("a"), ended=True))
        self.assertEqual("UNKNOWN", found)

    def test_http_status(self) -> None:
        """A response that is none of gRPC means what its HTTP status means."""
        for status, wanted in (
            ("400", "INTERNAL"),
            ("401", "UNAUTHENTICATED"),
            ("403", "PERMISSION_DENIED"),
            ("404", "UNIMPLEMENTED"),
            ("429", "UNAVAILABLE"),
            ("502", "UNAVAILABLE"),
            ("503", "UNAVAILABLE"),
            ("504", "UNAVAILABLE"),
            ("500", "UNKNOWN"),
            ("301", "UNKNOWN"),
        ):
            head = ((":status", status), ("content-type", "text/html"))
            found = self.ended(lambda c, head=head: c.head(head, ended=True))
            self.assertEqual(wanted, found, status)

    def test_no_grpc(self) -> None:
        """A response of another type is UNKNOWN, and no more of it is wanted."""
        html = ((":status", "200"), ("content-type", "text/html"))
        self.assertEqual("UNKNOWN", self.ended(lambda c: c.head(html)))
        self.assertEqual(int(ErrorCodes.CANCEL), self.server.calls[0].reset)

    def test_types(self) -> None:
        """A content type may say which kind of messages there are."""
        for kind, wanted in (
            ("application/grpc+proto", "OK"),
            ("application/grpc;x=y", "UNKNOWN"),
            ("application/grpcx", "UNKNOWN"),
        ):
            head = ((":status", "200"), ("content-type", kind))
            found = self.ended(
                lambda c, head=head: c.head(head),
                lambda c: c.reset is None and (c.say("a"), c.end()),
            )
            self.assertEqual(wanted, found, kind)

    def test_compressed(self) -> None:
        """Compression that nobody has asked for is refused, by its header field and by its
        messages.
        """
        head = (*HEAD, ("grpc-encoding", "gzip"))
        self.assertEqual("UNIMPLEMENTED", self.ended(lambda c: c.head(head)))
        plain = (*HEAD, ("grpc-encoding", "identity"))
        steps = (lambda c: c.head(plain), lambda c: c.say("a"), Call.end)
        self.assertEqual("OK", self.ended(*steps))
        message = b"\1" + packed("a")[1:]
        self.assertEqual("INTERNAL", self.ended(Call.head, lambda c: c.data(message)))

    def test_no_answer(self) -> None:
        """A unary call without an answer, with two, with half of one, or with one that cannot be
        read, is INTERNAL.
        """
        self.assertEqual("INTERNAL", self.ended(lambda c: c.head(NO_MESSAGE, ended=True)))
        self.assertEqual("INTERNAL", self.ended(Call.head, lambda c: c.say("a", "b")))
        half = packed("a")[:-1]
        self.assertEqual("INTERNAL", self.ended(Call.head, lambda c: c.data(half), Call.end))
        wrong = b"\0\0\0\0\2\x0a\xff"
        self.assertEqual("INTERNAL", self.ended(Call.head, lambda c: c.data(wrong)))

    def test_second_answer(self) -> None:
        """A server that gives two answers is told that no more is wanted."""
        self.assertEqual("INTERNAL", self.ended(Call.head, lambda c: c.say("a", "b")))
        self.assertEqual(int(ErrorCodes.CANCEL), self.server.calls[0].reset)

    def test_too_large(self) -> None:
        """A message that says it is too large ends the call before it is read."""
        self.client = self.make_client(envoy="cluster_name: c, max_receive_message_length: 10")
        self.assertEqual("OK", self.ended(Call.head, lambda c: c.say("a"), Call.end))
        self.assertEqual(
            "RESOURCE_EXHAUSTED", self.ended(Call.head, lambda c: c.data(b"\0\0\0\0\x0b"))
        )

    def test_resets(self) -> None:
        """A call that is reset before it is answered is UNAVAILABLE, one that was being answered
        INTERNAL.
        """

        def reset(call: Call) -> None:
            call.server.h2.reset_stream(call.number, ErrorCodes.INTERNAL_ERROR)
            call.server.flush()

        self.assertEqual("UNAVAILABLE", self.ended(reset))
        self.assertEqual("INTERNAL", self.ended(Call.head, reset))
        self.assertEqual([2, 1], self.moved("upstream_rq_rx_reset", "upstream_rq_503"))

    def test_connection_lost(self) -> None:
        """So it is with a call whose connection is lost; the next one makes another."""

        def hang_up(call: Call) -> None:
            call.server.transport.loseConnection()

        self.assertEqual("UNAVAILABLE", self.ended(hang_up))
        self.assertEqual("INTERNAL", self.ended(Call.head, hang_up))
        self.assertEqual("OK", self.ended(lambda c: c.answer("a")))
        self.assertEqual(3, len(self.server.connections))
        self.assertEqual(
            [2, 2, 1],
            self.moved(
                "upstream_cx_destroy_remote",
                "upstream_cx_destroy_remote_with_active_rq",
                "upstream_cx_active",
            ),
        )

    def test_early_answer(self) -> None:
        """A server may answer before it has the whole request: then the rest is not sent."""
        stream, observer = self.begin()
        self.server.calls[0].head()
        self.server.calls[0].end()
        self.pump()
        self.assertEqual(("OK", 8), (observer.end, self.server.calls[0].reset))
        self.assertEqual([1, 1], self.moved("upstream_rq_200", "upstream_rq_tx_reset"))
        self.assertFalse(stream.send(text("x")))


class TimeTests(RpcTestCase):
    """Deadlines."""

    def setUp(self) -> None:
        """A server that says nothing."""
        super().setUp()
        self.server.reply = lambda call: None

    def test_of_the_call(self) -> None:
        """A call that takes too long ends, at the server too, which was told how long it may."""
        found = self.call(timeout=2.5)
        self.mesh.network.advance(2.4)
        self.assertEqual([], found)
        self.mesh.network.advance(0.1)
        self.assertEqual("DEADLINE_EXCEEDED", self.status(found))
        (call,) = self.server.calls
        self.assertEqual(("2500m", 8), (call.fields["grpc-timeout"], call.reset))
        self.assertEqual([1, 1], self.moved("upstream_rq_timeout", "upstream_rq_504"))

    def test_of_the_configuration(self) -> None:
        """Where a unary call says nothing, `timeout` of the configuration counts, and no more than
        that for a stream.
        """
        self.client = self.make_client("timeout: 1s")
        found = self.call()
        _, observer = self.begin()
        self.mesh.network.advance(1)
        self.assertEqual(("DEADLINE_EXCEEDED", []), (self.status(found), observer.ends))
        self.assertNotIn("grpc-timeout", self.server.calls[1].fields)

    def test_while_connecting(self) -> None:
        """A call that waits for its connection has a deadline too."""
        self.mesh.network.silent.update(self.mesh.network.ports)
        found = self.call(timeout=1)
        self.mesh.network.advance(1)
        self.assertEqual("DEADLINE_EXCEEDED", self.status(found))
        self.assertEqual(
            [1, 0, 0],
            self.moved("upstream_rq_cancelled", "upstream_rq_pending_active", "upstream_rq_total"),
        )


class StreamTests(RpcTestCase):
    """What a stream does for its user."""

    def test_told_later(self) -> None:
        """A call that fails at once tells its observer once it has been returned."""
        self.mesh.clusters.remove("c")
        observer = Observer()
        stream = self.client.stream(METHOD, StringValue, observer)
        self.assertEqual(([], False), (observer.ends, stream.is_open))
        self.pump()
        self.assertEqual("UNAVAILABLE", observer.end)

    def test_sent_before_connected(self) -> None:
        """What is sent before there is a connection goes with the call."""
        observer = Observer()
        stream = self.client.stream(METHOD, StringValue, observer)
        self.assertTrue(stream.send(text("x")))
        self.assertEqual(len(packed("x")), stream.buffered)
        stream.half_close()
        self.pump()
        self.assertEqual((packed("x"), 0), (self.server.calls[0].body, stream.buffered))
        self.assertEqual((["a"], "OK"), (observer.heard, observer.end))

    def test_window(self) -> None:
        """A server that makes no room is not sent more than its window; when it does, all goes, and
        the observer hears of it once.
        """
        self.server.takes = False
        stream, observer = self.begin()
        large = "x" * 100_000
        stream.send(text(large))
        self.pump()
        (call,) = self.server.calls
        self.assertEqual((65535, 0), (len(call.body), observer.drained))
        self.assertEqual(len(packed(large)) - 65535, stream.buffered)

        for number in (0, call.number):
            call.server.h2.increment_flow_control_window(100_000, number or None)
        call.server.flush()
        self.pump()
        self.assertEqual((packed(large), 0, 1), (call.body, stream.buffered, observer.drained))

    def test_slow_socket(self) -> None:
        """A server that makes room and does not read is not sent more than its socket and the
        buffer of a connection take.
        """
        self.mesh.clusters.remove("c")
        self.server.settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24}
        self.add(more="per_connection_buffer_limit_bytes: 10000")
        stream, observer = self.begin()
        line = self.server.connections[0]
        line.h2.increment_flow_control_window(1 << 24)
        line.flush()
        self.pump()
        line.transport.pauseProducing()
        large = text("x" * 900_000)
        stream.send(large)
        self.pump()
        self.assertLess(600_000, stream.buffered)
        line.transport.resumeProducing()
        self.pump()
        self.assertEqual((0, 1), (stream.buffered, observer.drained))
        self.assertEqual(framed(large.SerializeToString()), self.server.calls[-1].body)

    def test_large_turns(self) -> None:
        """What goes to a server with room for all of it goes in several turns."""
        self.mesh.clusters.remove("c")
        self.server.settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24}
        self.add()
        stream, observer = self.begin()
        line = self.server.connections[0]
        line.h2.increment_flow_control_window(1 << 24)
        line.flush()
        self.pump()
        large = text("x" * (BYTES_AT_ONCE + 5000))
        stream.send(large)
        self.assertLess(0, stream.buffered)
        self.pump()
        self.assertEqual((0, 1), (stream.buffered, observer.drained))
        self.assertEqual(framed(large.SerializeToString()), self.server.calls[-1].body)

    def test_bounded(self) -> None:
        """What a server does not take is kept up to a bound, beyond which nothing is sent."""
        self.server.takes = False
        stream, _ = self.begin()
        large = text("x" * (MOST_BUFFERED // 2))
        self.assertEqual([True, True, True, False], [stream.send(large) for _ in range(4)])

    def test_turns(self) -> None:
        """A call with much to send does not keep others from theirs."""
        stream, _ = self.begin()
        stream.send(text("x" * 500_000))
        found = self.call()
        self.assertEqual(["a"], found)

    def test_failing_observer(self) -> None:
        """An observer that raises ends its own call, and no other."""
        stream, observer = self.begin()
        other, heard = self.begin()

        def fail(message: Any) -> None:
            raise ValueError("of the test")

        observer.on_message = fail  # type: ignore[method-assign]
        for call in self.server.calls:
            call.head()
            call.say("x", "y")
        self.pump()
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertEqual((False, True, ["x", "y"]), (stream.is_open, other.is_open, heard.heard))

    def test_cancel_within(self) -> None:
        """An observer may cancel its call when it hears of a message: it hears no more."""
        stream, observer = self.begin()
        heard = []

        def cancel(message: Any) -> None:
            heard.append(message.value)
            stream.cancel()

        observer.on_message = cancel  # type: ignore[method-assign]
        self.server.calls[0].head()
        self.server.calls[0].say("x", "y")
        self.pump()
        self.assertEqual((["x"], []), (heard, observer.ends))

    def test_close(self) -> None:
        """A client that is closed breaks its calls off and makes no more."""
        stream, observer = self.begin()
        self.server.reply = lambda call: None
        found = self.call()
        self.client.close()
        self.pump()
        self.assertEqual(("CANCELLED", []), (self.status(found), observer.ends))
        self.assertEqual([8, 8], [call.reset for call in self.server.calls])
        self.assertFalse(stream.is_open)
        self.assertEqual("UNAVAILABLE", self.status(self.call()))

    def test_deferred_cancelled(self) -> None:
        """A unary call can be broken off by its Deferred."""
        self.server.reply = lambda call: None
        found: list[Any] = []
        made = self.client.unary(METHOD, text("q"), StringValue)
        made.addErrback(lambda e: found.append(e.value))
        self.pump()
        made.cancel()
        self.pump()
        self.assertEqual(("CANCELLED", 8), (self.status(found), self.server.calls[0].reset))


class TrailerTests(RpcTestCase):
    """Fields that the configuration adds."""

    def test_wrong_metadata(self) -> None:
        """A field that HTTP/2 does not allow fails the call, and no other."""
        other = self.client
        self.client = self.make_client("initial_metadata: [{key: te, value: gzip}]")
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.client = other
        self.assertEqual(["a"], self.call())

    def test_metadata(self) -> None:
        """`initial_metadata` goes with each call as it is written; `authority` stands for the name
        of the cluster.
        """
        self.client = self.make_client(
            'initial_metadata: [{key: X-A, value: "%HOSTNAME%"}, {key: x-b}]',
            "cluster_name: c, authority: me",
        )
        self.call()
        fields = self.server.calls[0].fields
        self.assertNotIn("x-b", fields)
        self.assertEqual(("%HOSTNAME%", "me"), (fields["x-a"], fields[":authority"]))
