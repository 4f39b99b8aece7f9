"""A wrapped transport, as what is on the wire and what is told above show it: its handshake, its
goodbye, how it fails, and what it holds back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.wrapped.states import NEXT, Phase, TransportSocketError
from tcpmesh.connection.wrapped.transport import GRACE
from tcpmesh.testing.harness import pattern
from tcpmesh.testing.recording import OneWayRecordingProtocol, RecordingProducer, RecordingProtocol
from tcpmesh.testing.wrappers import (
    ALERT,
    DelayingTransport,
    FramingTransport,
    IdentityTransport,
    SilentTransport,
)
from tests.connection.wrapped.wrapping import GOODBYE, HELLOS, WrappingTestCase, data, record


class HandshakeTests(WrappingTestCase):
    """While the handshake goes on."""

    def test_done(self) -> None:
        """The observer hears once that the wrapper is ready, and only then is there anything for
        the protocol.
        """
        wrapper = self.wrap()
        self.say(HELLOS[:-1])
        self.assertEqual(([], []), (self.observer.told, self.above.events))
        self.assertFalse(wrapper.is_ready)
        self.say(HELLOS[-1:])
        self.assertEqual((["done"], ["made"]), (self.observer.told, self.above.events))
        self.assertTrue(wrapper.is_ready)
        wrapper.handshake_done()
        self.assertEqual(["done"], self.observer.told)
        self.assertEqual(HELLOS, self.wire)

    def test_bytes_with_its_end(self) -> None:
        """Plain bytes that come together with the end of the handshake are delivered."""
        self.wrap()
        self.say(HELLOS + data(b"first") + data(b" second"))
        self.assertEqual(b"first second", self.above.received)

    def test_pause(self) -> None:
        """A pause of the protocol above does not stop the handshake, and holds once that is
        over.
        """
        wrapper = self.wrap(attached=True)
        wrapper.pauseProducing()
        self.say(HELLOS[:4])
        self.say(HELLOS[4:] + data(b"x"))
        self.assertEqual(["done"], self.observer.told)
        self.assertEqual(b"", self.above.received)
        self.say(data(b"y"))
        self.assertTrue(wrapper.below.paused)
        wrapper.resumeProducing()
        self.assertEqual(b"", self.above.received)
        self.pump()
        self.assertEqual(b"xy", self.above.received)
        self.assertFalse(wrapper.below.paused)

    def test_pause_and_resume(self) -> None:
        """One that was resumed in time is read as soon as the handshake is over."""
        wrapper = self.wrap(attached=True)
        wrapper.pauseProducing()
        wrapper.resumeProducing()
        self.say(HELLOS + data(b"x"))
        self.assertEqual(b"x", self.above.received)

    def test_written_before(self) -> None:
        """What is written before waits, is counted, and goes first."""
        wrapper = self.wrap(attached=True)
        wrapper.write(b"early ")
        wrapper.writeSequence([b"and ", b"late"])
        self.pump()
        self.assertEqual((b"", 14), (self.wire, wrapper.buffered))
        self.say(HELLOS)
        self.assertEqual(HELLOS + data(b"early and late"), self.wire)
        self.assertEqual((0, 0), (wrapper.buffered, wrapper.dropped))

    def test_written_when_made(self) -> None:
        """What is written from within `handshake_done` goes after what was written before."""
        wrapper = self.wrap(attached=True)
        wrapper.write(b"first")
        self.observer.handshake_done = lambda wrapper: wrapper.write(b" second")  # type: ignore[method-assign]
        self.say(HELLOS)
        self.assertEqual(HELLOS + data(b"first second"), self.wire)

    def test_fin_before(self) -> None:
        """FIN that is asked for before waits for the end of the handshake, though nothing was
        written.
        """
        for written in (b"", b"bye"):
            wrapper = self.wrap(attached=True)
            wrapper.write(written)
            wrapper.loseWriteConnection()
            wrapper.write(b"too late")
            self.pump()
            self.assertFalse(self.peer.ended)
            self.say(HELLOS)
            self.assertEqual(HELLOS + (data(written) if written else b"") + GOODBYE, self.wire)
            self.assertEqual(["made", "data", "eof"], self.peer.story)
            self.assertEqual(["fin"], self.above.events)
            self.say(data(b"answer"))
            self.assertEqual(b"answer", self.above.received)

    def test_close_before(self) -> None:
        """A close before, with nothing to flush, is one at once, without a goodbye."""
        for close in ("loseConnection", "cutConnection", "stopProducing"):
            wrapper = self.wrap(attached=True)
            getattr(wrapper, close)()
            self.assertFalse(self.above.lost)
            self.pump()
            self.assertEqual(b"", self.wire)
            self.assertEqual(["made", "eof"], self.peer.events)
            self.assertTrue(self.above.lost_to(ConnectionDone))
            self.assertEqual(["failed"], self.observer.told)

    def test_reset_before(self) -> None:
        """A reset likewise."""
        for close in ("resetConnection", "abortConnection"):
            wrapper = self.wrap(attached=True)
            getattr(wrapper, close)()
            self.pump()
            self.assertTrue(self.peer.lost_to(ConnectionLost))
            self.assertEqual(["failed"], self.observer.told)

    def test_done_after_the_end(self) -> None:
        """A handshake that is over only after the connection has ended makes nothing of it."""
        for close in ("loseConnection", "abortConnection"):
            wrapper = self.wrap(attached=True)
            getattr(wrapper, close)()
            wrapper.handshake_done()
            self.assertFalse(wrapper.is_ready)
            self.pump()
            wrapper.handshake_done()
            self.assertNotIn("done", self.observer.told)
            self.assertTrue(self.above.lost)

    def test_flush_before(self) -> None:
        """A close with something to flush waits for the end of the handshake; what comes meanwhile
        is for nobody.
        """
        for close, last in (("loseConnection", GOODBYE), ("resetConnection", b"")):
            wrapper = self.wrap(attached=True)
            wrapper.pauseProducing()
            wrapper.write(b"bye")
            getattr(wrapper, close)()
            wrapper.loseConnection()
            self.pump()
            self.assertFalse(self.peer.ended)
            self.say(HELLOS + data(b"unheard"))
            self.assertEqual(HELLOS + data(b"bye") + last, self.wire)
            self.assertEqual(last == b"", self.peer.lost_to(ConnectionLost))
            self.peer.transport.loseConnection()
            self.pump()
            self.assertEqual(["lost"], self.above.events)

    def test_abort_of_a_flush(self) -> None:
        """abortConnection and cutConnection end a close that waits for the handshake; what was
        written is lost.
        """
        for end, reason in (("abortConnection", ConnectionLost), ("cutConnection", ConnectionDone)):
            wrapper = self.wrap(attached=True)
            wrapper.write(b"bye")
            wrapper.loseConnection()
            getattr(wrapper, end)()
            self.pump()
            self.assertTrue(self.above.lost_to(reason), self.above.reason)
            self.assertEqual((3, 0, b""), (wrapper.dropped, wrapper.buffered, self.wire))

    def test_watermark(self) -> None:
        """A producer is paused for what waits, and resumed when that has left."""
        wrapper = self.wrap(attached=True)
        wrapper.high_watermark = 100
        producer = RecordingProducer()
        wrapper.registerProducer(producer, True)
        wrapper.write(bytes(100))
        self.assertEqual([], producer.calls)
        wrapper.write(b"1")
        wrapper.write(b"2")
        self.assertEqual(["pause"], producer.calls)
        self.say(HELLOS)
        self.assertEqual(["pause", "resume"], producer.calls)

    def test_pull_producer(self) -> None:
        """A pull producer is not asked before the handshake is over."""
        wrapper = self.wrap(attached=True)
        producer = RecordingProducer(on_resume=lambda: wrapper.unregisterProducer())
        wrapper.registerProducer(producer, False)
        self.pump()
        self.assertEqual([], producer.calls)
        self.say(HELLOS)
        self.assertEqual(["resume"], producer.calls)

    def test_unread(self) -> None:
        """Bytes given back before are the first to be delivered."""
        wrapper = self.wrap(attached=True)
        wrapper.unread(b"peeked ")
        self.pump()
        self.assertEqual(b"", self.above.received)
        self.say(HELLOS)
        self.assertEqual(b"peeked ", self.above.received)
        self.say(data(b"more"))
        self.assertEqual(b"peeked more", self.above.received)

    def test_unread_of_a_lost_connection(self) -> None:
        """Bytes given back to a wrapper whose handshake then failed are forgotten, and whoever
        resumes it later sets nothing off.
        """
        wrapper = self.wrap(attached=True)
        wrapper.unread(b"peeked")
        self.peer.transport.abortConnection()
        self.pump()
        wrapper.pauseProducing()
        wrapper.resumeProducing()
        self.assertEqual([], self.network.clock.getDelayedCalls())
        self.assertEqual(["lost"], self.above.events)

    def test_peer_leaves(self) -> None:
        """The peer's end of stream, and its reset, end the attempt: the observer hears why, and so
        does a protocol that is there.
        """
        for attached in (False, True):
            self.wrap(attached=attached)
            self.peer.transport.loseWriteConnection()
            self.pump()
            self.assertEqual(["failed"], self.observer.told)
            reason = self.observer.reason
            assert reason is not None
            self.assertIsInstance(reason.value, TransportSocketError)
            self.assertEqual(
                "the peer closed the connection during the handshake", reason.getErrorMessage()
            )
            self.assertEqual(["lost"] if attached else [], self.above.events)
            self.assertTrue(self.peer.ended)
            self.wrap(attached=attached)
            self.peer.transport.abortConnection()
            self.pump()
            self.assertEqual(["failed"], self.observer.told)
            assert self.observer.reason is not None
            self.assertTrue(self.observer.reason.check(ConnectionLost))
            self.assertEqual(["lost"] if attached else [], self.above.events)

    def test_bytes_are_lost(self) -> None:
        """What waited for a handshake that fails was never sent."""
        wrapper = self.wrap(attached=True)
        producer = RecordingProducer()
        wrapper.registerProducer(producer, True)
        wrapper.write(b"in vain")
        self.peer.transport.abortConnection()
        self.pump()
        self.assertEqual((7, 0), (wrapper.dropped, wrapper.buffered))
        self.assertEqual(["stop"], producer.calls)
        wrapper.write(b"more")
        self.assertEqual(11, wrapper.dropped)

    def test_marks(self) -> None:
        """The wrapper takes over the watermark of what it stands on, which then holds half of
        it.
        """
        wrapper = self.wrap(SilentTransport)
        self.assertEqual((65536, 32768), (wrapper.high_watermark, wrapper.below.high_watermark))
        for mark, below in ((0, 0), (1, 1), (2, 1), (9, 4)):
            wrapper.high_watermark = mark
            self.assertEqual((mark, below), (wrapper.high_watermark, wrapper.below.high_watermark))


class EndTests(WrappingTestCase):
    """What is on the wire when a wrapper ends."""

    def test_half_close(self) -> None:
        """loseWriteConnection: the bytes, the goodbye and FIN, in this order and once."""
        wrapper = self.ready()
        wrapper.write(b"x")
        wrapper.loseWriteConnection()
        wrapper.loseWriteConnection()
        self.pump()
        self.assertEqual(data(b"x") + GOODBYE, self.wire)
        self.assertEqual("eof", self.peer.events[-1])
        self.assertEqual(["made", "fin"], self.above.events)
        wrapper.loseConnection()
        self.pump()
        self.assertEqual(data(b"x") + GOODBYE, self.wire)
        self.assertTrue(self.above.lost_to(ConnectionDone))

    def test_peer_half_closes(self) -> None:
        """The peer's goodbye is the end of its stream, and its FIN after that is none."""
        self.ready()
        self.say(data(b"x") + GOODBYE)
        self.assertEqual(["made", "data", "eof"], self.above.events)
        self.peer.transport.loseWriteConnection()
        self.pump()
        self.assertEqual(["made", "data", "eof"], self.above.events)

    def test_close(self) -> None:
        """loseConnection says goodbye, resetConnection and abortConnection do not."""
        for close, expected in (
            ("loseConnection", data(b"x") + GOODBYE),
            ("resetConnection", data(b"x")),
            ("cutConnection", data(b"x") + GOODBYE),
            ("abortConnection", data(b"x")),
        ):
            wrapper = self.ready()
            wrapper.write(b"x")
            self.pump()
            getattr(wrapper, close)()
            self.pump()
            self.assertEqual(expected, self.wire, close)
            self.assertEqual("Connection" in close, self.peer.ended)

    def test_cut_of_a_full_buffer(self) -> None:
        """cutConnection says no goodbye after a record of which a part is missing."""
        wrapper = self.ready(capacity=1000)
        wrapper.write(bytes(2000))
        waiting = wrapper.buffered
        wrapper.cutConnection()
        self.pump()
        self.assertEqual((2000, 2000, 0), (waiting, wrapper.dropped, wrapper.buffered))
        self.assertEqual(data(bytes(2000))[:1000], self.wire)

    def test_cut_after_fin(self) -> None:
        """cutConnection says no second goodbye."""
        wrapper = self.ready()
        wrapper.loseWriteConnection()
        self.pump()
        wrapper.cutConnection()
        self.pump()
        self.assertEqual(GOODBYE, self.wire)
        self.assertEqual(0, wrapper.below.dropped)

    def test_peer_resets_the_goodbye(self) -> None:
        """Who closes after a peer that has said goodbye and gone has lost nothing by the reset that
        answers its own goodbye.
        """
        for half in (False, True):
            wrapper = self.ready()
            self.say(GOODBYE)
            self.peer.transport.loseConnection()
            self.pump()
            if half:
                wrapper.loseWriteConnection()
                self.pump()
            wrapper.loseConnection()
            self.pump()
            self.assertTrue(self.above.lost_to(ConnectionDone), self.above.reason)

    def test_peer_resets_bytes(self) -> None:
        """Plain bytes that the reset cost are a loss."""
        wrapper = self.ready(capacity=100)
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(500))
        wrapper.loseConnection()
        self.pump()
        self.peer.transport.abortConnection()
        self.pump()
        self.assertTrue(self.above.lost_to(ConnectionLost), self.above.reason)
        self.assertEqual(500, wrapper.dropped)

    def test_abort_is_a_loss(self) -> None:
        """abortConnection is a loss to oneself, also of a close of which only the goodbye is
        left.
        """
        wrapper = self.ready(capacity=100)
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(97))
        self.pump()
        wrapper.loseConnection()
        wrapper.abortConnection()
        self.pump()
        self.assertTrue(self.above.lost_to(ConnectionLost), self.above.reason)

    def test_protocol_without_half_close(self) -> None:
        """The peer's goodbye closes a protocol that knows no half-close."""
        wrapper = self.ready()
        wrapper.protocol = plain = OneWayRecordingProtocol()
        self.say(data(b"x") + GOODBYE)
        self.assertEqual(["data", "lost"], plain.events)
        self.assertTrue(plain.lost_to(ConnectionDone))
        self.assertEqual(GOODBYE, self.wire)


