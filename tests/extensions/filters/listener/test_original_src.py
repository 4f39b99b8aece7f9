"""The listener filter original_src: where connections to hosts come from."""

from __future__ import annotations

import socket
from typing import Any

from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from zope.interface.verify import verifyClass

from tcpmesh.connection.transport_sockets import options_of
from tcpmesh.extensions.filters.listener.original_src import SO_MARK, OriginalSrc
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, SocketOption, transparent
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE
from tests.extensions.filters.listener.inspected import HOST, ListenerFilterTestCase
from tests.mesh import FRONT
from tests.wire.test_proxy_protocol import v1

TYPE = f"type.googleapis.com/{original_src_pb2.OriginalSrc.DESCRIPTOR.full_name}"
READER = f"type.googleapis.com/{proxy_protocol_pb2.ProxyProtocol.DESCRIPTOR.full_name}"
MARK = SocketOption(socket.SOL_SOCKET, SO_MARK, 7)


class OriginalSrcTests(ListenerFilterTestCase):
    """Where hosts see clients come from."""

    def serve_original(self, fields: str = "", before: str = "", address: str = FRONT) -> None:
        """A listener with the filter."""
        self.serve_filter(TYPE, fields, before=before, address=address)

    @property
    def options(self) -> ConnectOptions | None:
        """How the socket of the last client's upstream connection was made ready."""
        return options_of(self.connection.stream_info).socket

    @property
    def seen(self) -> str:
        """Where the host has seen its last connection come from."""
        return str(self.upstream.built[-1].transport.getPeer().host)

    def test_interface(self) -> None:
        """It is a listener filter."""
        verifyClass(IListenerFilter, OriginalSrc)

    def test_client(self) -> None:
        """The host sees the client's address, from a port of the kernel's choice."""
        self.serve_original()
        client = self.send(b"hi")
        own = client.transport.getHost()
        self.assertEqual(own.host, self.seen)
        wanted = ConnectOptions(Address(own.host), before_bind=(transparent(socket.AF_INET),))
        self.assertEqual(wanted, self.options)
        self.assertEqual(b"hi", self.upstream.built[-1].received)

    def test_header(self) -> None:
        """After a PROXY header it is the address that this has given, of either family, with the
        mark.
        """
        self.serve_original("mark: 7", f"{{name: p, typed_config: {{'@type': {READER}}}}}, ")
        self.send(v1("TCP4", "192.0.2.1", "192.0.2.2", 11, 22))
        self.assertEqual("192.0.2.1", self.seen)
        self.send(v1("TCP6", "2001:db8::1", "2001:db8::2", 11, 22))
        options = (transparent(socket.AF_INET6), MARK)
        self.assertEqual(ConnectOptions(Address("2001:db8::1"), before_bind=options), self.options)

    def test_cluster(self) -> None:
        """Options of the cluster hold too, but for its source."""
        bind = (
            "upstream_bind_config: {source_address: {address: 127.0.0.9, port_value: 0}, "
            "socket_options: [{level: 1, name: 2, int_value: 3, state: STATE_PREBIND}]}"
        )
        self.mesh.add_cluster("c", HOST, more=bind)
        asked = []
        connect = self.mesh.network.connect

        def record(
            address: Any, factory: Any, timeout: float, options: Any = None, *more: Any
        ) -> Any:
            asked.append(options)
            return connect(address, factory, timeout, options, *more)

        self.patch(self.mesh.network, "connect", record)
        self.serve_original()
        client = self.send(b"hi")
        self.assertEqual(client.transport.getHost().host, self.seen)
        self.assertEqual(
            (SocketOption(1, 2, 3), transparent(socket.AF_INET)), asked[-1].before_bind
        )

    def test_unix(self) -> None:
        """For a client of a unix socket nothing is done."""
        self.serve_original(address="/socket")
        self.send(b"hi", address="/socket")
        self.assertIs(NO_FILTER_STATE, self.connection.stream_info.filter_state)
        self.assertEqual(b"hi", self.upstream.built[-1].received)

    def test_pools(self) -> None:
        """A connection that is made ahead comes from its client's address, and no other client
        gets it.
        """
        self.mesh.add_cluster(
            "c", HOST, more="preconnect_policy: {per_upstream_preconnect_ratio: 2}"
        )
        self.serve_original("", f"{{name: p, typed_config: {{'@type': {READER}}}}}, ")
        for number in (1, 2):
            self.send(v1("TCP4", f"192.0.2.{number}", "192.0.2.9", 11, 22) + b"%d" % number)
        seen = [(each.transport.getPeer().host, each.received) for each in self.upstream.built]
        self.assertEqual(
            [(f"192.0.2.{number}", data) for number in (1, 2) for data in (b"", b"%d" % number)],
            sorted((host, bytes(data)) for host, data in seen),
        )
