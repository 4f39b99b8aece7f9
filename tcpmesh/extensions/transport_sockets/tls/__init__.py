"""`envoy.extensions.transport_sockets.tls.v3`: TLS towards clients (`DownstreamTlsContext`) and
towards hosts (`UpstreamTlsContext`).

Here are the objects that a filter chain or a cluster has one of; each makes a transport for a
connection (`tcpmesh.connection.tls.transport`), and all whose settings are equal share a context
(`tcpmesh.net.tls.context`).  `settings` reads the messages, `stats` counts and notes the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from zope.interface import implementer

from tcpmesh.connection.tls.pace import HandshakePace
from tcpmesh.connection.tls.transport import TlsTransport
from tcpmesh.extensions.transport_sockets.tls.key_log import KeyLogFile
from tcpmesh.extensions.transport_sockets.tls.settings import downstream, upstream
from tcpmesh.extensions.transport_sockets.tls.shown import expirations
from tcpmesh.extensions.transport_sockets.tls.stats import CLIENT, SERVER, TlsStats
from tcpmesh.interfaces import (
    IDownstreamTransportSocketFactory,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.settings import TlsSettings
from tcpmesh.registry import Context, extension
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions


class _TlsSocket:
    """What both sides have."""

    wraps = True
    serves_many_chains = True

    def __init__(self, settings: TlsSettings, context: Context, factory: str) -> None:
        self._clock, objects = context.network.clock, context.objects
        prefix = context.scope.prefix if context.scope is not None else ""
        shared: tuple[tuple[Hashable, Callable[[], Any]], ...] = (
            ((TlsContext, settings), lambda: TlsContext(settings)),
            (HandshakePace, lambda: HandshakePace(context.network)),
            ((TlsStats, prefix), lambda: TlsStats(context.store.scope(prefix), factory)),
        )
        log, held = settings.key_log, []
        with all_or_nothing() as undo:
            for key, make in shared:
                held.append(objects.obtain(key, make))
                undo.callback(objects.release, key)
            self._context: TlsContext = held[0]
            self._pace: HandshakePace = held[1]
            self._stats: TlsStats = held[2]
            self._key_log = KeyLogFile(log, context.access_logs) if log is not None else None
            if self._key_log is not None:
                undo.callback(self._key_log.close)
            self._held = undo.pop_all()

    def _tell_expirations(self, common: Any, context: Context) -> None:
        for name, seconds in expirations(common, context.secrets):
            self._stats.expires(name, seconds)

    def close(self) -> None:
        """No more connections will be wrapped; those that are live on."""
        self._held.close()


@extension(tls_pb2.DownstreamTlsContext)
@implementer(IDownstreamTransportSocketFactory)
class DownstreamTls(_TlsSocket):
    """TLS for the clients of a filter chain."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__(downstream(message, context.secrets), context, SERVER)
        self._tell_expirations(message.common_tls_context, context)

    def accepted(self, connection: Any, observer: Any) -> TlsTransport:
        """Wrap a client."""
        transport = TlsTransport(self._clock, self._context, observer, self._stats)
        transport.key_log, transport.pace = self._key_log, self._pace
        transport.record = connection.stream_info
        return transport


@extension(tls_pb2.UpstreamTlsContext)
@implementer(IUpstreamTransportSocketFactory)
class UpstreamTls(_TlsSocket):
    """TLS for the connections to the hosts of a cluster."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__(upstream(message, context.secrets), context, CLIENT)
        self._tell_expirations(message.common_tls_context, context)

    def connected(
        self, address: Address, observer: Any, options: TransportSocketOptions
    ) -> TlsTransport:
        """Wrap a connection to a host."""
        transport = TlsTransport(self._clock, self._context, observer, self._stats)
        transport.key_log, transport.pace = self._key_log, self._pace
        transport.wanted = self._context.wanted(options)
        return transport
