"""The transport socket proxy_protocol: what hosts are told before anything else is said."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import yaml
from envoy.config.core.v3.proxy_protocol_pb2 import PerHostConfig
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from google.protobuf.json_format import ParseDict
from zope.interface.verify import verifyClass

from tcpmesh.extensions.transport_sockets.proxy_protocol import HOST_METADATA, ProxyProtocolSocket
from tcpmesh.interfaces import (
    IPerClientTransportSocketFactory,
    IReadyAtOnce,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.net.timer_wheel import GAP
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.harness import Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.wrappers import FramingTransport, WrappingFactory
from tcpmesh.values.address import Address
from tcpmesh.values.stream.transport_socket_options import (
    NO_OPTIONS,
    ProxyProtocolOptions,
    TransportSocketOptions,
)
from tcpmesh.wire.proxy_protocol import LOCAL_V2, UNKNOWN_V1
from tests import transport_sockets
from tests.mesh import FRONT, MeshTestCase, cluster_message, parse, tcp_proxy
from tests.transport_sockets import socket_yaml
from tests.wire.test_proxy_protocol import raw, tlv, v1, v2

TYPE = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport.DESCRIPTOR.full_name
READER = f"type.googleapis.com/{proxy_protocol_pb2.ProxyProtocol.DESCRIPTOR.full_name}"
PER_HOST = f"type.googleapis.com/{PerHostConfig.DESCRIPTOR.full_name}"
BUFFER = f"type.googleapis.com/{raw_buffer_pb2.RawBuffer.DESCRIPTOR.full_name}"
RAW = f"transport_socket: {{name: raw, typed_config: {{'@type': {BUFFER}}}}}"
HOST = "127.0.0.2:80"
ALL = "pass_through_tlvs: {}"
EA, AUTHORITY = tlv(0xEA, b"abc"), tlv(2, b"a.test")


def header_socket(config: str = "version: V2", inner: str = RAW, more: str = "") -> str:
    """The field `transport_socket`, with this `ProxyProtocolConfig`."""
    return (
        f"transport_socket: {{name: p, typed_config: {{'@type': type.googleapis.com/{TYPE}, "
        f"config: {{{config}}}, {inner}{more}}}}}"
    )


class HeaderTestCase(MeshTestCase):
    """A tcp_proxy before a cluster whose hosts are sent headers."""

    def setUp(self) -> None:
        """A host."""
        super().setUp()
        self.upstream = self.mesh.upstream(HOST)

    def serve(
        self, socket: str, proxy: str = "", reader: str | None = None, cluster: str = ""
    ) -> None:
        """Serve; `reader` has the fields of a listener filter proxy_protocol."""
        self.mesh.add_cluster("c", HOST, more=f"{socket}\n{cluster}")
        filters = f"listener_filters: [{{name: p, typed_config: {{'@type': {READER}, {reader}}}}}]"
        more = filters if reader is not None else ""
        self.mesh.add_listener("l", FRONT, tcp_proxy(f"cluster: c, {proxy}"), more)
        self.mesh.listeners.start()

    def send(self, data: bytes = b"hi", address: str = FRONT) -> Any:
        """A client that sends this; all has happened then."""
        client = self.mesh.connect(address)
        client.transport.write(data)
        self.mesh.pump()
        return client

    @property
    def received(self) -> bytes:
        """What the host has got over its last connection."""
        return bytes(self.upstream.built[-1].received)


class HeaderTests(HeaderTestCase):
    """What is in a header."""

    def test_interfaces(self) -> None:
        """It is a transport socket towards hosts that tells clients apart."""
        verifyClass(IUpstreamTransportSocketFactory, ProxyProtocolSocket)
        verifyClass(IPerClientTransportSocketFactory, ProxyProtocolSocket)

    def test_client(self) -> None:
        """A host is told the client's addresses, in version 1 where nothing is said, and then
        nothing stands between it and the client.
        """
        for version in ("", "version: V1", "version: V2"):
            self.serve(header_socket(version))
            client = self.send()
            port = client.transport.getHost().port
            ends = (client.transport.getHost().host, "127.0.0.1", port, 1)
            header = v2(*ends) if version == "version: V2" else v1("TCP4", *ends)
            self.assertEqual(header + b"hi", self.received)
            self.upstream.built[-1].transport.write(b"answer")
            self.mesh.pump()
            self.assertEqual(b"answer", client.received)
            self.mesh.listeners.remove("l")

    def test_before_the_client_speaks(self) -> None:
        """The header is sent once the connection is there; it is among the cluster's bytes, and
        not among the client's.
        """
        self.serve(header_socket())
        client = self.send(b"")
        self.assertEqual(28, len(self.received))
        client.transport.write(b"hi")
        self.mesh.pump()
        self.assertEqual(30, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))
        self.assertEqual((2, 2), self.mesh.connections[-1].stream_info.bytes[:2])

    def test_after_a_header(self) -> None:
        """A client that came with a header is told of as that has said, without its extensions."""
        self.serve(header_socket(), reader="")
        self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=EA) + b"hi")
        self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 22) + b"hi", self.received)
        self.send(v1("TCP6", "2001:db8::1", "2001:db8::2", 11, 22) + b"hi")
        self.assertEqual(v2("2001:db8::1", "2001:db8::2", 11, 22) + b"hi", self.received)

    def test_after_local(self) -> None:
        """One that came with LOCAL has its own addresses."""
        self.serve(header_socket(), reader=ALL)
        client = self.send(raw(0x20, 0, EA) + b"hi")
        host, port = client.transport.getHost().host, client.transport.getHost().port
        self.assertEqual(v2(host, "127.0.0.1", port, 1) + b"hi", self.received)

    def test_passing(self) -> None:
        """Extensions pass where both sides let them, in order, be they twice; a version 1 header
        has none.
        """
        said = EA + AUTHORITY + EA
        some = "pass_through_tlvs: {match_type: INCLUDE, tlv_type: [2, 7]}"
        none = "pass_through_tlvs: {match_type: INCLUDE}"
        for reads, writes, passing in (
            (ALL, ALL, said),
            (ALL, "", b""),
            ("", ALL, b""),
            (ALL, some, AUTHORITY),
            (some, ALL, AUTHORITY),
            (ALL, none, b""),
        ):
            self.serve(header_socket(f"version: V2, {writes}"), reader=reads)
            self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=said))
            self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=passing), self.received)
            self.mesh.listeners.remove("l")
        self.serve(header_socket(ALL), reader=ALL)
        self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=said))
        self.assertEqual(v1("TCP4", "1.2.3.4", "5.6.7.8", 11, 22), self.received)

    def test_added(self) -> None:
        """added_tlvs come first, and in place of what passes of their types; formats see the
        connection to the host, and one that makes nothing adds nothing.
        """
        text = "%DOWNSTREAM_REMOTE_ADDRESS% %UPSTREAM_HOST% %CONNECTION_ID% %LISTENER_NAME%"
        formats = (
            f'{{type: 1, format_string: {{text_format: "{text}"}}}}, '
            '{type: 3, format_string: {text_format: ""}}'
        )
        values = "{type: 234, value: aGVsbG8=}, {type: 234, value: YQ==}"
        config = f"version: V2, {ALL}, added_tlvs: [{values}, {formats}]"
        self.serve(header_socket(config), reader=ALL)
        self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=EA + AUTHORITY))
        number = self.mesh.connections[-1].stream_info.id + 1
        added = tlv(0xEA, b"hello") + tlv(0xEA, b"a") + tlv(1, f"{HOST} {HOST} {number} -".encode())
        self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=added + AUTHORITY), self.received)

    def test_host(self) -> None:
        """What the metadata of a host adds comes before that, in place of what has its types."""
        self.serve(header_socket())
        values = "{type: 1, value: aG9zdA==}, {type: 5, value: YQ==}, {type: 5, value: Yg==}"
        self.serve_host(f"'@type': {PER_HOST}, added_tlvs: [{values}]")
        self.send(b"")
        added = tlv(1, b"host") + tlv(5, b"a") + tlv(5, b"b") + tlv(9, b"a")
        self.assertTrue(self.received.endswith(added), self.received)
        self.serve_host(f"'@type': {BUFFER}")
        self.send(b"")
        self.assertTrue(self.received.endswith(tlv(1, b"a") + tlv(9, b"a")), self.received)

    def serve_host(self, config: str) -> None:
        """The host of the cluster has this typed metadata from now on."""
        fields = f"{{typed_filter_metadata: {{{HOST_METADATA}: {{{config}}}}}}}"
        values = "{type: 1, value: YQ==}, {type: 9, value: YQ==}"
        socket = header_socket(f"version: V2, added_tlvs: [{values}]")
        message = cluster_message("c", [HOST], socket)
        host = message.load_assignment.endpoints[0].lb_endpoints[0]
        ParseDict(yaml.safe_load(fields), host.metadata)
        self.mesh.clusters.add_or_update(message)

    def test_too_long(self) -> None:
        """An extension that finds no room in the header is left out, and counted."""
        name = "cluster.c.upstream.proxyprotocol.v2_tlvs_exceed_max_length"
        config = f"version: V2, {ALL}, added_tlvs: [{{type: 1, value: YQ==}}]"
        self.serve(header_socket(config), reader=ALL)
        self.assertEqual(0, self.mesh.stat(name))
        self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=tlv(7, b"x" * 65517)))
        self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=tlv(1, b"a")), self.received)
        self.assertEqual(1, self.mesh.stat(name))

    def test_longer_than_any_header(self) -> None:
        """So is one that no header could have."""
        value = b64encode(b"x" * 65536).decode()
        added = f"{{type: 7, value: {value}}}, {{type: 1, value: YQ==}}"
        self.serve(header_socket(f"version: V2, added_tlvs: [{added}]"))
        self.send(b"")
        self.assertTrue(self.received.endswith(tlv(1, b"a")))
        self.assertEqual(12 + 16 + 4, len(self.received))
        name = "cluster.c.upstream.proxyprotocol.v2_tlvs_exceed_max_length"
        self.assertEqual(1, self.mesh.stat(name))

    def test_unix(self) -> None:
        """A client of a unix socket has no address that could be told."""
        for version, header in (("V1", UNKNOWN_V1), ("V2", LOCAL_V2)):
            config = f"version: {version}, added_tlvs: [{{type: 1, value: YQ==}}]"
            self.mesh.add_cluster("c", HOST, more=header_socket(config))
            self.mesh.add_listener("l", "/socket", tcp_proxy())
            self.mesh.listeners.start()
            self.send(address="/socket")
            self.assertEqual(header + b"hi", self.received)
            self.mesh.listeners.remove("l")

    def test_tcp_proxy(self) -> None:
        """proxy_protocol_tlvs of the tcp_proxy are those of a client without a header; what becomes
        of both, the merge policy says.
        """
        text = "{text_format: '%CONNECTION_ID%'}"
        values = f"{{type: 241, value: aGk=}}, {{type: 2, format_string: {text}}}"
        said = AUTHORITY + tlv(2, b"b") + tlv(7, b"q")
        for policy, merged in (
            ("ADD_IF_ABSENT", said),
            ("OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD", tlv(241, b"hi") + tlv(2, b"%d") + tlv(7, b"q")),
            ("APPEND_IF_EXISTS_OR_ADD", said + tlv(241, b"hi") + tlv(2, b"%d")),
        ):
            proxy = f"proxy_protocol_tlvs: [{values}], proxy_protocol_tlv_merge_policy: {policy}"
            reads = f"{ALL}, allow_requests_without_proxy_protocol: true"
            self.serve(header_socket(f"version: V2, {ALL}"), proxy, reads)
            self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=said))
            number = str(self.mesh.connections[-1].stream_info.id).encode()
            merged = merged.replace(tlv(2, b"%d"), tlv(2, number))
            self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=merged), self.received)
            self.send(b"plain")
            number = str(self.mesh.connections[-1].stream_info.id).encode()
            self.assertTrue(self.received.endswith(tlv(241, b"hi") + tlv(2, number) + b"plain"))
            self.mesh.listeners.remove("l")

    def test_further_attempt(self) -> None:
        """Each attempt says the same, be extensions merged or not."""
        more = "proxy_protocol_tlv_merge_policy: APPEND_IF_EXISTS_OR_ADD, max_connect_attempts: 2"
        proxy = f"proxy_protocol_tlvs: [{{type: 241, value: aGk=}}], {more}"
        self.serve(header_socket(f"version: V2, {ALL}"), proxy, ALL)
        self.mesh.add_cluster("c", "127.0.0.9:80", HOST, more=header_socket(f"version: V2, {ALL}"))
        for _ in range(2):
            self.send(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=EA))
            said = EA + tlv(241, b"hi")
            self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 22, tlvs=said), self.received)
        self.assertGreater(self.mesh.stat("cluster.c.upstream_cx_connect_fail"), 0)

    def test_statistics_are_given_back(self) -> None:
        """They go with the cluster."""
        self.serve(header_socket())
        self.mesh.listeners.remove("l")
        self.mesh.clusters.remove("c")
        self.mesh.advance(GAP)
        names = [each.name for each in self.mesh.store.counters()]
        self.assertEqual([], [each for each in names if each.startswith("cluster.c.")])


class OwnConnectionTests(HeaderTestCase):
    """Connections of the proxy's own."""

    def check(self, version: str, kind: str) -> None:
        """A cluster with a health check of this kind, which happens."""
        times = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"
        checks = f"health_checks: [{{{times}, {kind}}}]"
        self.serve(header_socket(f"version: {version}"), cluster=checks)
        self.mesh.pump()

    def test_health_checks(self) -> None:
        """The connection of a health check is LOCAL, which is said before it speaks."""
        self.check("V2", "tcp_health_check: {send: {text: aabb}, receive: [{text: '01'}]}")
        self.assertEqual(LOCAL_V2 + b"\xaa\xbb", self.received)

    def test_health_checks_of_version_1(self) -> None:
        """In version 1 it has its own addresses, and counts for nothing."""
        self.check("V1", "tcp_health_check: {send: {text: aabb}, receive: [{text: '01'}]}")
        self.assertTrue(self.received.startswith(b"PROXY TCP4 "), self.received)
        end = b" 127.0.0.2 %d 80\r\n\xaa\xbb" % self.upstream.built[-1].transport.getPeer().port
        self.assertTrue(self.received.endswith(end), self.received)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))

    def test_connect_only(self) -> None:
        """One that only connects says nothing."""
        self.check("V2", "tcp_health_check: {}")
        self.assertEqual(1, self.mesh.stat("cluster.c.health_check.success"))
        self.assertEqual([b""], [bytes(each.received) for each in self.upstream.built])