class FailTests(WrappingTestCase):
    """A peer that breaks the rules."""

    def test_after_bytes(self) -> None:
        """What came before is delivered, then the loss, which is an orderly end; what the wrapper
        has to say about it goes out.
        """
        self.ready()
        self.say(data(b"good") + b"\xff\xff\xff")
        self.assertEqual(["made", "data", "lost"], self.above.events)
        reason = self.above.reason
        assert reason is not None
        self.assertIsInstance(reason.value, TransportSocketError)
        self.assertEqual("255 is no kind of record", reason.getErrorMessage())
        self.assertEqual(record(ALERT), self.wire)
        self.assertTrue(self.peer.ended)
        self.assertEqual(["done"], self.observer.told)

    def test_while_paused(self) -> None:
        """A paused protocol hears of it on resume, after the bytes before it."""
        wrapper = self.ready()
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + data(b"two") + b"\xff\xff\xff")
        self.assertEqual(b"one", self.above.received)
        self.assertFalse(self.above.lost)
        self.above.on_data = lambda: None
        wrapper.write(b"too late")
        self.assertEqual((8, 0), (wrapper.dropped, wrapper.buffered))
        wrapper.resumeProducing()
        self.assertEqual(b"one", self.above.received)
        self.pump()
        self.assertEqual(["made", "data", "data", "lost"], self.above.events)
        self.assertEqual(b"onetwo", self.above.received)

    def test_after_the_end(self) -> None:
        """A paused protocol hears of the end of stream that came before it, too."""
        wrapper = self.ready()
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + GOODBYE + b"\xff\xff\xff")
        self.assertEqual(["made", "data"], self.above.events)
        wrapper.resumeProducing()
        self.pump()
        self.assertEqual(["made", "data", "eof", "lost"], self.above.events)

    def test_closed_while_paused(self) -> None:
        """A protocol that closes before it has heard is told nothing but the loss, and not from
        within its call.
        """
        for close in ("loseConnection", "resetConnection", "abortConnection", "cutConnection"):
            wrapper = self.ready()
            self.above.on_data = wrapper.pauseProducing
            self.say(data(b"one") + data(b"two") + b"\xff\xff\xff")
            getattr(wrapper, close)()
            self.assertFalse(self.above.lost)
            self.pump()
            self.assertEqual(["made", "data", "lost"], self.above.events)

    def test_producer(self) -> None:
        """A producer that waits for room is resumed, for there will be none."""
        wrapper = self.ready(capacity=100)
        wrapper.high_watermark = 10
        producer = RecordingProducer()
        wrapper.registerProducer(producer, True)
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(1000))
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + data(b"two") + b"\xff\xff\xff")
        self.assertEqual(["pause", "resume"], producer.calls)

    def test_peer_that_does_not_read(self) -> None:
        """A peer that does not take the last words is reset after a second."""
        wrapper = self.ready(capacity=100)
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(500))
        self.say(b"\xff\xff\xff")
        self.assertTrue(self.above.lost)
        self.network.advance(GRACE - 0.1)
        self.assertFalse(wrapper.below.lost)
        self.network.advance(0.2)
        self.assertTrue(wrapper.below.lost)
        self.peer.transport.resumeProducing()
        self.pump()
        self.assertTrue(self.peer.lost_to(ConnectionLost))

    def test_peer_that_reads(self) -> None:
        """One that takes them in time gets them all, and no timer is left."""
        wrapper = self.ready(capacity=100)
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(500))
        self.say(b"\xff\xff\xff")
        self.peer.transport.resumeProducing()
        self.pump()
        self.assertEqual(data(bytes(500)) + record(ALERT), self.wire)
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_once(self) -> None:
        """A wrapper fails once, and not after its end."""
        wrapper = self.ready()
        wrapper.fail("first")
        wrapper.fail("second")
        self.pump()
        wrapper.fail("third")
        assert self.above.reason is not None
        self.assertEqual("first", self.above.reason.getErrorMessage())
        self.assertEqual(1, self.above.events.count("lost"))


