"""The listener filter http_inspector before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from zope.interface.verify import verifyClass

from twisted.internet.error import ConnectionLost

from tcpmesh.extensions.filters.listener.http_inspector import (
    FIRST,
    MOST,
    HttpInspector,
    LineInspector,
)
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.values.stream.stream_info import NO_HELLO, ClientHello
from tcpmesh.wire.request_line import PREFACE
from tests.extensions.filters.listener.inspected import ListenerFilterTestCase
from tests.wire.hellos import hello, protocols

TYPE = f"type.googleapis.com/{http_inspector_pb2.HttpInspector.DESCRIPTOR.full_name}"
TLS = f"type.googleapis.com/{tls_inspector_pb2.TlsInspector.DESCRIPTOR.full_name}"


class HttpInspectorTests(ListenerFilterTestCase):
    """What becomes of clients, of what is known of them and of the statistics."""

    def serve_inspected(self, more: str = "", before: str = "") -> None:
        """A listener with the filter."""
        self.serve_filter(TYPE, more=more, before=before)

    @property
    def hello(self) -> ClientHello:
        """What is known of the last client."""
        return self.connection.stream_info.hello

    def test_interfaces(self) -> None:
        """It is a listener filter, and what waits for a line an inspector."""
        verifyClass(IListenerFilter, HttpInspector)
        verifyClass(IInspector, LineInspector)

    def test_versions(self) -> None:
        """HTTP/1.0, HTTP/1.1 and HTTP/2 are found, and the upstream gets every byte."""
        self.serve_inspected()
        for data, protocol, counter in (
            (b"GET / HTTP/1.0\r\n\r\n", "http/1.0", "http10_found"),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "http/1.1", "http11_found"),
            (PREFACE + b"more", "h2c", "http2_found"),
        ):
            for pieces in ((data,), [bytes((each,)) for each in data]):
                self.send(*pieces)
                self.assertEqual(ClientHello(application_protocols=(protocol,)), self.hello)
                self.assertEqual(data, self.upstream.built[-1].received)
            self.assertEqual(2, self.mesh.moved("http_inspector.")[counter])

    def test_other(self) -> None:
        """What is not HTTP goes on as it is, at once where no method begins like that."""
        self.serve_inspected()
        for data in (b"\0", b"EHLO a\r\n", hello()):
            self.send(data)
            self.assertIs(NO_HELLO, self.hello)
            self.assertEqual(data, self.upstream.built[-1].received)
        self.assertEqual({"http_not_found": 3}, self.mesh.moved("http_inspector."))

    def test_undecided(self) -> None:
        """What may still become HTTP waits, until the deadline."""
        self.serve_inspected("listener_filters_timeout: 2s")
        client = self.send(b"hello")
        self.assertEqual([], self.upstream.built)
        self.mesh.advance(2)
        self.assertIsInstance(client.reason.value, ConnectionLost)
        self.assertEqual({}, self.mesh.moved("http_inspector."))

    def test_long_line(self) -> None:
        """A line may have 64 KiB; one that does not end within them closes the client."""
        self.serve_inspected()
        end = b" HTTP/1.1\n"
        line = b"GET /".ljust(MOST - len(end), b"a") + end
        for size in (FIRST, 1000, MOST):
            self.send(*(line[at : at + size] for at in range(0, MOST, size)))
            self.assertEqual(("http/1.1",), self.hello.application_protocols)
            self.assertEqual(line, self.upstream.built.pop().received)
        for pieces in ((b"x" + line,), (b"x" * MOST,), (b"x" * 1000, b"x" * MOST)):
            client = self.send(*pieces)
            self.assertIsInstance(client.reason.value, ConnectionLost)
        self.assertEqual([], self.upstream.built)
        self.assertEqual(3, self.mesh.moved("http_inspector.")["read_error"])

    def test_tls(self) -> None:
        """A client that speaks TLS keeps the protocols that it has offered."""
        self.serve_inspected(before=f"{{name: t, typed_config: {{'@type': {TLS}}}}}, ")
        self.send(hello(protocols(b"h2")))
        self.assertEqual(("h2",), self.hello.application_protocols)
        self.assertEqual({}, self.mesh.moved("http_inspector."))
        self.send(b"GET / HTTP/1.1\r\n")
        self.assertEqual(("http/1.1",), self.hello.application_protocols)
        self.assertTrue(self.hello.failure)
