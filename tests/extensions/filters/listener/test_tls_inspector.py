"""The listener filter tls_inspector before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from zope.interface.verify import verifyClass

from twisted.internet.error import ConnectionLost

from tcpmesh.extensions.filters.listener.tls_inspector import (
    NAMESPACE,
    HelloInspector,
    TlsInspector,
)
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.values.stream.stream_info import NO_HELLO, NO_METADATA, ClientHello
from tests.extensions.filters.listener.inspected import ListenerFilterTestCase
from tests.wire.hellos import (
    alert,
    extension,
    hello,
    in_records,
    protocols,
    recorded,
    server_name,
)
from tests.wire.test_proxy_protocol import v2

TYPE = f"type.googleapis.com/{tls_inspector_pb2.TlsInspector.DESCRIPTOR.full_name}"
PROXY = f"type.googleapis.com/{proxy_protocol_pb2.ProxyProtocol.DESCRIPTOR.full_name}"
FOUND = {"tls_found": 1, "sni_found": 1, "alpn_found": 1}
NOT_TLS = (
    "TLS_error|error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"
)
OLD = "TLS_error|error:10000085:SSL routines:OPENSSL_internal:CONNECTION_REJECTED:TLS_error_end"


class TlsInspectorTests(ListenerFilterTestCase):
    """What becomes of clients, of what is known of them and of the statistics."""

    def serve_inspected(self, fields: str = "", more: str = "", before: str = "") -> None:
        """A listener whose filter has these fields."""
        self.serve_filter(TYPE, fields, more, before)

    @property
    def hello(self) -> ClientHello:
        """What the last client has said."""
        return self.connection.stream_info.hello

    def counted(self) -> dict[str, int]:
        """The counters that are not 0."""
        return self.mesh.moved("tls_inspector.")

    def processed(self) -> tuple[int, float]:
        """Of how many clients how many bytes were read."""
        return self.mesh.times("tls_inspector.bytes_processed")

    def assert_closed(self, client: Any, why: str) -> None:
        """The client got a reset, nobody was connected to, and this is why."""
        self.assertIsInstance(client.reason.value, ConnectionLost)
        self.assertEqual([], self.upstream.built)
        info = self.connection.stream_info
        told = {NAMESPACE: {"failure_reason": why}} if why else NO_METADATA
        self.assertEqual(told, info.metadata)
        self.assertEqual("", self.hello.transport_protocol)

    def test_interfaces(self) -> None:
        """It is a listener filter, and what waits for a hello an inspector."""
        verifyClass(IListenerFilter, TlsInspector)
        verifyClass(IInspector, HelloInspector)

    def test_hello(self) -> None:
        """The name, in lower case, and the protocols are known; the upstream gets every byte."""
        self.serve_inspected()
        said = hello(server_name(b"A.Test"), protocols(b"h2", b"http/1.1"))
        for pieces in ((said + b"more",), [bytes((each,)) for each in said + b"more"]):
            self.send(*pieces)
            self.assertEqual(ClientHello("a.test", ("h2", "http/1.1"), "tls"), self.hello)
            self.assertEqual(said + b"more", self.upstream.built[-1].received)
        self.assertEqual({name: 2 * count for name, count in FOUND.items()}, self.counted())

    def test_real_clients(self) -> None:
        """Real clients are known by name, protocols and fingerprints, in however many records."""
        self.serve_inspected("enable_ja3_fingerprinting: true, enable_ja4_fingerprinting: true")
        for each in recorded():
            for said in (each.hello, in_records(each.hello, 50)):
                self.send(said)
                self.assertEqual(
                    ClientHello(each.server_name, each.protocols, "tls", each.ja3, each.ja4),
                    self.hello,
                )
                self.assertEqual(said, self.upstream.built[-1].received)

    def test_nothing_to_find(self) -> None:
        """A hello without name and protocols is TLS all the same."""
        self.serve_inspected()
        self.send(hello())
        self.assertEqual(ClientHello(transport_protocol="tls"), self.hello)
        self.assertEqual({"tls_found": 1, "sni_not_found": 1, "alpn_not_found": 1}, self.counted())
        self.assertEqual((1, len(hello())), self.processed())

    def test_plain(self) -> None:
        """What is not TLS goes on as it is, with the reason, once there are five bytes."""
        self.serve_inspected()
        client = self.send(b"hell")
        self.assertEqual([], self.upstream.built)
        client.transport.write(b"o")
        self.mesh.pump()
        self.assertEqual(b"hello", self.upstream.built[-1].received)
        self.assertEqual(ClientHello(failure=NOT_TLS), self.hello)
        self.assertEqual(
            {NAMESPACE: {"failure_reason": "ClientHelloNotDetected"}},
            self.connection.stream_info.metadata,
        )
        self.assertEqual({"tls_not_found": 1}, self.counted())
        self.assertEqual((1, 5), self.processed())

    def test_plain_is_closed(self) -> None:
        """With close_connection_on_client_hello_parsing_errors it is closed, counted and on record
        like plain TCP that is let pass.
        """
        self.serve_inspected("close_connection_on_client_hello_parsing_errors: true")
        self.assert_closed(self.send(b"hello"), "ClientHelloNotDetected")
        self.assertIn("WRONG_VERSION_NUMBER", self.hello.failure)
        self.assertEqual({"tls_not_found": 1}, self.counted())
        self.send(hello())
        self.assertEqual("tls", self.hello.transport_protocol)

    def test_large_and_plain(self) -> None:
        """Then, where it is more than a hello may be, it counts as one that is too large."""
        self.serve_inspected(
            "close_connection_on_client_hello_parsing_errors: true, max_client_hello_size: 300"
        )
        self.assert_closed(self.send(b"x" * 300), "ClientHelloTooLarge")
        self.assertEqual({"client_hello_too_large": 1}, self.counted())

    def test_too_large(self) -> None:
        """A hello that is not complete within max_client_hello_size closes the client."""
        self.serve_inspected("max_client_hello_size: 300, initial_read_buffer_size: 256")
        whole = hello(extension(0x1234, b"x" * (300 - len(hello(extension(0x1234))))))
        self.assertEqual(300, len(whole))
        for size in (1, 7, 299, 300):
            self.send(*(whole[at : at + size] for at in range(0, 300, size)))
            self.assertEqual("tls", self.hello.transport_protocol)
        self.upstream.built.clear()
        larger = hello(extension(0x1234, b"x" * (301 - len(hello(extension(0x1234))))))
        for pieces in ((larger,), (larger[:300],), (larger[:100], larger[100:])):
            self.assert_closed(self.send(*pieces), "ClientHelloTooLarge")
        self.assertEqual(3, self.counted()["client_hello_too_large"])
        self.assertEqual((7, 7 * 300), self.processed())

    def test_largest(self) -> None:
        """Where nothing is said that is 16 KiB, and one of that size is served, byte for byte."""
        self.serve_inspected()
        size = (1 << 14) - len(hello(extension(0x1234)))
        largest = hello(extension(0x1234, b"x" * size))
        self.send(largest)
        self.assertEqual(largest, self.upstream.built.pop().received)
        self.assert_closed(self.send(hello(extension(1, b"x" * (size + 1)))), "ClientHelloTooLarge")

    def test_version(self) -> None:
        """A hello of no version that there is closes the client, with what it said on record."""
        self.serve_inspected()
        client = self.send(hello(server_name(b"a.b"), version=0x300))
        self.assert_closed(client, "ClientHelloInvalidTlsVersion")
        self.assertEqual(ClientHello("a.b", failure=OLD), self.hello)
        self.assertEqual({"tls_not_found": 1, "sni_found": 1}, self.counted())

    def test_goodbye(self) -> None:
        """close_notify in place of a hello closes the client, and is counted nowhere."""
        self.serve_inspected()
        self.assert_closed(self.send(alert(1, 0)), "")
        self.assertEqual({}, self.counted())
        self.assertIs(NO_HELLO, self.hello)

    def test_timeout(self) -> None:
        """Half a hello is closed after listener_filters_timeout, or goes on as one of which nothing
        is known.
        """
        self.serve_inspected(more="listener_filters_timeout: 2s")
        client = self.send(hello()[:20])
        self.mesh.advance(2)
        self.assert_closed(client, "")
        self.mesh.listeners.remove("l")
        more = "listener_filters_timeout: 2s\ncontinue_on_listener_filters_timeout: true"
        self.serve_inspected(more=more)
        self.send(hello()[:20])
        self.mesh.advance(2)
        self.assertEqual(hello()[:20], self.upstream.built[-1].received)
        self.assertIs(NO_HELLO, self.hello)

    def test_after_proxy_protocol(self) -> None:
        """A PROXY header before the hello is consumed by the filter before, in one piece with it or
        byte by byte.
        """
        self.serve_inspected(before=f"{{name: p, typed_config: {{'@type': {PROXY}}}}}, ")
        said = hello(server_name(b"a.test"))
        whole = v2("1.2.3.4", "5.6.7.8", 11, 22) + said
        for pieces in ((whole,), [bytes((each,)) for each in whole]):
            self.send(*pieces)
            self.assertEqual("a.test", self.hello.server_name)
            self.assertEqual("1.2.3.4:11", str(self.connection.stream_info.remote_address))
            self.assertEqual(said, self.upstream.built[-1].received)

    def test_no_text(self) -> None:
        """A name may be any bytes, of which only ASCII letters become lower case."""
        self.serve_inspected()
        self.send(hello(server_name("ÄB".encode()), protocols(b"\xff")))
        self.assertEqual("Äb", self.hello.server_name)
        self.assertEqual(("\udcff",), self.hello.application_protocols)

    def test_statistics_are_given_back(self) -> None:
        """With the last listener that has one the statistics go."""
        self.serve_inspected()
        self.send(hello())
        self.assertEqual(1, self.mesh.stats("tls_inspector.")["tls_found"])
        self.upstream.built[-1].transport.abortConnection()
        self.mesh.listeners.remove("l")
        self.mesh.advance(1000)
        self.assertEqual({}, self.mesh.stats("tls_inspector."))