class DeliveryTests(WrappingTestCase):
    """What waits for the protocol above."""

    def test_read_size(self) -> None:
        """A record is delivered in pieces of read_size, and after a pause the rest waits, with
        below paused.
        """
        wrapper = self.ready()
        wrapper.read_size = 100
        self.above.on_data = lambda: (
            wrapper.pauseProducing() if len(self.above.sizes) == 2 else None
        )
        self.say(data(pattern(0, 350)))
        self.assertEqual([100, 100], self.above.sizes)
        self.assertTrue(wrapper.below.paused)
        wrapper.resumeProducing()
        self.assertTrue(wrapper.below.paused)
        self.pump()
        self.assertEqual([100, 100, 100, 50], self.above.sizes)
        self.assertFalse(wrapper.below.paused)
        self.assertTrue(self.above.received == pattern(0, 350))

    def test_end_waits(self) -> None:
        """The end of stream waits behind bytes that wait, and the peer's reset behind both."""
        wrapper = self.ready()
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + data(b"two") + GOODBYE)
        self.assertEqual(["made", "data"], self.above.events)
        self.peer.transport.abortConnection()
        self.pump()
        self.assertEqual(["made", "data"], self.above.events)
        self.above.on_data = lambda: None
        wrapper.resumeProducing()
        self.pump()
        self.assertEqual(["made", "data", "data", "eof", "lost"], self.above.events)

    def test_resumed_inside_a_delivery(self) -> None:
        """A protocol that pauses and resumes inside a delivery gets the next bytes, not from within
        its call.
        """
        wrapper = self.ready()
        depth: list[int] = []

        def hurry() -> None:
            depth.append(1)
            self.assertEqual(1, len(depth))
            wrapper.pauseProducing()
            wrapper.resumeProducing()
            depth.pop()

        self.above.on_data = hurry
        self.say(data(b"one") + data(b"two"))
        self.assertEqual(b"onetwo", self.above.received)

    def test_close_inside_a_delivery(self) -> None:
        """After a close inside a delivery no further record is delivered, nor the end."""
        for close in ("loseConnection", "abortConnection", "cutConnection", "resetConnection"):
            wrapper = self.ready()
            self.above.on_data = getattr(wrapper, close)
            self.say(data(b"one") + data(b"two") + GOODBYE)
            self.assertEqual(["made", "data", "lost"], self.above.events)

    def test_failing_protocol(self) -> None:
        """An exception of the protocol in a turn of its own is logged and ends the connection."""
        wrapper = self.ready()
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + data(b"two"))
        self.above.on_data = lambda: 1 // 0
        wrapper.resumeProducing()
        self.pump()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(["made", "data", "data", "lost"], self.above.events)
        self.assertTrue(self.peer.lost_to(ConnectionLost))

    def test_failing_protocol_of_a_lost_connection(self) -> None:
        """So it does where there is nothing below any more."""
        wrapper = self.ready()
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + data(b"two") + data(b"three") + b"\xff\xff\xff")
        self.above.on_data = lambda: 1 // 0
        wrapper.read_size = 3
        wrapper.resumeProducing()
        self.pump()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(["made", "data", "data", "lost"], self.above.events)

    def test_replaced(self) -> None:
        """What waits goes to whoever is the protocol then, by `bufferReceived` or not."""
        wrapper = self.ready()
        self.above.on_data = wrapper.pauseProducing
        self.say(data(b"one") + data(b"two") + GOODBYE)
        wrapper.protocol = new = RecordingProtocol()
        wrapper.resumeProducing()
        self.pump()
        self.assertEqual(["data", "eof"], new.events)
        self.assertEqual((b"one", b"two"), (self.above.received, new.received))

    def test_view(self) -> None:
        """Bytes pass through a wrapper that does nothing without a copy."""
        wrapper = self.ready(IdentityTransport)
        views: list[Any] = []
        self.above.bufferReceived = views.append  # type: ignore[assignment, method-assign]
        wrapper.protocol = self.above
        self.say(b"x")
        self.assertIsInstance(views[0], memoryview)