class PoolTests(HeaderTestCase):
    """Who shares a pool."""

    def test_ahead(self) -> None:
        """A connection that is made ahead says whom it is for, and another client does not get
        it.
        """
        self.serve(header_socket(), cluster="preconnect_policy: {per_upstream_preconnect_ratio: 2}")
        clients = [self.send(b"%d" % number) for number in range(2)]
        told = [bytes(each.received) for each in self.upstream.built]
        for number, client in enumerate(clients):
            own = client.transport.getHost()
            header = v2(own.host, "127.0.0.1", own.port, 1)
            self.assertEqual(
                sorted([header, header + b"%d" % number]),
                sorted(each for each in told if each.startswith(header)),
            )

    def test_keys(self) -> None:
        """Clients share a pool where the header says the same, but for extensions unless
        tlv_as_pool_key is set; with allow_unspecified_address the addresses make no difference.
        """
        one, two = Address("1.2.3.4", 1), Address("1.2.3.4", 2)
        clients = [
            NO_OPTIONS,
            *(
                TransportSocketOptions(
                    proxy_protocol=ProxyProtocolOptions(source, one, tlvs), upstream_id=number
                )
                for number, (source, tlvs) in enumerate(
                    ((one, b""), (two, b""), (one, tlv(1, b"a")), (one, tlv(1, b"b")))
                )
            ),
        ]
        for fields, groups in (
            ({}, 3),
            ({"tlv_as_pool_key": True}, 5),
            ({"allow_unspecified_address": True}, 2),
            ({"allow_unspecified_address": True, "tlv_as_pool_key": True}, 4),
        ):
            message = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(**fields)
            context = WorkerContext(MemoryNetwork(), Store(), lambda name: None)
            socket = ProxyProtocolSocket(message, context)
            self.assertEqual(groups, len({socket.pool_key(each) for each in clients}), fields)
            socket.close()


