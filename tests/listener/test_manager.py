"""Listeners that come, change and go while traffic flows."""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError

import tcpmesh.extensions.filters.listener.proxy_protocol
import tcpmesh.extensions.filters.network.connection_limit  # noqa: F401 - their messages are known
from tcpmesh.net.listen import BindError
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.drain import DrainScope
from tests.mesh import MeshTestCase, listener_message, tcp_proxy

FILTERS = "type.googleapis.com/envoy.extensions.filters"
PROXY_PROTOCOL = f"{FILTERS}.listener.proxy_protocol.v3.ProxyProtocol"
LIMIT = f"{FILTERS}.network.connection_limit.v3.ConnectionLimit"
HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"


class ListenerManagerTests(MeshTestCase):
    """The manager alone."""

    def test_counts(self) -> None:
        """Listeners added, modified, removed and created are counted, and how many there are."""
        self.mesh.add_listener("a", "127.0.0.1:1", "[]")
        self.mesh.add_listener("b", "127.0.0.1:2", "[]")
        added = {"listener_added": 2, "total_listeners_active": 2}
        self.assertEqual(added, self.mesh.moved("listener_manager."))
        self.mesh.listeners.start()
        started = {**added, "listener_create_success": 2, "workers_started": 1}
        self.assertEqual(started, self.mesh.moved("listener_manager."))
        self.mesh.add_listener("b", "127.0.0.1:3", "[]")
        self.mesh.listeners.remove("a")
        changed = {
            "listener_modified": 1,
            "listener_removed": 1,
            "listener_create_success": 3,
            "total_listeners_active": 1,
            "total_listeners_draining": 2,
        }
        self.assertEqual({**started, **changed}, self.mesh.moved("listener_manager."))
        self.mesh.advance(600)
        self.assertEqual(0, self.mesh.stat("listener_manager.total_listeners_draining"))
        self.mesh.listeners.stop()
        self.assertEqual(1, self.mesh.stat("listener_manager.listener_stopped"))

    def test_messages_meanwhile(self) -> None:
        """Listeners may come and go while somebody goes through their messages."""
        self.mesh.add_listener("a", "127.0.0.1:1", "[]")
        self.mesh.add_listener("b", "127.0.0.1:2", "[]")
        messages = self.mesh.listeners.messages()
        self.assertEqual("a", next(messages).name)
        self.mesh.listeners.remove("a")
        self.assertEqual(["b"], [each.name for each in messages])

    def test_no_name(self) -> None:
        """A listener without name is found by its message, and changed by the name it has got."""
        message = listener_message("", "127.0.0.1:1")
        self.mesh.listeners.add_or_update(message)
        name = self.mesh.listeners.name_of(message)
        other = listener_message("", "127.0.0.1:2")
        self.assertEqual("", self.mesh.listeners.name_of(other))
        self.mesh.listeners.add_or_update(other, name)
        self.assertEqual([name], [each.name for each in self.mesh.listeners.statuses()])
        self.assertEqual(name, self.mesh.listeners.name_of(other))
        self.assertEqual({address_of("127.0.0.1:2")}, self.mesh.listeners.addresses())

    def test_draining(self) -> None:
        """Whether it was told to drain."""
        self.assertFalse(self.mesh.listeners.is_draining)
        self.mesh.listeners.drain(DrainScope.ALL, stops_listening=False)
        self.assertTrue(self.mesh.listeners.is_draining)

    def test_names(self) -> None:
        """The statistics that nothing moves yet are there at 0."""
        stats = self.mesh.stats("listener_manager.")
        counters = ("listener_create_failure", "listener_in_place_updated")
        gauges = (
            "total_filter_chains_draining",
            "total_listeners_draining",
            "total_listeners_warming",
            "workers_pinned",
        )
        self.assertEqual({0}, {stats[name] for name in (*counters, *gauges)})

    def test_equal(self) -> None:
        """A listener that is given again as it was stays untouched."""
        for _ in range(2):
            self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.assertEqual(0, self.mesh.stat("listener_manager.listener_modified"))

    def test_second_of_a_name(self) -> None:
        """Of several static listeners with one name the first counts."""
        messages = [listener_message("l", f"127.0.0.1:{port}") for port in (1, 2)]
        self.mesh.listeners.add_static(messages)
        (status,) = self.mesh.listeners.statuses()
        self.assertEqual(("127.0.0.1:1",), status.addresses)

    def test_several_without_name(self) -> None:
        """Static listeners without a name are all served."""
        self.mesh.listeners.add_static(
            [listener_message("", f"127.0.0.1:{port}") for port in (1, 2)]
        )
        self.assertEqual(2, len({status.name for status in self.mesh.listeners.statuses()}))

    def test_bind_error(self) -> None:
        """An address that cannot be bound is an error that names it, and what was there stays."""
        self.mesh.upstream("127.0.0.1:2")
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.listeners.start()
        failure = self.assertRaises(BindError, self.mesh.add_listener, "l", "127.0.0.1:2", "[]")
        self.assertIn("127.0.0.1:2", str(failure))
        self.mesh.connect("127.0.0.1:1")
        self.assertEqual(0, self.mesh.stat("listener_manager.listener_modified"))
        self.assertEqual({}, self.mesh.stats("listener.127.0.0.1_2."))

    def test_statuses(self) -> None:
        """Listeners are told in order, with the port that port 0 became once it is open."""
        self.mesh.add_listener("b", "127.0.0.1:0", "[]")
        self.mesh.add_listener("a", "/run/x.sock", "[]")
        self.mesh.listeners.start()
        first, second = self.mesh.listeners.statuses()
        self.assertEqual(("b", "a", ("/run/x.sock",)), (first.name, second.name, second.addresses))
        (address,) = first.addresses
        self.assertTrue(address.startswith("127.0.0.1:") and address != "127.0.0.1:0", address)
        self.mesh.connect(address)

    def test_remove_unknown(self) -> None:
        """To remove what is not there does nothing."""
        self.mesh.listeners.remove("l")
        self.assertEqual(0, self.mesh.stat("listener_manager.listener_removed"))

    def test_added_while_running(self) -> None:
        """A listener that is added after the start is open at once."""
        self.mesh.listeners.start()
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.connect()

    def test_stop(self) -> None:
        """After a stop nobody is accepted, and those connected are closed, of a listener that was
        removed before too, with what they are connected to; once they are gone the stop is over.
        """
        self.mesh.add_cluster("c", HOST)
        host = self.mesh.upstream(HOST)
        self.mesh.serve()
        self.mesh.add_listener("leaving", "127.0.0.1:2", tcp_proxy())
        clients = [self.mesh.connect(), self.mesh.connect("127.0.0.1:2")]
        self.mesh.listeners.remove("leaving")
        stopped = self.mesh.listeners.stop()
        self.assertNoResult(stopped)
        factory = self.mesh.dial()
        self.mesh.network.pump()
        self.assertTrue(factory.failure and factory.failure.check(ConnectionRefusedError))
        self.assertEqual([True] * 4, [each.ended for each in (*clients, *host.built)])
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual({}, self.mesh.stats("listener.127"))

    def test_stop_in_every_state(self) -> None:
        """A client that connects, one that its listener's filters look at and one that a filter
        holds up are closed too, and nothing is tried any more.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.network.silent.add(address_of(HOST))
        header = f"{{name: p, typed_config: {{'@type': {PROXY_PROTOCOL}}}}}"
        limit = f"{{name: l, typed_config: {{'@type': {LIMIT}, stat_prefix: l, delay: 60s}}}}"
        self.mesh.serve()
        self.mesh.add_listener(
            "looking", "127.0.0.1:2", tcp_proxy(), f"listener_filters: [{header}]"
        )
        self.mesh.add_listener("held", "127.0.0.1:3", f"[{limit}, {tcp_proxy()[1:]}")
        clients = [self.mesh.connect(f"127.0.0.1:{port}") for port in (1, 2, 3)]
        self.mesh.advance(1)
        stopped = self.mesh.listeners.stop()
        self.mesh.pump()
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual([True] * 3, [each.ended for each in clients])
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))


class WhileClientsStayTests(MeshTestCase):
    """Clients outlive the listener that accepted them."""

    def setUp(self) -> None:
        """A client connected through the listener l."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.mesh.add_cluster("d", OTHER)
        self.old, self.new = self.mesh.upstream(HOST), self.mesh.upstream(OTHER)
        self.mesh.serve()
        self.client = self.mesh.connect()

    def assert_alive(self) -> None:
        """Bytes still go both ways on the first connection."""
        server = self.old.built[0]
        self.client.transport.write(b"ping")
        server.transport.write(b"pong")
        self.mesh.network.pump()
        self.assertEqual((b"ping", b"pong"), (server.received, self.client.received))

    def leave(self) -> None:
        """The client goes."""
        self.client.transport.abortConnection()
        self.mesh.network.pump()

    def test_removed(self) -> None:
        """A removed listener refuses new clients, and serves those it has to their end."""
        self.mesh.listeners.remove("l")
        factory = self.mesh.dial()
        self.mesh.network.pump()
        self.assertFalse(factory.connected)
        self.assert_alive()

    def test_open_connections(self) -> None:
        """Clients of all listeners are counted, also of one that was replaced or removed, until
        they go.
        """
        self.mesh.add_listener("l", "127.0.0.1:4", tcp_proxy("cluster: d"))
        self.mesh.connect("127.0.0.1:4")
        self.assertEqual(2, self.mesh.main.connections)
        self.mesh.listeners.remove("l")
        self.assertEqual(2, self.mesh.main.connections)
        self.leave()
        self.assertEqual(1, self.mesh.main.connections)

    def test_open_connections_under_one_name(self) -> None:
        """A listener that leaves has its clients counted by itself, also where others count under
        its stat_prefix.
        """
        for name, address in (("m", "127.0.0.1:5"), ("n", "127.0.0.1:6")):
            self.mesh.add_listener(name, address, tcp_proxy(), "stat_prefix: s")
            self.mesh.connect(address)
        self.mesh.listeners.remove("m")
        self.mesh.listeners.remove("n")
        self.assertEqual(3, self.mesh.main.connections)
        self.leave()
        self.assertEqual(2, self.mesh.main.connections)

    def test_removed_names(self) -> None:
        """The statistics of a removed listener and of its filters go with its last client."""
        second = self.mesh.connect()
        self.mesh.listeners.remove("l")
        self.leave()
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        self.assertEqual(2, self.mesh.stat("tcp.t.downstream_cx_total"))
        second.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual({}, self.mesh.stats("listener.127.0.0.1_1."))
        self.assertEqual({}, self.mesh.stats("tcp.t."))

    def test_removed_without_clients(self) -> None:
        """The statistics of a listener without clients go at once."""
        self.leave()
        self.mesh.listeners.remove("l")
        self.assertEqual({}, self.mesh.stats("listener.127.0.0.1_1."))
        self.assertEqual({}, self.mesh.stats("tcp.t."))

    def test_replaced(self) -> None:
        """A replaced listener's clients stay on the old chain, and new clients get the new one."""
        self.mesh.add_listener("l", "127.0.0.1:4", tcp_proxy("cluster: d"))
        self.assert_alive()
        self.mesh.connect("127.0.0.1:4")
        self.assertEqual((1, 1), (len(self.old.built), len(self.new.built)))

    def test_replaced_names(self) -> None:
        """Statistics that the successor has too live on with their values, when the predecessor's
        last client has left.
        """
        self.mesh.add_listener("l", "127.0.0.1:4", tcp_proxy("cluster: d"))
        self.mesh.connect("127.0.0.1:4")
        self.leave()
        self.assertEqual(2, self.mesh.stat("tcp.t.downstream_cx_total"))
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_4.downstream_cx_active"))
        self.assertEqual({}, self.mesh.stats("listener.127.0.0.1_1."))

    def test_bytes_of_both(self) -> None:
        """Bytes of the predecessor's clients and of the successor's are counted together, in
        counters and gauges.
        """
        self.mesh.add_listener("l", "127.0.0.1:4", tcp_proxy("cluster: d"))
        second = self.mesh.connect("127.0.0.1:4")
        for client, upstream in ((self.client, self.old), (second, self.new)):
            upstream.built[0].transport.pauseProducing()
            client.transport.write(b"x" * 100_000)
        self.mesh.network.pump()
        self.assertEqual(200_000, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))
        waiting = [self.mesh.stat(f"cluster.{name}.upstream_cx_tx_bytes_buffered") for name in "cd"]
        self.assertTrue(all(waiting), waiting)
        self.assertEqual(sum(waiting), self.mesh.stat("tcp.t.downstream_cx_rx_bytes_buffered"))