class CreditTests(WrappingTestCase):
    """Wrappers that slow traffic down."""

    def test_reads(self) -> None:
        """With a credit for reads so many bytes are delivered, and then none until it is given
        again; below is paused meanwhile.
        """
        wrapper = self.ready(IdentityTransport)
        wrapper.limit_reads(10)
        self.say(pattern(0, 8))
        self.say(pattern(8, 8))
        self.assertEqual(10, len(self.above.received))
        self.assertTrue(wrapper.below.paused)
        wrapper.limit_reads(3)
        self.assertEqual(10, len(self.above.received))
        self.pump()
        self.assertEqual(13, len(self.above.received))
        wrapper.limit_reads(100)
        self.pump()
        self.assertFalse(wrapper.below.paused)
        self.assertTrue(self.above.received == pattern(0, 16))

    def test_reads_and_pause(self) -> None:
        """Credit does not undo a pause."""
        wrapper = self.ready(IdentityTransport)
        wrapper.limit_reads(0)
        self.say(b"x")
        wrapper.pauseProducing()
        wrapper.limit_reads(1)
        self.pump()
        self.assertEqual(b"", self.above.received)

    def test_writes(self) -> None:
        """With a credit for writes so many bytes are passed on; the rest is counted, pauses a
        producer, and holds up a close.
        """
        wrapper = self.ready(IdentityTransport)
        wrapper.high_watermark = 10
        producer = RecordingProducer()
        wrapper.registerProducer(producer, True)
        wrapper.limit_writes(4)
        wrapper.write(pattern(0, 3))
        wrapper.write(pattern(3, 9))
        self.pump()
        self.assertEqual((4, 8), (len(self.wire), wrapper.buffered))
        self.assertEqual([], producer.calls)
        wrapper.write(pattern(12, 3))
        self.assertEqual(["pause"], producer.calls)
        wrapper.limit_writes(5)
        self.assertEqual((6, ["pause"]), (wrapper.buffered, producer.calls))
        wrapper.limit_writes(1)
        self.assertEqual((5, ["pause", "resume"]), (wrapper.buffered, producer.calls))
        wrapper.loseConnection()
        self.pump()
        self.assertFalse(self.peer.ended)
        wrapper.limit_writes(5)
        self.pump()
        self.assertTrue(self.wire == pattern(0, 15))
        self.assertTrue(self.peer.ended and self.above.lost_to(ConnectionDone))

    def test_unread_while_held(self) -> None:
        """Bytes given back while a close waits for its credit are dropped: the peer is read on."""
        wrapper = self.ready(IdentityTransport)
        wrapper.limit_writes(0)
        wrapper.write(b"bye")
        for close in ("loseConnection", "resetConnection"):
            getattr(wrapper, close)()
            wrapper.unread(b"unheard")
            self.say(b"unheard too")
            self.assertFalse(wrapper.below.paused)
            self.assertEqual(["made"], self.above.events)

    def test_lost_while_held(self) -> None:
        """Bytes that are held when the peer resets are delivered, then the loss; what was held for
        the peer is lost.
        """
        wrapper = self.ready(DelayingTransport)
        wrapper.write(b"for the peer")
        self.peer.transport.write(b"for us")
        while not wrapper._plain:
            self.network.step()
        self.peer.transport.abortConnection()
        while self.network.step():
            pass
        self.assertFalse(self.above.lost)
        self.pump()
        self.assertEqual(b"for us", self.above.received)
        self.assertTrue(self.above.lost_to(ConnectionLost))
        self.assertEqual(12, wrapper.dropped + len(self.wire))