class InnerTests(HeaderTestCase):
    """Another transport socket within."""

    def setUp(self) -> None:
        """The package that has it is installed."""
        super().setUp()
        transport_sockets.install(self)

    def test_handshake(self) -> None:
        """The header comes before the handshake of the inner socket, which then carries what the
        client says.
        """
        received: list[bytes] = []

        class Peer(FramingTransport):
            """Takes the header off before it begins."""

            def received(self, data: memoryview) -> None:
                head = bytes(data[:28]) if not received else b""
                received.append(head)
                super().received(data[len(head) :])

        server = Server()
        factory = WrappingFactory(server, self.mesh.clock, Peer)
        self.mesh.upstream("127.0.0.3:80", factory)
        self.mesh.add_cluster("c", "127.0.0.3:80", more=header_socket(inner=socket_yaml("framing")))
        self.mesh.serve()
        client = self.send()
        own = client.transport.getHost()
        self.assertEqual(v2(own.host, "127.0.0.1", own.port, 1), received[0])
        self.assertEqual(b"hi", server.built[0].received)

    def test_given_up(self) -> None:
        """A handshake that takes too long ends the attempt, and the connection."""
        self.serve(header_socket(inner=socket_yaml("framing")), cluster="connect_timeout: 2s")
        client = self.send()
        self.mesh.advance(2)
        self.assertIsNotNone(client.reason)
        self.assertIsNotNone(self.upstream.built[0].reason)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_timeout"))

    def test_close(self) -> None:
        """It goes with the outer one; one that cannot stand there is refused."""
        self.serve(header_socket(inner=socket_yaml("framing")))
        self.mesh.clusters.remove("c")
        self.mesh.advance(GAP)
        self.assertEqual(["framing"], transport_sockets.closed)

    def test_ready_at_once(self) -> None:
        """Only without an inner handshake a connection need not be wrapped to be tried."""
        for inner, is_ready in ((RAW, True), (socket_yaml("framing"), False)):
            message = parse(upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport, inner)
            context = WorkerContext(MemoryNetwork(), Store(), lambda name: None)
            socket = ProxyProtocolSocket(message, context)
            self.assertEqual(is_ready, IReadyAtOnce.providedBy(socket))
            socket.close()
