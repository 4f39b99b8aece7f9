"""Listeners that drain: because they were replaced or removed, or the whole proxy is."""

from __future__ import annotations

from typing import Any

from tcpmesh.listener.draining import ListenerDrain, ProxyDrain
from tcpmesh.testing.harness import Server
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.drain import DrainScope, DrainStrategy, DrainTimes
from tcpmesh.values.server_options import ServerOptions
from tests.listener.test_filter_chains import file_log, listener_of, proxied
from tests.mesh import FRONT, MeshTestCase, listener_message, tcp_proxy

HOST = "127.0.0.2:80"
LOG = file_log("/log", "%DOWNSTREAM_LOCAL_CLOSE_REASON% %TCPMESH(close_reason)%")
CHECKED = "cluster: c, check_drain_close: true"


class DrainTestCase(MeshTestCase):
    """A proxy whose drains take 20 seconds, and close at once what carries bytes."""

    strategy = "immediate"

    def setUp(self) -> None:
        """A cluster with a host that answers."""
        super().setUp()
        self.mesh = self.make_mesh(1, ServerOptions(drain_time_s=20, drain_strategy=self.strategy))
        self.mesh.add_cluster("c", HOST)
        self.upstream: Server = self.mesh.upstream(HOST)

    def pair(self, address: str = FRONT) -> tuple[RecordingProtocol, RecordingProtocol]:
        """A client and the upstream's end of its connection."""
        client = self.mesh.connect(address)
        return client, self.upstream.built[-1]

    def says(self, protocol: Any, data: bytes = b"x") -> None:
        """One side sends something."""
        protocol.transport.write(data)
        self.mesh.pump()

    def is_refused(self, address: str = FRONT) -> bool:
        """Whether nobody listens there."""
        client = self.mesh.dial(address)
        self.mesh.pump()
        return client.failure is not None

    def manager(self, name: str) -> int:
        """A statistic of the listener manager."""
        return self.mesh.stat(f"listener_manager.{name}")


class RemovalTests(DrainTestCase):
    """Listeners that are no more."""

    def test_removed(self) -> None:
        """A listener that is removed refuses clients at once; those it has are closed when the
        drain time is over, and nothing is left of it.
        """
        self.mesh.serve(more=LOG)
        client, server = self.pair()
        self.mesh.listeners.remove("l")
        self.assertTrue(self.is_refused())
        self.says(client)
        self.assertEqual(b"x", server.received)
        self.assertEqual(1, self.manager("total_listeners_draining"))
        self.mesh.advance(19)
        self.assertFalse(client.ended)
        self.mesh.advance(1)
        self.assertTrue(client.ended and server.ended)
        self.assertEqual(0, self.manager("total_listeners_draining"))
        words = "purging_socket_that_have_not_progressed_to_connections"
        self.assertEqual(
            [f"{words} its listener was replaced or removed"], self.mesh.logged("/log")
        )
        client.transport.abortConnection()
        server.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({}, self.mesh.stats("listener.127"))

    def test_replaced(self) -> None:
        """A listener that replaces another serves at once, and keeps its clients when those of the
        other are closed.
        """
        self.mesh.serve()
        old, _ = self.pair()
        self.mesh.add_listener("l", "127.0.0.1:3", tcp_proxy())
        new, _ = self.pair("127.0.0.1:3")
        self.mesh.advance(20)
        self.assertEqual((True, False), (old.ended, new.ended))

    def test_not_yet_open(self) -> None:
        """Before the workers start nobody is connected, so nothing drains."""
        for port in (1, 2):
            self.mesh.add_listener("l", f"127.0.0.1:{port}", tcp_proxy())
        self.mesh.listeners.remove("l")
        self.assertEqual(0, self.manager("total_listeners_draining"))

    def test_many(self) -> None:
        """Of many clients a few are closed at a time: others have their turn in between."""
        self.mesh.serve()
        clients = [self.mesh.connect() for _ in range(50)]
        self.mesh.listeners.remove("l")
        self.mesh.advance(20)
        self.assertTrue(all(client.ended for client in clients))

    def test_stopped_meanwhile(self) -> None:
        """A proxy that ends waits for no drain."""
        self.mesh.serve()
        client, _ = self.pair()
        self.mesh.listeners.remove("l")
        self.mesh.listeners.stop()
        self.mesh.pump()
        self.assertTrue(client.ended)


