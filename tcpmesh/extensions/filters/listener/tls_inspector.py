"""The listener filter `tls_inspector`: tells a client that speaks TLS from one that does not, and
what its ClientHello says: the server name that it asks for (SNI), the protocols that it offers
(ALPN), and by which program it was written (JA3, JA4).

The bytes stay where they are.  What is found is in the `hello` of the connection's `StreamInfo`,
and filter chains are chosen by it.  A client that does not speak TLS goes on as one of plain TCP,
or is closed with `close_connection_on_client_hello_parsing_errors`.  A hello that is larger than
`max_client_hello_size`, one of a version that does not exist, and one that takes TLS back at once
(close_notify) close the client in any case.  Why is in the dynamic metadata, `failure_reason` of
`envoy.filters.listener.tls_inspector`, and in DOWNSTREAM_TRANSPORT_FAILURE_REASON.

A client that sends less than five bytes and waits is undecided until `listener_filters_timeout`, as
in Envoy.

Different from Envoy's: a hello in the form of SSL 2 is none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from zope.interface import implementer

from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.logs.debug import debug_logger
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.store import Store
from tcpmesh.values.filter_status import InspectResult
from tcpmesh.values.stream.stream_info import ClientHello
from tcpmesh.wire.client_hello import (
    GOODBYE,
    WRONG_VERSION,
    ClientHelloMessage,
    ClientHelloReader,
    Refusal,
)
from tcpmesh.wire.fingerprints import ja3, ja4

debug_log = debug_logger("filter")

NAMESPACE = "envoy.filters.listener.tls_inspector"
"""Of the dynamic metadata."""

LARGEST = 1 << 14
"""Bytes of a ClientHello with its records, where `max_client_hello_size` says no less."""

TOO_LARGE = "ClientHelloTooLarge"
NOT_DETECTED = "ClientHelloNotDetected"
INVALID_VERSION = "ClientHelloInvalidTlsVersion"


class TlsInspectorStats:
    """The statistics under `tls_inspector.`, of all such filters together."""

    def __init__(self, store: Store) -> None:
        scope = self.scope = store.scope("tls_inspector")
        self.tls_found = scope.counter("tls_found")
        self.tls_not_found = scope.counter("tls_not_found")
        self.alpn_found = scope.counter("alpn_found")
        self.alpn_not_found = scope.counter("alpn_not_found")
        self.sni_found = scope.counter("sni_found")
        self.sni_not_found = scope.counter("sni_not_found")
        self.client_hello_too_large = scope.counter("client_hello_too_large")
        self.bytes_processed = scope.histogram("bytes_processed", unit="bytes")


@extension(tls_inspector_pb2.TlsInspector)
@implementer(IListenerFilter)
class TlsInspector:
    """Built from a `TlsInspector` message."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self.with_ja3: bool = message.enable_ja3_fingerprinting.value
        self.with_ja4: bool = message.enable_ja4_fingerprinting.value
        self.closes_plain: bool = message.close_connection_on_client_hello_parsing_errors
        self.largest: int = (
            message.max_client_hello_size.value
            if message.HasField("max_client_hello_size")
            else LARGEST
        )
        self.first: int = (
            min(message.initial_read_buffer_size.value, self.largest)
            if message.HasField("initial_read_buffer_size")
            else self.largest
        )
        # Last, for it is to be given back.
        self.stats = TlsInspectorStats(context.store)

    def accept(self, connection: Connection) -> HelloInspector:
        """The client's first bytes have to come."""
        return HelloInspector(self, connection)

    def close(self) -> None:
        """The listener takes no more clients."""
        self.stats.scope.close()


@implementer(IInspector)
class HelloInspector:
    """Waits for the ClientHello of one client."""

    __slots__ = ("_connection", "_filter", "_reader", "wanted")

    def __init__(self, owner: TlsInspector, connection: Connection) -> None:
        self._filter = owner
        self._connection = connection
        self._reader = ClientHelloReader()
        self.wanted = owner.first

    def inspect(self, data: bytearray) -> int | InspectResult:
        """Say what the client is, once that is clear; nothing is consumed."""
        owner = self._filter
        seen = min(len(data), owner.largest)
        said = self._reader.read(data if seen == len(data) else data[:seen])
        if said is None:
            if seen < owner.largest:
                if seen >= self.wanted:
                    self.wanted = min(2 * seen, owner.largest)
                return InspectResult.WAIT
            owner.stats.bytes_processed.record(seen)
            return self._refuse_large()
        owner.stats.bytes_processed.record(self._reader.consumed)
        if isinstance(said, Refusal):
            return self._take_plain(said, seen)
        return self._take_hello(said)

    def _take_hello(self, message: ClientHelloMessage) -> int | InspectResult:
        """There is a ClientHello."""
        owner, info = self._filter, self._connection.stream_info
        stats = owner.stats
        name = message.server_name
        (stats.sni_found if name else stats.sni_not_found).tally += 1
        protocols = message.application_protocols
        # Names are ASCII, and only of that Envoy makes lower case.
        hello = ClientHello(
            server_name=_text(name.lower()),
            application_protocols=tuple(map(_text, protocols)),
            ja3=ja3(message) if owner.with_ja3 else "",
            ja4=ja4(message) if owner.with_ja4 else "",
        )
        if not message.is_of_known_version:
            stats.tls_not_found.tally += 1
            info.hello = replace(hello, failure=WRONG_VERSION.text)
            return self._close(INVALID_VERSION)
        stats.tls_found.tally += 1
        (stats.alpn_found if protocols else stats.alpn_not_found).tally += 1
        info.hello = replace(hello, transport_protocol="tls")
        return 0

    def _take_plain(self, refusal: Refusal, seen: int) -> int | InspectResult:
        """There is none."""
        owner, info = self._filter, self._connection.stream_info
        if refusal is GOODBYE:
            return self._close("")
        info.hello = ClientHello(failure=refusal.text)
        if owner.closes_plain and seen >= owner.largest:
            return self._refuse_large()
        owner.stats.tls_not_found.tally += 1
        if owner.closes_plain:
            return self._close(NOT_DETECTED)
        info.add_metadata(NAMESPACE, {"failure_reason": NOT_DETECTED})
        return 0

    def _refuse_large(self) -> InspectResult:
        self._filter.stats.client_hello_too_large.tally += 1
        return self._close(TOO_LARGE)

    def _close(self, why: str) -> InspectResult:
        info = self._connection.stream_info
        if why:
            info.add_metadata(NAMESPACE, {"failure_reason": why})
        if debug_log.enabled:
            debug_log.debug("[C{id}] closed by tls_inspector: {why}", id=info.id, why=why or "-")
        return InspectResult.CLOSE


def _text(data: bytes) -> str:
    """What a client has sent, which may be no text."""
    return data.decode("utf-8", "surrogateescape")
