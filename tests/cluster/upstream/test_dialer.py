"""How a cluster connects to its hosts: source addresses, options and the order of a host's
addresses.
"""

from __future__ import annotations

import socket
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.dialer import Dialer
from tcpmesh.testing.harness import Client
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.socket_options import ConnectOptions, SocketOption
from tests.mesh import parse

V4, V6 = Address("127.0.0.1", 80), Address("::1", 80)
SOURCE = "source_address: {address: 127.0.0.9, port_value: 0}"


def dialer(fields: str, default: str | None = None) -> Dialer:
    """The dialer of a cluster with these fields, in YAML, and of a proxy with this BindConfig."""
    bind_config = parse(address_pb2.BindConfig, default) if default is not None else None
    return Dialer(parse(cluster_pb2.Cluster, fields), MemoryNetwork(), bind_config)


class OptionTests(SynchronousTestCase):
    """The options of a connection."""

    def options(
        self, fields: str, address: Address = V4, default: str | None = None
    ) -> ConnectOptions | None:
        """Those of a connection to this address."""
        return dialer(fields, default).options(address)

    def test_none(self) -> None:
        """A cluster that says nothing, or nothing of weight, has none."""
        for fields in ("{}", "upstream_bind_config: {}", "upstream_connection_options: {}"):
            self.assertIsNone(self.options(fields))

    def test_source(self) -> None:
        """The source is that of the host's family; a connection to another family has none."""
        fields = f"upstream_bind_config: {{{SOURCE}, freebind: true}}"
        self.assertEqual(ConnectOptions(Address("127.0.0.9"), freebind=True), self.options(fields))
        found = self.options(fields, V6)
        self.assertTrue(found is not None and found.source is None)

    def test_extra_source(self) -> None:
        """extra_source_addresses has the source for the other family, with socket options of its
        own if it gives any.
        """
        option = "{level: 1, name: 2, int_value: %d, state: STATE_PREBIND}"
        fields = (
            f"upstream_bind_config: {{{SOURCE}, socket_options: [{option % 1}], "
            f"extra_source_addresses: "
            "[{address: {address: '::2', port_value: 7}%s}]}"
        )
        plain = ConnectOptions(Address("::2", 7), before_bind=(SocketOption(1, 2, 1),))
        self.assertEqual(plain, self.options(fields % "", V6))
        own = ConnectOptions(Address("::2", 7), before_bind=(SocketOption(1, 2, 3),))
        self.assertEqual(
            own, self.options(fields % f", socket_options: {{socket_options: [{option % 3}]}}", V6)
        )
        self.assertEqual(
            ConnectOptions(Address("::2", 7)), self.options(fields % ", socket_options: {}", V6)
        )

    def test_own_goes_before(self) -> None:
        """The bind config of the whole proxy is for clusters without one of their own."""
        default = "source_address: {address: 127.0.0.8, port_value: 0}"
        self.assertEqual(ConnectOptions(Address("127.0.0.8")), self.options("{}", default=default))
        self.assertEqual(
            ConnectOptions(Address("127.0.0.9")),
            self.options(f"upstream_bind_config: {{{SOURCE}}}", default=default),
        )

    def test_states(self) -> None:
        """Socket options are set before or after the socket is bound; those for listening are not
        for clients.
        """
        states = ("STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING")
        texts = ", ".join(
            f"{{level: 6, name: {n}, buf_value: AAE=, state: {state}}}"
            for n, state in enumerate(states)
        )
        self.assertEqual(
            ConnectOptions(
                before_bind=(SocketOption(6, 0, b"\0\1"),),
                after_bind=(SocketOption(6, 1, b"\0\1"),),
            ),
            self.options(f"upstream_bind_config: {{socket_options: [{texts}]}}"),
        )

    def test_keepalive(self) -> None:
        """tcp_keepalive turns probes on; what it does not say is left to the system."""
        on = SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        time = SocketOption(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        for fields, expected in (("{}", (on,)), ("{keepalive_time: 30}", (on, time))):
            found = self.options(f"upstream_connection_options: {{tcp_keepalive: {fields}}}", V6)
            self.assertEqual(ConnectOptions(before_bind=expected), found)

    def test_unix(self) -> None:
        """A unix socket has neither source nor options."""
        self.assertIsNone(self.options(f"upstream_bind_config: {{{SOURCE}}}", Address("/run/x")))


class RaceTests(SynchronousTestCase):
    """A host of several addresses."""

    def tried(self, fields: str) -> list[str]:
        """In what order the addresses of a host are tried, where all refuse."""
        network: Any = MemoryNetwork()
        order: list[str] = []
        connect = network.connect

        def spy(address: Address, *rest: Any) -> Any:
            order.append(str(address))
            return connect(address, *rest)

        network.connect = spy
        host = Host(
            HostSpec(
                V4,
                additional_addresses=tuple(
                    Address(*each) for each in (("127.0.0.2", 80), ("::1", 80), ("::2", 80))
                ),
            )
        )
        client = Client(RecordingProtocol())
        more: list[None] = []
        Dialer(parse(cluster_pb2.Cluster, fields), network).connect(
            host, client, 5, lambda: more.append(None)
        )
        network.pump()
        self.assertIsNotNone(client.failure)
        self.assertEqual(len(order) - 1, len(more))
        return order

    def test_families_take_turns(self) -> None:
        """The families take turns, beginning with that of the first address."""
        self.assertEqual(["127.0.0.1:80", "[::1]:80", "127.0.0.2:80", "[::2]:80"], self.tried("{}"))

    def test_configured(self) -> None:
        """happy_eyeballs_config says which family comes first, and how many of it in a row."""
        config = (
            "upstream_connection_options: {happy_eyeballs_config: "
            "{first_address_family_version: %s}}"
        )
        self.assertEqual(
            ["[::1]:80", "127.0.0.1:80", "[::2]:80", "127.0.0.2:80"], self.tried(config % "V6")
        )
        self.assertEqual(
            ["[::1]:80", "[::2]:80", "127.0.0.1:80", "127.0.0.2:80"],
            self.tried(config % "V6, first_address_family_count: 2"),
        )