class StopListeningTests(DrainTestCase):
    """Listeners that accept no more clients."""

    def setUp(self) -> None:
        """Two listeners, of which one is inbound."""
        super().setUp()
        self.mesh.add_listener("in", "127.0.0.1:2", tcp_proxy(), "traffic_direction: INBOUND")
        self.mesh.serve()

    def test_all(self) -> None:
        """Nobody gets in any more; who is connected stays, and the listeners are what they were."""
        client, server = self.pair()
        self.mesh.listeners.stop_listening(DrainScope.ALL)
        self.assertEqual([True, True], [self.is_refused(each) for each in (FRONT, "127.0.0.1:2")])
        self.mesh.advance(1000)
        self.says(client)
        self.assertEqual(b"x", server.received)
        self.assertEqual(2, self.manager("listener_stopped"))
        self.assertEqual(2, self.manager("total_listeners_active"))
        self.assertEqual(0, self.manager("total_listeners_draining"))

    def test_inbound(self) -> None:
        """Only inbound listeners, where that is asked for."""
        self.mesh.listeners.stop_listening(DrainScope.INBOUND)
        self.assertEqual([False, True], [self.is_refused(each) for each in (FRONT, "127.0.0.1:2")])
        self.assertEqual(1, self.manager("listener_stopped"))

    def test_later(self) -> None:
        """Then no such listener is added or changed, as in Envoy."""
        self.mesh.listeners.stop_listening(DrainScope.INBOUND)
        for number, more in ((2, "traffic_direction: INBOUND"), (3, "{}")):
            self.mesh.add_listener(f"l{number}", f"127.0.0.1:{number}", tcp_proxy(), more)
        self.assertEqual(
            [True, False], [self.is_refused(f"127.0.0.1:{number}") for number in (2, 3)]
        )

    def test_graceful(self) -> None:
        """A drain of all ends with it, once its time is over; a second one changes nothing."""
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.advance(10)
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.advance(9)
        self.assertFalse(self.is_refused())
        self.mesh.advance(1)
        self.assertTrue(self.is_refused())
        self.mesh.advance(20)
        self.assertEqual(2, self.manager("listener_stopped"))

    def test_going_on(self) -> None:
        """Or it does not, where that is asked for."""
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=False)
        self.mesh.advance(1000)
        self.assertFalse(self.is_refused())

    def test_inbound_first(self) -> None:
        """A drain of all may follow one of inbound listeners, and not the other way round."""
        self.mesh.listeners.drain(DrainScope.INBOUND, stops_listening=True)
        self.mesh.advance(10)
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.listeners.drain(DrainScope.INBOUND, stops_listening=True)
        self.mesh.advance(10)
        self.assertEqual([False, True], [self.is_refused(each) for each in (FRONT, "127.0.0.1:2")])
        self.mesh.advance(10)
        self.assertTrue(self.is_refused())


