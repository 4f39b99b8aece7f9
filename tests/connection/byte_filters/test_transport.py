"""A client's way through filters that change its bytes, in a whole proxy in memory."""

from __future__ import annotations

import gc

from envoy.extensions.filters.network.echo.v3 import echo_pb2

from tcpmesh.connection.byte_filters.callbacks import FilterCallbacks
from tcpmesh.connection.byte_filters.transport import FilteredTransport
from tcpmesh.connection.connection import Connection
from tcpmesh.registry import BrokenExtension
from tests.connection.byte_filters.changing import (
    MADE,
    ByteFilterTestCase,
    Scripted,
    ScriptedFactory,
    Trouble,
)
from tests.connection.test_filters import BUILT, STRING
from tests.mesh import tcp_proxy

ECHO = f"{{name: e, typed_config: {{'@type': x/{echo_pb2.Echo.DESCRIPTOR.full_name}}}}}"


class OrderTests(ByteFilterTestCase):
    """Which filter sees what, and when."""

    def test_both_ways(self) -> None:
        """What the client sends passes the filters in order, what is for it in the reverse
        order.
        """
        self.begin_with("one tag-data tag-write", "two tag-data tag-write")
        client = self.mesh.connect()
        self.say(client, b"question")
        self.say(self.served(), b"answer")
        self.assertEqual(b"question<one><two>", self.sent())
        self.assertEqual(b"answer<two><one>", client.received)

    def test_new_connection(self) -> None:
        """Filters hear of a new connection in order, and of its end; after that everything that
        they could do has no effect.
        """
        self.begin_with("one", "two")
        client = self.mesh.connect()
        one, two = MADE
        self.assertEqual((["new"], ["new"]), (one.told, two.told))
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual((["new", "lost"], ["new", "lost"]), (one.told, two.told))
        one.callbacks.inject_data(b"late")
        one.callbacks.inject_write(b"late")
        one.callbacks.resume()
        one.callbacks.retry_data()
        one.callbacks.retry_write()
        one.callbacks.close("late")
        one.callbacks.call_later(1.0, one.callbacks.close, "late")
        self.mesh.advance(2.0)
        self.assertEqual(["new", "lost"], two.told)
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_stopped(self) -> None:
        """A filter that stops a new connection holds up those after it, and the upstream."""
        self.begin_with("one stop", "two")
        self.mesh.connect()
        one, two = MADE
        self.assertEqual((["new"], [], []), (one.told, two.told, self.backend.built))
        one.callbacks.resume()
        self.mesh.network.pump()
        self.assertEqual((["new"], 1), (two.told, len(self.backend.built)))

    def test_held_and_resumed(self) -> None:
        """What a filter holds it sees again with what comes; resumed, it goes on unseen by that
        filter.
        """
        self.begin_with("one", "two hold-data", "three")
        client = self.mesh.connect()
        one, two, three = MADE
        self.say(client, b"ab")
        self.say(client, b"cd")
        self.assertEqual(["new", (b"ab", False), (b"cd", False)], one.told)
        self.assertEqual(["new", (b"ab", False), (b"abcd", False)], two.told)
        two.callbacks.resume()
        self.mesh.network.pump()
        self.assertEqual(["new", (b"abcd", False)], three.told)
        self.assertEqual(b"abcd", self.sent())
        self.say(client, b"ef")
        two.callbacks.resume(done=True)
        self.say(client, b"gh")
        self.assertEqual((b"ef", False), two.told[-1])
        self.assertEqual(b"abcdefgh", self.sent())

    def test_retried(self) -> None:
        """What a filter holds is shown to it again when it asks, in either direction."""
        self.begin_with("one hold-data hold-write")
        client = self.mesh.connect()
        (one,) = MADE
        self.say(client, b"question")
        self.say(self.served(), b"answer")
        self.assertEqual((b"", b""), (self.sent(), bytes(client.received)))
        one.words.clear()
        one.callbacks.retry_data()
        one.callbacks.retry_write()
        self.mesh.network.pump()
        self.assertEqual((b"question", b"answer"), (self.sent(), bytes(client.received)))
        told = len(one.told)
        one.callbacks.retry_data()
        one.callbacks.retry_write()
        self.assertEqual(told, len(one.told))

    def test_among_read_filters(self) -> None:
        """A read filter sees what the filters before it have made of the bytes, and may hold things
        up as anywhere.
        """
        read = f'{{name: r, typed_config: {{"@type": {STRING}, value: "continue,stop,done"}}}}'
        self.begin_with("one upper-data", last=f"{read}, {tcp_proxy()[1:-1]}")
        client = self.mesh.connect()
        self.say(client, b"hello")
        (scripted,) = BUILT
        self.assertEqual(["new", (b"HELLO", False)], scripted.told)
        self.assertEqual(b"", self.sent())
        scripted.manager.resume()
        self.say(client, b" again")
        self.say(client, b" and again")
        self.assertEqual(["new", (b"HELLO", False), (b" AGAIN", False)], scripted.told)
        self.assertEqual(b"HELLO AGAIN AND AGAIN", self.sent())
        self.assertFalse(scripted.manager.is_over)
        scripted.manager.close("enough")
        self.assertTrue(scripted.manager.is_over)
        self.mesh.network.pump()
        self.assertTrue(client.ended)
        self.assertEqual("lost", scripted.told[-1])

    def test_before_other_terminal_filters(self) -> None:
        """They stand before any filter that ends a chain, such as echo."""
        self.begin_with("one upper-data tag-write end-write", last=ECHO)
        client = self.mesh.connect()
        self.say(client, b"hello")
        self.end(client)
        self.assertEqual(b"HELLO<one>[end]", client.received)
        self.assertTrue(client.ended)


