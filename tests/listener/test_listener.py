"""A listener: what its message says, whom it accepts, and what it counts."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from typing import Any

from envoy.config.listener.v3 import listener_pb2

from twisted.internet.error import ConnectionDone

from tcpmesh.listener.listener import Listener, _listen_options
from tcpmesh.net.listen import ListenOptions, bind
from tests.mesh import MeshTestCase, listener_message, parse, tcp_proxy

HOST = "127.0.0.2:80"


class FieldTests(MeshTestCase):
    """What the fields of the message mean."""

    def listener(self, address: str = "127.0.0.1:1", more: str = "", name: str = "l") -> Listener:
        """A listener that is not bound."""
        return Listener(listener_message(name, address, more=more), self.mesh.context)

    def test_name(self) -> None:
        """A listener without a name gets one of its own."""
        first, second = self.listener(name=""), self.listener(name="")
        self.assertTrue(first.name)
        self.assertNotEqual(first.name, second.name)

    def test_scope(self) -> None:
        """Statistics go by the address that is configured, with underscores for colons, or by stat_prefix."""
        cases = {
            ("127.0.0.1:80", ""): "127.0.0.1_80",
            ("127.0.0.1:0", ""): "127.0.0.1_0",
            ("[::1]:80", ""): "[__1]_80",
            ("/run/x.sock", ""): "/run/x.sock",
            ("@name", ""): "@name",
            ("127.0.0.1:80", "stat_prefix: 'a:b'"): "a_b",
        }
        for (address, more), scope in cases.items():
            listener = self.listener(address, more)
            self.assertIn(f"listener.{scope}.downstream_cx_total", {counter.name for counter in self.mesh.store.counters()})
            listener.close()
        self.assertEqual({}, self.mesh.stats("listener."))

    def test_names(self) -> None:
        """Every statistic that Envoy has for a listener is there at 0."""
        self.listener()
        expected = (
            "downstream_cx_total downstream_cx_destroy downstream_cx_overflow downstream_global_cx_overflow"
            " downstream_cx_overload_reject downstream_cx_transport_socket_connect_timeout downstream_pre_cx_timeout"
            " downstream_listener_filter_remote_close downstream_listener_filter_error no_filter_chain_match"
            " extension_config_missing network_extension_config_missing downstream_cx_active downstream_pre_cx_active"
            " worker_0.downstream_cx_total worker_0.downstream_cx_active"
        )
        self.assertEqual(dict.fromkeys(expected.split(), 0), self.mesh.stats("listener.127.0.0.1_1."))
        names = {histogram.name for histogram in self.mesh.store.histograms()}
        for name in ("downstream_cx_length_ms", "connections_accepted_per_socket_event"):
            self.assertIn(f"listener.127.0.0.1_1.{name}", names)

    def test_default_options(self) -> None:
        """By default a port is shared, the accept queue is the longest there is, and nothing limits an event's accepts."""
        self.assertEqual(ListenOptions(reuse_port=True, backlog=None, mode=None, accepts_per_event=0), self.options(""))

    def test_options(self) -> None:
        """Each option of the socket comes from its field, also where that says no or 0."""
        text = "{enable_reuse_port: false, tcp_backlog_size: 0, max_connections_to_accept_per_socket_event: 3}"
        self.assertEqual(ListenOptions(reuse_port=False, backlog=0, accepts_per_event=3), self.options(text))
        self.assertEqual(0o600, self.options("address: {pipe: {path: /run/x, mode: 384}}").mode)

    def options(self, text: str) -> ListenOptions:
        """How a listener of these fields would bind."""
        return _listen_options(parse(listener_pb2.Listener, text))