class RoomTests(WrappingTestCase):
    """What waits for room below."""

    def test_below_holds_half(self) -> None:
        """Below gets no more than half of the watermark and one write; the rest waits as plain
        bytes.
        """
        wrapper = self.ready(capacity=1000)
        wrapper.high_watermark = 10_000
        self.peer.transport.pauseProducing()
        for _ in range(20):
            wrapper.write(bytes(1000))
        self.assertLessEqual(wrapper.below.buffered, 6100)
        self.assertGreaterEqual(len(wrapper._pending), 13_000)
        self.peer.transport.resumeProducing()
        self.pump()
        self.assertEqual(0, wrapper.buffered)
        plain = sum(1 for _ in range(20)) * 1000
        self.assertGreater(len(self.wire), plain)

    def test_records_count_plain(self) -> None:
        """`buffered` counts plain bytes, whatever has been made of them."""
        wrapper = self.ready(capacity=10)
        self.peer.transport.pauseProducing()
        for _ in range(100):
            wrapper.write(b"x")
        self.assertEqual(100 - 2, wrapper.buffered)
        self.assertGreater(wrapper.below.buffered, 100)

    def test_broken(self) -> None:
        """What is written after a reset that is not heard yet is lost at once."""
        wrapper = self.ready(capacity=100)
        wrapper.pauseProducing()
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(300))
        self.peer.transport.abortConnection()
        self.pump()
        lost = wrapper.dropped
        self.assertGreater(lost, 0)
        wrapper.write(b"more")
        self.assertEqual((lost + 4, 0), (wrapper.dropped, wrapper.buffered))
        self.assertEqual(["made"], self.above.events)

    def test_pull_then_push(self) -> None:
        """A producer that pushes, after one that was pulled, is paused and resumed as any other."""
        wrapper = self.ready(capacity=100)
        pulled = RecordingProducer(on_resume=wrapper.unregisterProducer)
        wrapper.registerProducer(pulled, False)
        self.pump()
        self.assertEqual(["resume"], pulled.calls)
        wrapper.high_watermark = 10
        pushing = RecordingProducer()
        wrapper.registerProducer(pushing, True)
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(500))
        self.assertEqual(["pause"], pushing.calls)
        self.peer.transport.resumeProducing()
        self.pump()
        self.assertEqual(["pause", "resume"], pushing.calls)

    def test_push_then_pull(self) -> None:
        """A pull producer, where below had no room before, is asked when all is sent."""
        wrapper = self.ready(capacity=100)
        wrapper.high_watermark = 10
        self.peer.transport.pauseProducing()
        wrapper.write(bytes(500))
        wrapper.write(bytes(500))
        pulled = RecordingProducer(on_resume=wrapper.unregisterProducer)
        wrapper.registerProducer(pulled, False)
        self.peer.transport.resumeProducing()
        self.pump()
        self.assertEqual(["resume"], pulled.calls)
        self.assertEqual(0, wrapper.buffered)
        self.assertEqual(data(bytes(500)) * 2, self.wire)


class PhaseTests(SynchronousTestCase):
    """The table of phases."""

    def test_end(self) -> None:
        """Every phase leads to LOST, and nothing leads on from there."""
        self.assertEqual(frozenset(), NEXT[Phase.LOST])
        for phase in Phase:
            if phase is not Phase.LOST:
                self.assertIn(Phase.LOST, NEXT[phase])

    def test_forbidden(self) -> None:
        """What the table does not have is a bug, and raises."""
        wrapper = FramingTransport(None, None)  # type: ignore[arg-type]
        wrapper._enter(Phase.ENDING)
        self.assertRaises(RuntimeError, wrapper._enter, Phase.READY)