class EndTests(ByteFilterTestCase):
    """The ends of both streams."""

    def test_half_close(self) -> None:
        """The end of a stream passes behind its bytes; what filters add at the end is the last; the
        other direction lives on.
        """
        self.begin_with("one end-data end-write", "two tag-data")
        client = self.mesh.connect()
        self.say(client, b"question")
        self.end(client)
        self.assertEqual(b"question<two>[end]<two>", self.sent())
        self.assertTrue(self.served().ended)
        self.assertFalse(client.ended)
        self.say(self.served(), b"answer")
        self.end(self.served())
        self.assertEqual((b"answer[end]", True), (bytes(client.received), client.ended))
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_end_held(self) -> None:
        """A filter that holds bytes holds up the end behind them, in either direction."""
        self.begin_with("one hold-data hold-write")
        client = self.mesh.connect()
        (one,) = MADE
        self.say(client, b"question")
        self.end(client)
        self.assertEqual((b"question", True), one.told[-1])
        self.assertFalse(self.served().ended)
        one.callbacks.resume()
        self.mesh.network.pump()
        self.assertEqual((b"question", True), (self.sent(), self.served().ended))
        self.say(self.served(), b"answer")
        self.end(self.served())
        self.assertEqual((b"", False), (bytes(client.received), client.ended))
        one.words.clear()
        one.callbacks.retry_write()
        self.mesh.network.pump()
        self.assertEqual((b"answer", True), (bytes(client.received), client.ended))

    def test_injected_end(self) -> None:
        """A filter may end a stream by itself, once; nothing follows."""
        self.begin_with("one hold-data hold-write")
        client = self.mesh.connect()
        (one,) = MADE
        self.say(client, b"dropped")
        one.callbacks.inject_data(b"instead", end=True)
        one.callbacks.inject_write(b"bye", end=True)
        self.mesh.network.pump()
        self.assertEqual((b"instead", True), (self.sent(), self.served().ended))
        self.assertEqual(b"bye", client.received)
        self.assertRaises(RuntimeError, one.callbacks.inject_data, b"more")
        self.assertRaises(RuntimeError, one.callbacks.inject_write, b"", end=True)
        one.callbacks.resume()
        self.mesh.network.pump()
        self.assertEqual(b"instead", self.sent())

    def test_reset_of_the_upstream(self) -> None:
        """A reset is passed on after the bytes that came before it, also those that are held."""
        self.begin_with("one hold-write")
        client = self.mesh.connect()
        self.say(self.served(), b"answer")
        self.served().transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual((b"", None), (bytes(client.received), client.reason))
        (one,) = MADE
        one.words.clear()
        one.callbacks.retry_write()
        self.mesh.network.pump()
        self.assertEqual(b"answer", client.received)
        self.assertIsNotNone(client.reason)

    def test_reset_of_the_client(self) -> None:
        """What is held of a client that resets is lost, and the upstream is reset."""
        self.begin_with("one hold-data")
        client = self.mesh.connect()
        self.say(client, b"question")
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(b"", self.sent())
        self.assertIsNotNone(self.served().reason)
        self.assertEqual("lost", MADE[0].told[-1])

    def test_closed_by_a_filter(self) -> None:
        """A filter may close the client, with a reason for logs."""
        self.begin_with("one")
        client = self.mesh.connect()
        (one,) = MADE
        one.callbacks.inject_write(b"go away")
        one.callbacks.close("not_wanted", details="for a test")
        self.mesh.network.pump()
        self.assertEqual((b"go away", True), (bytes(client.received), client.ended))
        info = self.mesh.connections[-1].stream_info
        self.assertEqual("not_wanted", info.local_close_reason)
        self.assertEqual("for a test", info.termination_details)
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))