class CheckDrainCloseTests(DrainTestCase):
    """tcp_proxy with `check_drain_close`."""

    def drained(self) -> int:
        """How many it has closed."""
        return self.mesh.stat("tcp.t.downstream_cx_drain_close")

    def test_busy(self) -> None:
        """A connection is closed when it next carries bytes, after these; a silent one stays."""
        self.mesh.serve(CHECKED, LOG)
        (busy, server), (silent, _) = self.pair(), self.pair()
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.assertFalse(busy.ended)
        self.says(busy)
        self.assertTrue(busy.ended and server.ended)
        self.assertEqual((b"x", False), (server.received, silent.ended))
        self.assertEqual(1, self.drained())
        for each in (busy, server):
            each.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(["tcp_proxy_drain_close its listener drains"], self.mesh.logged("/log"))

    def test_upstream_speaks(self) -> None:
        """So it is when the host says something, which the client still gets."""
        self.mesh.serve(CHECKED)
        client, server = self.pair()
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.says(server, b"y" * 10_000)
        self.assertTrue(client.ended and server.ended)
        self.assertEqual(b"y" * 10_000, client.received)

    def test_end_of_stream(self) -> None:
        """And when one side has sent all."""
        self.mesh.serve(CHECKED)
        client, server = self.pair()
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertTrue(client.ended and server.ended)
        self.assertEqual(1, self.drained())

    def test_later_clients(self) -> None:
        """Clients that come while it drains are served, and closed in the same way."""
        self.mesh.serve(CHECKED)
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        client, server = self.pair()
        self.assertFalse(client.ended)
        self.says(client)
        self.assertEqual((True, b"x"), (client.ended, server.received))

    def test_connecting(self) -> None:
        """A client whose upstream was not connected yet is one of them."""
        self.mesh.serve(CHECKED)
        client = self.mesh.dial()
        while not self.mesh.connections:
            self.mesh.network.step()
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.says(client.given)
        self.assertTrue(client.given.ended)

    def test_not_asked_for(self) -> None:
        """Without the field no drain closes anything before its end."""
        self.mesh.serve()
        client, server = self.pair()
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.says(client)
        self.assertEqual((False, b"x"), (client.ended, server.received))

    def test_other_direction(self) -> None:
        """A drain of inbound listeners is none of others."""
        self.mesh.serve(CHECKED)
        client, _ = self.pair()
        self.mesh.listeners.drain(DrainScope.INBOUND, stops_listening=True)
        self.mesh.pump()
        self.says(client)
        self.assertFalse(client.ended)

    def test_removed(self) -> None:
        """A listener that was removed drains too."""
        self.mesh.serve(CHECKED)
        client, _ = self.pair()
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.says(client)
        self.assertTrue(client.ended)

    def test_failing_health_checks(self) -> None:
        """As long as the proxy fails its health checks connections are closed as they carry bytes,
        and then no more.
        """
        self.mesh.serve(CHECKED)
        client, kept = self.pair()[0], self.pair()[0]
        self.mesh.listeners.fail_health_checks(True)
        self.mesh.pump()
        self.says(client)
        self.assertTrue(client.ended)
        self.mesh.listeners.fail_health_checks(False)
        self.says(kept)
        self.assertFalse(kept.ended)

    def test_modify_only(self) -> None:
        """A listener whose drain_type is MODIFY_ONLY does not mind that, but other drains."""
        self.mesh.serve(CHECKED, "drain_type: MODIFY_ONLY")
        client, _ = self.pair()
        self.mesh.listeners.fail_health_checks(True)
        self.mesh.pump()
        self.says(client)
        self.assertFalse(client.ended)
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.says(client)
        self.assertTrue(client.ended)

    def test_slow_client(self) -> None:
        """What waits for a client is sent before it is closed."""
        self.mesh.serve(CHECKED)
        client, server = self.pair()
        client.transport.pauseProducing()
        self.says(server, b"y" * (1 << 20))
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.says(server, b"z")
        self.assertFalse(client.ended)
        client.transport.resumeProducing()
        self.mesh.pump()
        self.assertTrue(client.ended)
        self.assertEqual((1 << 20) + 1, len(client.received))

    def test_nothing_is_left(self) -> None:
        """A filter that is gone hears of no drain any more."""
        self.mesh.serve(CHECKED)
        (listener,) = self.mesh.worker.listeners._listeners.values()
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertEqual([], listener.drain._watchers)


