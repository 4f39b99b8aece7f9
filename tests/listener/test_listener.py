"""A listener: what its message says, whom it accepts, and what it counts."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from typing import Any

from envoy.config.listener.v3 import listener_pb2

from twisted.internet.error import ConnectionDone

from tcpmesh.listener.listen_socket import ListenSocket, listen_sockets_of
from tcpmesh.listener.listener import Listener
from tcpmesh.net.listen import BindError, bind
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions
from tests.mesh import MeshTestCase, listener_message, parse, tcp_proxy

HOST = "127.0.0.2:80"
TWO_MORE = """additional_addresses:
- address: {socket_address: {address: "::1", port_value: 2}}
- address: {socket_address: {address: 127.0.0.5, port_value: 3}}
"""


class FieldTests(MeshTestCase):
    """What the fields of the message mean."""

    def listener(self, address: str = "127.0.0.1:1", more: str = "", name: str = "l") -> Listener:
        """A listener that is not bound."""
        return Listener(listener_message(name, address, more=more), self.mesh.worker.context)

    def test_name(self) -> None:
        """A listener without a name gets one of its own."""
        for port in (1, 2):
            self.mesh.add_listener("", f"127.0.0.1:{port}", "[]")
        first, second = self.mesh.worker.listeners._listeners.values()
        self.assertTrue(first.name)
        self.assertNotEqual(first.name, second.name)

    def test_scope(self) -> None:
        """Statistics go by the address that is configured, with underscores for colons, or by
        stat_prefix.
        """
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
            self.assertIn("downstream_cx_total", self.mesh.stats(f"listener.{scope}."))
            listener.close()
        self.assertEqual({}, self.mesh.stats("listener."))

    def test_names(self) -> None:
        """Every statistic that Envoy has for a listener is there at 0."""
        self.listener()
        expected = (
            "downstream_cx_total downstream_cx_destroy downstream_cx_overflow "
            "downstream_global_cx_overflow"
            " downstream_cx_overload_reject downstream_cx_transport_socket_connect_timeout "
            "downstream_pre_cx_timeout"
            " downstream_listener_filter_remote_close downstream_listener_filter_error "
            "no_filter_chain_match"
            " extension_config_missing network_extension_config_missing downstream_cx_active "
            "downstream_pre_cx_active"
            " worker_0.downstream_cx_total worker_0.downstream_cx_active"
        )
        self.assertEqual(
            dict.fromkeys(expected.split(), 0), self.mesh.stats("listener.127.0.0.1_1.")
        )
        names = {histogram.name for histogram in self.mesh.store.histograms()}
        for name in ("downstream_cx_length_ms", "connections_accepted_per_socket_event"):
            self.assertIn(f"listener.127.0.0.1_1.{name}", names)

    def test_stats_matcher(self) -> None:
        """A listener with a matcher of its own has those of its names, and of its filters', that
        this lets pass, until its last client has left.
        """
        matcher = "stats_matcher: {inclusion_list: {patterns: [{suffix: cx_total}]}}"
        self.mesh.add_cluster("c", "127.0.0.2:80")
        self.mesh.add_listener("l", "127.0.0.1:1", tcp_proxy(), more=matcher)
        self.mesh.listeners.start()
        client = self.mesh.connect()
        self.assertEqual(
            {"downstream_cx_total": 1, "worker_0.downstream_cx_total": 1},
            self.mesh.stats("listener.127.0.0.1_1."),
        )
        self.assertEqual({"downstream_cx_total": 1}, self.mesh.stats("tcp.t."))
        self.mesh.listeners.remove("l")
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual({}, self.mesh.stats("listener.127"))

    def test_default_options(self) -> None:
        """By default a port is shared, the accept queue is the longest there is, and nothing limits
        an event's accepts.
        """
        self.assertEqual(
            ListenOptions(reuse_port=True, backlog=None, mode=None, accepts_per_event=0),
            self.options(""),
        )

    def test_options(self) -> None:
        """Each option of the socket comes from its field, also where that says no or 0."""
        text = (
            "{enable_reuse_port: false, tcp_backlog_size: 0, "
            "max_connections_to_accept_per_socket_event: 3}"
        )
        self.assertEqual(
            ListenOptions(reuse_port=False, backlog=0, accepts_per_event=3), self.options(text)
        )
        self.assertEqual(0o600, self.options("address: {pipe: {path: /run/x, mode: 384}}").mode)

    def test_socket_options_of_fields(self) -> None:
        """transparent, freebind, keepalive and fast open are options of the socket, set before
        those of `socket_options`; what only some addresses have is theirs.
        """
        text = """{address: {socket_address: {address: '::', ipv4_compat: true}},
            transparent: true, freebind: true, tcp_fast_open_queue_length: 5, enable_mptcp: true,
            tcp_keepalive: {keepalive_time: 9},
            socket_options: [{level: 1, name: 2, int_value: 3}],
            additional_addresses: [
            {address: {socket_address: {network_namespace_filepath: /ns}}, tcp_keepalive: {}}]}"""
        first, second = self.all_options(text)
        v6, v4 = (socket.IPPROTO_IPV6, 75), (socket.IPPROTO_IP, 19)
        alive = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        own = (1, 2)
        names = [
            [(each.level, each.name) for each in options.before_bind] for options in (first, second)
        ]
        self.assertEqual(
            [
                [v6, (socket.IPPROTO_IPV6, 78), alive, idle, own],
                [v4, (socket.IPPROTO_IP, 15), alive, own],
            ],
            names,
        )
        both = (first, second)
        after = [options.after_bind[0] for options in both]
        self.assertEqual([v6, v4], [(each.level, each.name) for each in after])
        self.assertEqual(
            [(True, ""), (False, "/ns")],
            [(options.dual_stack, options.namespace) for options in both],
        )
        self.assertEqual([5, 5], [options.after_listen[0].value for options in both])
        self.assertTrue(first.multipath)

    def test_found_by_ipv4(self) -> None:
        """A listener that takes IPv4 on an IPv6 address is also found by the address of IPv4."""
        both = "address: {socket_address: {address: '::', port_value: 9, ipv4_compat: true}}"
        self.mesh.listeners.add_or_update(
            parse(listener_pb2.Listener, f"{{name: l, {both}, filter_chains: [{{}}]}}")
        )
        find = self.mesh.worker.listeners.find
        self.assertIsNotNone(find(Address("10.0.0.1", 9)))
        self.assertIs(find(Address("fd00::1", 9)), find(Address("10.0.0.1", 9)))

    def options(self, text: str) -> ListenOptions:
        """How a listener of these fields would bind."""
        return self.all_options(text)[0]

    def all_options(self, text: str) -> list[ListenOptions]:
        """How it would bind each of its addresses."""
        message = parse(listener_pb2.Listener, text)
        sockets = listen_sockets_of(message, self.mesh.network, ListenSocket)
        return [each.options for each in sockets]

    def test_additional_options(self) -> None:
        """An additional address has the listener's socket options, or its own instead; the mode is
        that of its own pipe.
        """
        option = "{socket_options: [{level: 6, name: %d, int_value: 1}]}"
        addresses = (
            "[{address: {pipe: {path: /x, mode: 384}}}, {socket_options: %s}, {socket_options: {}}]"
            % (option % 2)
        )
        found = self.all_options(
            f"{{tcp_backlog_size: 5, additional_addresses: {addresses}, {(option % 1)[1:]}"
        )
        self.assertEqual(
            [(1,), (1,), (2,), ()],
            [tuple(each.name for each in options.before_bind) for options in found],
        )
        self.assertEqual(
            [(5, None), (5, 0o600), (5, None), (5, None)],
            [(each.backlog, each.mode) for each in found],
        )


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
        self.assertEqual(
            (3, 3), self.mesh.times("listener.127.0.0.1_1.connections_accepted_per_socket_event")
        )

    def test_empty_chain(self) -> None:
        """A chain without filters closes every client and counts it as one whose filters are
        missing; there is no flag for that.
        """
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.listeners.start()
        client = self.mesh.connect()
        self.assertEqual(["made", "eof"], client.events)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost_to(ConnectionDone))
        self.assertEqual("-", self.flags())
        self.assertEqual(
            {
                "downstream_cx_total": 1,
                "downstream_cx_destroy": 1,
                "worker_0.downstream_cx_total": 1,
                "network_extension_config_missing": 1,
            },
            self.mesh.moved("listener.127.0.0.1_1."),
        )

    def test_no_chain(self) -> None:
        """Where no chain takes a client it is closed, flagged NR and counted as
        no_filter_chain_match.
        """
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
        self.assertEqual(
            5, len({connection.stream_info.id for connection in self.mesh.connections})
        )

    def test_families(self) -> None:
        """IPv6 and unix sockets serve like IPv4, on both sides."""
        addresses = ("127.0.0.1:1", "[::1]:1", "/run/down.sock")
        for number, (near, far) in enumerate(
            (a, b) for a in addresses for b in ("127.0.0.2:80", "[::1]:80", "/run/up.sock")
        ):
            mesh = self.make_mesh(number)
            mesh.add_cluster("c", far)
            upstream = mesh.upstream(far)
            mesh.add_listener("l", near, tcp_proxy())
            mesh.listeners.start()
            client = mesh.connect(near)
            client.transport.write(b"hello")
            mesh.network.pump()
            self.assertEqual(b"hello", upstream.built[0].received, (near, far))

    def test_additional_addresses(self) -> None:
        """All addresses serve and are shown, and count under the first."""
        self.mesh.add_listener("l", "127.0.0.1:1", "[]", TWO_MORE)
        self.assertEqual(
            [("127.0.0.1:1", "[::1]:2", "127.0.0.5:3")],
            [each.addresses for each in self.mesh.listeners.statuses()],
        )
        self.mesh.listeners.start()
        for address in ("127.0.0.1:1", "[::1]:2", "127.0.0.5:3"):
            self.assertEqual(["made", "eof"], self.mesh.connect(address).events)
        self.assertEqual(3, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_total"))
        listener = self.mesh.worker.listeners.find(Address("127.0.0.1", 1))
        self.assertIsNotNone(listener)
        self.assertIs(listener, self.mesh.worker.listeners.find(Address("127.0.0.5", 3)))

    def test_limits_reach_the_transport(self) -> None:
        """A client's buffer limit is the listener's."""
        for port, more, expected in (
            (1, "per_connection_buffer_limit_bytes: 5000", 5000),
            (2, "", 1 << 20),
        ):
            self.mesh.add_listener("l", f"127.0.0.1:{port}", "[]", more)
            self.mesh.listeners.start()
            self.mesh.connect(f"127.0.0.1:{port}")
            self.assertEqual(expected, self.mesh.connections[-1].transport.high_watermark)


class BindTests(MeshTestCase):
    """Sockets of the system."""

    def bound(self, message: Any) -> tuple[Listener, socket.socket]:
        """A listener of this message, and the socket it binds."""
        self.patch(self.mesh.network, "bind", bind)
        listener = Listener(message, self.mesh.worker.context)
        listener.bind()
        self.addCleanup(listener.close)
        sock = listener.listen_sockets[0]._sock
        assert sock is not None
        return listener, sock

    def test_port_is_ours_before_it_is_open(self) -> None:
        """A bound socket already refuses other processes the port where it is not shared, and does
        not accept.
        """
        _, sock = self.bound(listener_message("l", "127.0.0.1:0", more="enable_reuse_port: false"))
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, sock.getsockname())
            self.assertRaises(ConnectionRefusedError, other.connect, sock.getsockname())

    def test_one_cannot_be_bound(self) -> None:
        """Where one of several addresses cannot be bound the listener is not there, and none of the
        others stays taken.
        """
        self.patch(self.mesh.network, "bind", bind)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        taken = socket.create_server(("127.0.0.2", 0))
        self.addCleanup(taken.close)
        other = taken.getsockname()[1]
        more = (
            f"additional_addresses: [{{address: {{socket_address: {{address: 127.0.0.2, "
            f"port_value: {other}}}}}}}]"
        )
        self.assertRaises(BindError, self.mesh.add_listener, "l", f"127.0.0.1:{port}", "[]", more)
        socket.create_server(("127.0.0.1", port)).close()

    def test_pipe_mode(self) -> None:
        """A unix socket gets the permissions asked for."""
        folder = tempfile.mkdtemp()  # mktemp's path is too long for a unix socket
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "socket")
        self.bound(
            parse(
                listener_pb2.Listener,
                f"{{address: {{pipe: {{path: {path!r}, mode: 416}}}}, filter_chains: [{{}}]}}",
            )
        )
        self.assertEqual(0o640, os.stat(path).st_mode & 0o777)
