"""The listener filter `http_inspector`: tells whether a client without TLS speaks HTTP, and in
which version, by its first line.

What it finds takes the place of what ALPN says where there is TLS: `http/1.0`, `http/1.1` or `h2c`
(HTTP/2 with prior knowledge) is the one application protocol of the client, by which a filter chain
may be chosen.  The bytes stay where they are.  A client that `tls_inspector` has found to speak TLS
is not looked at.

A client whose first bytes could be a method is undecided until its line ends, or until
`listener_filters_timeout`, as in Envoy; one whose line does not end within 64 KiB is closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from zope.interface import implementer

from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.store import Store
from tcpmesh.values.filter_status import InspectResult
from tcpmesh.wire.request_line import HTTP_2, HTTP_10, HTTP_11, NOT_HTTP, RequestLineReader

FIRST = 8 << 10
"""Bytes that are read at first."""

MOST = 64 << 10
"""Bytes in which the first line has to end."""


class HttpInspectorStats:
    """The statistics under `http_inspector.`, of all such filters together."""

    def __init__(self, store: Store) -> None:
        scope = self.scope = store.scope("http_inspector")
        self.read_error = scope.counter("read_error")
        self.found = {
            HTTP_10: scope.counter("http10_found"),
            HTTP_11: scope.counter("http11_found"),
            HTTP_2: scope.counter("http2_found"),
            NOT_HTTP: scope.counter("http_not_found"),
        }


@extension(http_inspector_pb2.HttpInspector)
@implementer(IListenerFilter)
class HttpInspector:
    """Has nothing to configure."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self.stats = HttpInspectorStats(context.store)

    def accept(self, connection: Connection) -> LineInspector | None:
        """The client's first line has to come, unless it speaks TLS."""
        if connection.stream_info.hello.transport_protocol == "tls":
            return None
        return LineInspector(self.stats, connection)

    def close(self) -> None:
        """The listener takes no more clients."""
        self.stats.scope.close()


@implementer(IInspector)
class LineInspector:
    """Waits for the first line of one client."""

    __slots__ = ("_connection", "_reader", "_stats", "wanted")

    def __init__(self, stats: HttpInspectorStats, connection: Connection) -> None:
        self._stats = stats
        self._connection = connection
        self._reader = RequestLineReader()
        self.wanted = FIRST

    def inspect(self, data: bytearray) -> int | InspectResult:
        """Say what the client speaks, once that is clear; nothing is consumed."""
        found = self._reader.read(data if len(data) <= MOST else data[:MOST])
        if found is None:
            if len(data) >= MOST:
                self._stats.read_error.tally += 1
                return InspectResult.CLOSE
            while self.wanted <= len(data):
                self.wanted = min(2 * self.wanted, MOST)
            return InspectResult.WAIT
        self._stats.found[found].tally += 1
        if found is not NOT_HTTP:
            info = self._connection.stream_info
            info.hello = replace(info.hello, application_protocols=(found,))
        return 0