class ChainTests(DrainTestCase):
    """A filter chain that an update leaves out, of a tcp_proxy with `check_drain_close`."""

    ONE, TWO = (
        proxied(name, f"destination_port: {port}", fields="check_drain_close: true")
        for name, port in (("one", 1), ("two", 2))
    )

    def setUp(self) -> None:
        """Two chains that are equal but for the clients they are for, and one that closes nobody,
        each with a client.
        """
        super().setUp()
        self.update(self.ONE, self.TWO, proxied("calm", "destination_port: 3"))
        self.mesh.listeners.start()
        self.one, self.two, self.calm = (
            self.mesh.redirect(f"127.0.0.1:{port}") for port in (1, 2, 3)
        )

    def update(self, *chains: str) -> None:
        """The listener has these chains now."""
        self.mesh.listeners.add_or_update(listener_of(*chains, more="use_original_dst: true"))
        self.mesh.pump()

    def ended(self) -> list[bool]:
        """Which clients are closed, once each has sent something."""
        clients = (self.one, self.two, self.calm)
        for client in clients:
            self.says(client)
        return [client.ended for client in clients]

    def test_left_out(self) -> None:
        """Its clients are closed as they carry bytes; those of chains that stay are not, nor those
        who are not to be: these have the drain time.
        """
        self.update(self.ONE)
        self.assertEqual([False, True, False], self.ended())
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_drain_close"))
        self.mesh.advance(20)
        self.assertEqual([False, True, True], self.ended())

    def test_silent(self) -> None:
        """One that carries nothing has the drain time too."""
        self.update(self.ONE)
        self.mesh.advance(19)
        self.assertFalse(self.two.ended)
        self.mesh.advance(1)
        self.assertTrue(self.two.ended)

    def test_drain_of_the_listener(self) -> None:
        """What drains the whole listener drains all chains that are there."""
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        self.mesh.pump()
        self.assertEqual([True, True, False], self.ended())

    def test_both(self) -> None:
        """A chain may be left out and its listener be removed then."""
        self.update(self.ONE)
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertEqual([True, True, False], self.ended())

    def test_put_back(self) -> None:
        """A chain that a later update has again is another one, which does not drain."""
        self.update(self.ONE)
        self.update(self.ONE, self.TWO)
        again = self.mesh.redirect("127.0.0.1:2")
        self.says(again)
        self.assertFalse(again.ended)
        self.assertEqual([False, True, False], self.ended())

    def test_nothing_is_left(self) -> None:
        """A chain that is gone hears of no drain any more."""
        (listener,) = self.mesh.worker.listeners._listeners.values()
        before = len(listener.drain._watchers)
        self.update(self.ONE)
        self.ended()
        self.assertEqual(before - 1, len(listener.drain._watchers))


class GradualTests(DrainTestCase):
    """--drain-strategy gradual."""

    strategy = "gradual"

    def test_by_and_by(self) -> None:
        """Connections that carry bytes all the time go one by one, and with the end of the drain
        time the last one.
        """
        self.mesh.serve(CHECKED)
        clients = [self.pair()[0] for _ in range(20)]
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=True)
        left = []
        for _ in range(20):
            self.mesh.advance(1)
            for client in clients:
                if not client.ended:
                    self.says(client)
            left.append(sum(not client.ended for client in clients))
        self.assertEqual(sorted(left, reverse=True), left)
        self.assertTrue(len({*left}) > 3 and left[0] > 10, left)
        self.assertEqual(0, left[-1])


class ListenerDrainTests(MeshTestCase):
    """The decision."""

    def test_first_drain(self) -> None:
        """A listener whose drain has begun keeps its time when another one begins."""
        clock = self.mesh.clock
        times = DrainTimes(20, DrainStrategy.GRADUAL)
        proxy = ProxyDrain(clock, self.mesh.worker.context.random, times)
        drain = ListenerDrain(listener_message("l", FRONT), proxy)
        heard: list[str] = []
        drain.watch(lambda: heard.append("begins"))
        drain.tell()
        self.assertEqual((False, []), (drain.is_on, heard))
        drain.begin()
        self.mesh.advance(19)
        proxy.begin(DrainScope.ALL)
        drain.begin()
        self.mesh.advance(1)
        self.assertTrue(all(drain.is_due() for _ in range(100)))
        self.assertEqual((True, 2), (drain.is_on, len(heard)))