class AcceptTests(MeshTestCase):
    """Clients of a listener."""

    def test_closed_until_started(self) -> None:
        """A listener is bound before it is opened, and refuses until then."""
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        factory = self.mesh.dial()
        self.mesh.network.pump()
        self.assertFalse(factory.connected)
        self.mesh.listeners.start()
        self.mesh.connect()

    def test_accepted_in_event(self) -> None:
        """How many clients each event of the socket has brought is recorded."""
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.listeners.start()
        for _ in range(3):
            self.mesh.connect()
        self.assertEqual((3, 3), self.mesh.times("listener.127.0.0.1_1.connections_accepted_per_socket_event"))

    def test_empty_chain(self) -> None:
        """A chain without filters closes every client, and there is no flag for that."""
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.listeners.start()
        client = self.mesh.connect()
        self.assertEqual(["made", "eof"], client.events)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost_to(ConnectionDone))
        self.assertEqual("-", self.flags())
        self.assertEqual(
            {"downstream_cx_total": 1, "downstream_cx_destroy": 1, "worker_0.downstream_cx_total": 1},
            self.mesh.moved("listener.127.0.0.1_1."),
        )

    def test_no_chain(self) -> None:
        """Where no chain takes a client it is closed, flagged NR and counted as no_filter_chain_match."""
        message = listener_message("l", "127.0.0.1:1")
        del message.filter_chains[:]
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual("NR", self.flags())
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.no_filter_chain_match"))
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_default_chain(self) -> None:
        """Where there are no other chains the default one serves."""
        self.mesh.add_cluster("c", HOST)
        upstream = self.mesh.upstream(HOST)
        message = listener_message("l", "127.0.0.1:1", tcp_proxy())
        message.default_filter_chain.MergeFrom(message.filter_chains[0])
        del message.filter_chains[:]
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()
        self.mesh.connect()
        self.assertEqual(1, len(upstream.built))

    def test_ids(self) -> None:
        """Every client has a number of its own."""
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.listeners.start()
        for _ in range(5):
            self.mesh.connect()
        self.assertEqual(5, len({connection.id for connection in self.mesh.connections}))

    def test_families(self) -> None:
        """IPv6 and unix sockets serve like IPv4, on both sides."""
        addresses = ("127.0.0.1:1", "[::1]:1", "/run/down.sock")
        for number, (near, far) in enumerate((a, b) for a in addresses for b in ("127.0.0.2:80", "[::1]:80", "/run/up.sock")):
            mesh = self.make_mesh(number)
            mesh.add_cluster("c", far)
            upstream = mesh.upstream(far)
            mesh.add_listener("l", near, tcp_proxy())
            mesh.listeners.start()
            client = mesh.connect(near)
            client.transport.write(b"hello")
            mesh.network.pump()
            self.assertEqual(b"hello", upstream.built[0].received, (near, far))

    def test_limits_reach_the_transport(self) -> None:
        """A client's buffer limit is the listener's."""
        for port, more, expected in ((1, "per_connection_buffer_limit_bytes: 5000", 5000), (2, "", 1 << 20)):
            self.mesh.add_listener("l", f"127.0.0.1:{port}", "[]", more)
            self.mesh.listeners.start()
            self.mesh.connect(f"127.0.0.1:{port}")
            self.assertEqual(expected, self.mesh.connections[-1].transport.high_watermark)


class BindTests(MeshTestCase):
    """Sockets of the system."""

    def bound(self, message: Any) -> tuple[Listener, socket.socket]:
        """A listener of this message, and the socket it binds."""
        self.patch(self.mesh.network, "bind", bind)
        listener = Listener(message, self.mesh.context)
        listener.bind()
        self.addCleanup(listener.close)
        assert listener._sock is not None
        return listener, listener._sock

    def test_port_is_ours_before_it_is_open(self) -> None:
        """A bound socket already refuses other processes the port where it is not shared, and does not accept."""
        _, sock = self.bound(listener_message("l", "127.0.0.1:0", more="enable_reuse_port: false"))
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, sock.getsockname())
            self.assertRaises(ConnectionRefusedError, other.connect, sock.getsockname())

    def test_pipe_mode(self) -> None:
        """A unix socket gets the permissions asked for."""
        folder = tempfile.mkdtemp()  # mktemp's path is too long for a unix socket
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "socket")
        self.bound(parse(listener_pb2.Listener, f"{{address: {{pipe: {{path: {path!r}, mode: 416}}}}, filter_chains: [{{}}]}}"))
        self.assertEqual(0o640, os.stat(path).st_mode & 0o777)
