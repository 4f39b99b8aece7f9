"""The listener filter proxy_protocol before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from zope.interface.verify import verifyClass

from twisted.internet.error import ConnectionLost

from tcpmesh.connection.proxy_header import HEADER, ReadHeader
from tcpmesh.extensions.filters.listener.proxy_protocol import (
    FILTER_STATE,
    HeaderInspector,
    ProxyProtocol,
)
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import NO_METADATA
from tcpmesh.values.stream.transport_socket_options import ProxyProtocolOptions
from tests.accesslog.test_hostile import calls
from tests.extensions.filters.listener.inspected import HOST, ListenerFilterTestCase
from tests.mesh import FRONT, listener_message, tcp_proxy
from tests.wire.test_proxy_protocol import HTTP, raw, tlv, v1, v2

TYPE = f"type.googleapis.com/{proxy_protocol_pb2.ProxyProtocol.DESCRIPTOR.full_name}"
ONE = v1("TCP4", "1.2.3.4", "5.6.7.8", 11, 22)
TWO = v2("2001:db8::1", "2001:db8::2", 11, 22)


class ProxyProtocolTests(ListenerFilterTestCase):
    """What becomes of clients, of their addresses and of the statistics."""

    def serve_header(self, fields: str = "", more: str = "") -> None:
        """A listener whose filter has these fields."""
        self.serve_filter(TYPE, fields, more)

    def addresses(self) -> tuple[str, str]:
        """Where the last client came from and wanted to go."""
        return str(self.connection.stream_info.remote_address), str(
            self.connection.stream_info.local_address
        )

    def counted(self) -> dict[str, int]:
        """The statistics that are not 0."""
        return {**self.mesh.moved("proxy_proto."), **self.mesh.moved("downstream_cx_")}

    def test_interfaces(self) -> None:
        """It is a listener filter, and what waits for a header an inspector."""
        verifyClass(IListenerFilter, ProxyProtocol)
        verifyClass(IInspector, HeaderInspector)

    def test_addresses(self) -> None:
        """The header's addresses become the connection's, the peer stays known, and the upstream
        gets what follows the header.
        """
        self.serve_header()
        for header, wanted in {
            ONE: ("1.2.3.4:11", "5.6.7.8:22"),
            TWO: ("[2001:db8::1]:11", "[2001:db8::2]:22"),
        }.items():
            for pieces in (
                (header + HTTP,),
                (header, HTTP),
                [bytes([each]) for each in header + HTTP],
            ):
                client = self.send(*pieces)
                self.assertEqual(wanted, self.addresses())
                self.assertEqual(client.transport.getHost(), self.connection.transport.getPeer())
                self.assertEqual(HTTP, self.upstream.built[-1].received)
        self.assertEqual({"versions.v1.found": 3, "versions.v2.found": 3}, self.counted())

    def test_own_addresses(self) -> None:
        """UNKNOWN and LOCAL leave the addresses as they are, and need nothing after them."""
        self.serve_header()
        for header in (v1("UNKNOWN", "1.2.3.4"), raw(0x20, 0x11, b"\1" * 12)):
            client = self.send(header)
            self.assertEqual((str(client.transport.getHost()), FRONT), self.addresses())
            self.assertIsNone(self.connection.stream_info.restored_local)
        self.assertEqual(2, len(self.upstream.built))

    def test_the_address_it_has(self) -> None:
        """A destination that is the socket's own is not a restored one."""
        self.serve_header()
        self.send(v1("TCP4", "1.2.3.4", "127.0.0.1", 11, 1))
        self.assertEqual(("1.2.3.4:11", FRONT), self.addresses())
        self.assertIsNone(self.connection.stream_info.restored_local)

    def test_bad(self) -> None:
        """A bad header of either version, or none, closes the client with a reset and is counted;
        no host hears of it.
        """
        self.serve_header()
        for header in (v1("TCP5", "1.2.3.4", "5.6.7.8", 1, 2), raw(0x21, 0), HTTP):
            self.assertTrue(self.send(header + HTTP).lost_to(ConnectionLost))
        self.assertEqual([], self.upstream.built)
        counted = {
            "proxy_proto_error": 3,
            "versions.v1.error": 1,
            "versions.v2.error": 1,
            "not_found_disallowed": 1,
        }
        self.assertEqual(counted, self.counted())
        self.assertEqual({}, self.mesh.moved("listener.127.0.0.1_1."))

    def test_cut_short(self) -> None:
        """A header that does not end is waited for until the deadline."""
        self.serve_header(more="listener_filters_timeout: 1s")
        for data in (b"PROX", ONE[:-1], TWO[:-1]):
            client = self.send(data)
            self.assertFalse(client.ended)
            self.mesh.advance(1.1)
            self.assertTrue(client.ended)
        self.assertEqual(3, self.mesh.stat("listener.127.0.0.1_1.downstream_pre_cx_timeout"))
        self.assertEqual({}, self.counted())

    def test_plain(self) -> None:
        """With allow_requests_without_proxy_protocol a client without header is served whole, at
        its first byte that shows it.
        """
        self.serve_header("allow_requests_without_proxy_protocol: true")
        for data in (b"G", HTTP, b"PROX_", b"\r\n\r\n\0\r\nQUIX"):
            self.send(data)
            self.assertEqual(data, self.upstream.built[-1].received)
        self.send(ONE + b"x")
        self.assertEqual("1.2.3.4:11", self.addresses()[0])
        self.assertTrue(self.send(v1("TCP9")).ended)
        counted = {
            "not_found_allowed": 4,
            "versions.v1.found": 1,
            "versions.v1.error": 1,
            "proxy_proto_error": 1,
        }
        self.assertEqual(counted, self.counted())

    def test_disallowed(self) -> None:
        """A version that is disallowed closes the client, and counts as found and disallowed but
        not as an error.
        """
        for number, (version, good, bad) in enumerate((("V1", TWO, ONE), ("V2", ONE, TWO))):
            self.mesh = self.make_mesh(number)
            self.mesh.add_cluster("c", HOST)
            self.mesh.upstream(HOST)
            self.serve_header(f"disallowed_versions: [{version}]")
            self.assertTrue(self.send(bad).ended)
            self.assertFalse(self.send(good).ended)
            name, other = (
                f"versions.{version.lower()}",
                "versions.v2" if version == "V1" else "versions.v1",
            )
            self.assertEqual(
                {f"{name}.found": 1, f"{name}.disallowed": 1, f"{other}.found": 1}, self.counted()
            )

    def test_disallowed_and_plain(self) -> None:
        """Where plain clients are allowed a header of a disallowed version is what such a client
        says.
        """
        self.serve_header("disallowed_versions: [V1], allow_requests_without_proxy_protocol: true")
        self.send(ONE)
        self.assertEqual(ONE, self.upstream.built[-1].received)
        self.assertEqual({"not_found_allowed": 1}, self.counted())

    def test_prefix(self) -> None:
        """stat_prefix stands in the names, and the statistics go with the listener, but for the
        oldest.
        """
        self.serve_header("stat_prefix: here")
        self.send(ONE).transport.abortConnection()
        self.send(b"hello\r\n")
        self.assertEqual(
            {"versions.v1.found": 1, "versions.v1.error": 1}, self.mesh.moved("proxy_proto.here.")
        )
        self.mesh.listeners.remove("l")
        self.assertEqual({}, self.mesh.stats("proxy_proto."))
        self.assertEqual(1, self.mesh.stat("downstream_cx_proxy_proto_error"))

    def test_large_extensions(self) -> None:
        """Extensions of 64 KiB in small pieces are read too, and nothing after them is lost."""
        self.serve_header("rules: [{tlv_type: 5, on_tlv_present: {key: k}}]")
        data = v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(5, b"x" * 65000)) + HTTP
        self.send(*(data[at : at + 999] for at in range(0, len(data), 999)))
        self.assertEqual(HTTP, self.upstream.built[-1].received)
        self.assertEqual(
            65000,
            len(self.connection.stream_info.metadata["envoy.filters.listener.proxy_protocol"]["k"]),
        )

    def test_no_utf8(self) -> None:
        """What is no UTF-8 costs no call for each of its bytes."""
        self.serve_header("rules: [{tlv_type: 234, on_tlv_present: {key: k}}]")
        header = v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(234, b"\xff\xe2\x82" * 2000))
        self.assertLess(calls(lambda: self.send(header)), 2000)
        found = self.connection.stream_info.metadata["envoy.filters.listener.proxy_protocol"]["k"]
        self.assertEqual("!" * 6000, found)

    def test_rules(self) -> None:
        """Rules put extensions into dynamic metadata: the last rule of a type and the first
        extension of a type count.
        """
        rules = [
            "{tlv_type: 234, on_tlv_present: {key: other}}",
            "{tlv_type: 234, on_tlv_present: {metadata_namespace: ns, key: k}}",
            "{tlv_type: 2, on_tlv_present: {key: authority}}",
        ]
        self.serve_header(f"rules: [{', '.join(rules)}]")
        tlvs = (
            tlv(234, b"abc")
            + tlv(3, b"other")
            + tlv(2, b"a\xff\xfeb\xc3\xa4")
            + tlv(234, b"second")
        )
        self.send(v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlvs))
        own = "envoy.filters.listener.proxy_protocol"
        self.assertEqual(
            {"ns": {"k": "abc"}, own: {"authority": "a!!bä"}}, self.connection.stream_info.metadata
        )
        for header in (
            v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(9, b"x")),
            raw(0x20, 0, tlv(2, b"x")),
            ONE,
        ):
            self.send(header)
            self.assertIs(NO_METADATA, self.connection.stream_info.metadata)

    def test_filter_state(self) -> None:
        """With tlv_location FILTER_STATE they go to one object of the filter state, by their
        keys.
        """
        self.serve_header(
            "tlv_location: FILTER_STATE, rules: [{tlv_type: 2, on_tlv_present: {key: authority}}]"
        )
        self.send(v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(2, b"a.test")))
        found: Any = self.connection.stream_info.filter_state.get(FILTER_STATE)
        self.assertEqual('{"authority":"a.test"}', found.text)
        self.assertEqual({"authority": "a.test"}, found.typed)
        self.assertEqual(("a.test", None), (found.field("authority"), found.field("x")))
        self.assertIs(NO_METADATA, self.connection.stream_info.metadata)
        self.send(v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(2, b"first") + tlv(2, b"last")))
        found = self.connection.stream_info.filter_state.get(FILTER_STATE)
        self.assertEqual('{"authority":"last"}', found.text)
        self.send(ONE)
        self.assertIsNone(self.connection.stream_info.filter_state.get(FILTER_STATE))

    def test_base64(self) -> None:
        """An extension may be kept as base64, whatever its bytes are."""
        pair = "{key: k, value_string_encoding: BASE64}"
        self.serve_header(f"rules: [{{tlv_type: 2, on_tlv_present: {pair}}}]")
        self.send(v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(2, b"ab\xff\xc3\xa9\0c")))
        found = self.connection.stream_info.metadata["envoy.filters.listener.proxy_protocol"]
        self.assertEqual({"k": "YWL/w6kAYw=="}, found)

    def test_for_the_upstream(self) -> None:
        """What a header says is kept for one to the upstream, with the extensions that pass; of a
        client without a header nothing is.
        """
        some = "pass_through_tlvs: {match_type: INCLUDE, tlv_type: [2]}"
        self.serve_header(f"{some}, allow_requests_without_proxy_protocol: true")
        self.send(v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=tlv(2, b"a") + tlv(3, b"b")))
        found: Any = self.connection.stream_info.filter_state.get(HEADER)
        said = ProxyProtocolOptions(Address("1.2.3.4", 1), Address("5.6.7.8", 2), tlv(2, b"a"))
        self.assertEqual(ReadHeader(said), found)
        self.assertEqual((None, None), (found.text, found.typed))
        self.send(raw(0x20, 0, tlv(2, b"x")))
        found = self.connection.stream_info.filter_state.get(HEADER)
        self.assertEqual(
            self.addresses(), (str(found.options.source), str(found.options.destination))
        )
        self.assertEqual(b"", found.options.extensions)
        self.send(b"plain")
        self.assertIsNone(self.connection.stream_info.filter_state.get(HEADER))

    def test_use_proxy_proto(self) -> None:
        """use_proxy_proto of the first filter chain, of old, brings the filter along."""
        message = listener_message("l", FRONT, tcp_proxy())
        message.filter_chains[0].use_proxy_proto.value = True
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()
        self.send(ONE)
        self.assertEqual("1.2.3.4:11", self.addresses()[0])