class FlowTests(ByteFilterTestCase):
    """Sides that are slow, and filters that hold much."""

    LIMIT = "per_connection_buffer_limit_bytes: 1000"

    def test_slow_upstream(self) -> None:
        """Where the upstream takes nothing, the filters are shown little more than the limit."""
        self.begin_with("one double-data", more=self.LIMIT)
        client = self.mesh.connect()
        self.served().transport.pauseProducing()
        client.transport.write(bytes(2_000_000))
        self.mesh.network.pump()
        self.assertGreater(client.transport.buffered, 1_000_000)
        self.served().transport.resumeProducing()
        self.mesh.network.pump()
        self.assertEqual(4_000_000, len(self.sent()))

    def test_slow_client(self) -> None:
        """Where the client takes nothing, the upstream is paused."""
        self.begin_with("one double-write", more=self.LIMIT)
        client = self.mesh.connect()
        client.transport.pauseProducing()
        upstream = self.served()
        upstream.transport.write(bytes(2_000_000))
        self.mesh.network.pump()
        self.assertGreater(upstream.transport.buffered, 1_000_000)
        client.transport.resumeProducing()
        self.mesh.network.pump()
        self.assertEqual(4_000_000, len(client.received))

    def test_held_of_the_client(self) -> None:
        """A filter that holds what the client sends holds no more than the limit and a read; with
        that, the client is read again.
        """
        self.begin_with("one hold-data", more=self.LIMIT)
        client = self.mesh.connect()
        client.transport.write(bytes(1_000_000))
        self.mesh.network.pump()
        self.assertGreater(client.transport.buffered, 500_000)
        (one,) = MADE
        one.words.clear()
        one.callbacks.retry_data()
        self.mesh.network.pump()
        self.assertEqual(1_000_000, len(self.sent()))

    def test_held_for_the_client(self) -> None:
        """A filter that holds what is for the client pauses the upstream, which is resumed once it
        lets go.
        """
        self.begin_with("one hold-write", more=self.LIMIT)
        client = self.mesh.connect()
        upstream = self.served()
        upstream.transport.write(bytes(1_000_000))
        self.mesh.network.pump()
        self.assertGreater(upstream.transport.buffered, 500_000)
        (one,) = MADE
        one.words.clear()
        one.callbacks.retry_write()
        self.mesh.network.pump()
        self.assertEqual(1_000_000, len(client.received))

    def test_numbers(self) -> None:
        """Bytes count as tcp_proxy gets and writes them, whatever filters make of them."""
        self.begin_with("one double-data double-write")
        client = self.mesh.connect()
        self.say(client, b"12")
        self.say(self.served(), b"345")
        self.assertEqual(4, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))
        self.assertEqual(3, self.mesh.stat("cluster.c.upstream_cx_rx_bytes_total"))
        self.assertEqual(b"345345", client.received)

    def test_later(self) -> None:
        """A filter may do something later, which does not happen where the connection is over."""
        self.begin_with("one hold-data")
        client, other = self.mesh.connect(), self.mesh.connect()
        one, two = MADE
        for each in (one, two):
            each.words.clear()
            each.callbacks.call_later(1.0, each.callbacks.inject_data, b"by itself")
        other.transport.abortConnection()
        self.mesh.network.pump()
        self.mesh.advance(1.0)
        self.mesh.network.pump()
        self.assertEqual(b"by itself", self.backend.built[0].received)
        self.assertEqual(b"", self.backend.built[1].received)
        self.assertFalse(client.ended)


class FailingTests(ByteFilterTestCase):
    """A filter that raises: the end of that connection, and of no other."""

    def check_fails(self, words: str, make_it_fail: str = "") -> None:
        """With these words a client is closed, which is counted, and has a reason."""
        self.begin_with(words)
        client = self.mesh.connect()
        if make_it_fail == "data":
            self.say(client, b"x")
        elif make_it_fail == "write":
            self.say(self.served(), b"x")
        self.assertTrue(client.ended or client.reason)
        self.assertEqual(1, len(self.flushLoggedErrors(Trouble)))
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_network_filter_error"))
        info = self.mesh.connections[-1].stream_info
        self.assertEqual("network_filter_failed", info.local_close_reason)

    def test_made(self) -> None:
        """It cannot be made for a connection."""
        self.check_fails("one fail-build")

    def test_new(self) -> None:
        """It raises at a new connection."""
        self.check_fails("one fail-new")

    def test_data(self) -> None:
        """It raises at what the client sends."""
        self.check_fails("one fail-data", "data")

    def test_write(self) -> None:
        """It raises at what is for the client."""
        self.check_fails("one fail-write", "write")

    def test_later(self) -> None:
        """It raises in what it has asked to be called later."""
        self.begin_with("one")
        client, other = self.mesh.connect(), self.mesh.connect()

        def fail() -> None:
            raise Trouble("later")

        MADE[0].callbacks.call_later(1.0, fail)
        self.mesh.advance(1.0)
        self.mesh.network.pump()
        self.assertEqual((True, False), (client.ended, other.ended))
        self.assertEqual(1, len(self.flushLoggedErrors(Trouble)))
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_network_filter_error"))

    def test_lost(self) -> None:
        """It raises at the end of a connection, which does not keep it."""
        self.begin_with("one fail-lost")
        self.mesh.connect().transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(1, len(self.flushLoggedErrors(Trouble)))
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))


class FreedTests(ByteFilterTestCase):
    """What a connection leaves behind."""

    def test_finished_connection_is_free(self) -> None:
        """One that is over is freed by counting references, with its filters."""
        self.begin_with("one tag-data", "two tag-write hold-write")
        gc.freeze()  # what was there before is not looked at
        self.addCleanup(gc.unfreeze)
        gc.disable()
        self.addCleanup(gc.enable)
        client = self.mesh.connect()
        self.say(client, b"question")
        self.say(self.served(), b"answer")
        MADE[0].callbacks.call_later(1.0, MADE[0].callbacks.inject_data, b"never")
        client.transport.abortConnection()
        self.mesh.network.pump()
        MADE.clear()
        self.mesh.connections.clear()
        gc.set_debug(gc.DEBUG_SAVEALL)
        self.addCleanup(gc.garbage.clear)
        self.addCleanup(gc.set_debug, 0)
        gc.collect()
        kinds = (FilteredTransport, FilterCallbacks, Scripted, Connection)
        self.assertEqual([], [found for found in gc.garbage if isinstance(found, kinds)])


class ChainTests(ByteFilterTestCase):
    """What chains do with such filters."""

    def test_others_pay_nothing(self) -> None:
        """In a chain without one the relay has the client's own transport, as it has always had."""
        self.begin()
        self.mesh.connect()
        connection = self.mesh.connections[-1]
        self.assertIs(connection.transport, connection.stream_info.addresses)
        self.assertEqual(1, len(list(self.mesh.worker.listeners.candidates())))

    def test_stays_in_an_upgrade(self) -> None:
        """Its clients do not go on in another process."""
        self.begin_with("one")
        self.mesh.connect()
        self.assertEqual([], list(self.mesh.worker.listeners.candidates()))

    def test_without_its_methods(self) -> None:
        """What is no whole filter is refused with what it lacks."""
        self.patch(ScriptedFactory, "close", property())
        with self.assertRaisesRegex(BrokenExtension, "has no `close`: see IFilterFactory"):
            self.begin_with("one")
