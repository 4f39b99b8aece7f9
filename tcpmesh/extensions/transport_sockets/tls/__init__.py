"""`envoy.extensions.transport_sockets.tls.v3`: TLS towards clients (`DownstreamTlsContext`) and
towards hosts (`UpstreamTlsContext`).

Here are the objects that a filter chain or a cluster has one of; each makes a transport for a
connection (`tcpmesh.connection.tls.transport`), and all whose settings are equal share a context
(`tcpmesh.net.tls.context`).  `settings` reads the messages, `stats` counts and notes the facts.

Where discovery brings a secret, and whenever it changes, another context takes the place of the one
before: new handshakes go by it, and connections that are there notice nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from zope.interface import implementer

from twisted.logger import Logger

from tcpmesh.config.fields.tls.secrets import Secrets, discovered_secrets
from tcpmesh.connection.tls.pace import HandshakePace
from tcpmesh.connection.tls.transport import TlsTransport
from tcpmesh.connection.tls.unready import NoSecretTransport
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.extensions.transport_sockets.tls.key_log import KeyLogFile
from tcpmesh.extensions.transport_sockets.tls.settings import downstream, key_log, upstream
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

log = Logger(namespace="connection")


class _TlsSocket:
    """What both sides have.

    :param factory: `SERVER` or `CLIENT`.
    :param read: makes settings of a message, with secrets.
    """

    wraps = True
    serves_many_chains = True

    def __init__(
        self,
        message: Any,
        context: Context,
        factory: str,
        read: Callable[[Any, Secrets], TlsSettings],
    ) -> None:
        self._message, self._read = message, read
        self._clock, self._objects = context.network.clock, context.objects
        self._secrets = secrets = context.secrets
        self._waits_for = [key for key, _ in discovered_secrets(message.common_tls_context)]
        """The secrets that discovery brings."""
        self._context: TlsContext | None = None
        """`None` as long as one of them is not there."""
        self._release_context: Callable[[], None] = lambda: None
        prefix = context.scope.prefix if context.scope is not None else ""
        secret_log = key_log(message.common_tls_context)
        with all_or_nothing() as undo:
            self._pace: HandshakePace = self._obtain(
                undo, HandshakePace, lambda: HandshakePace(context.network)
            )
            self._stats: TlsStats = self._obtain(
                undo, (TlsStats, prefix), lambda: TlsStats(context.store.scope(prefix), factory)
            )
            self._key_log: KeyLogFile | None = None
            if secret_log is not None:
                self._key_log = KeyLogFile(secret_log, context.access_logs)
                undo.callback(self._key_log.close)
            undo.callback(self._let_go)
            if self._waits_for:
                undo.callback(secrets.watch(self._waits_for, self._secret_changes))
                self._begin()
            else:
                self._take_context()
            self._held = undo.pop_all()

    def _obtain(self, undo: all_or_nothing, key: Hashable, make: Callable[[], Any]) -> Any:
        found = self._objects.obtain(key, make)
        undo.callback(self._objects.release, key)
        return found

    def _begin(self) -> None:
        """Take what there is of secrets; Envoy counts each as a change."""
        for key in self._waits_for:
            if key in self._secrets:
                self._count_change()
        self._follow_secrets()

    def _secret_changes(self) -> None:
        self._count_change()
        self._follow_secrets()

    def _count_change(self) -> None:
        if self._secrets.counts_changes:
            self._stats.secret_changes()

    def _follow_secrets(self) -> None:
        """New connections go by the secrets as they are now, if all are there; what main has let
        pass and cannot be used all the same leaves all as it was.
        """
        try:
            self._take_context()
        except LookupError:
            return
        except ValueError as error:
            log.error("a secret cannot be used: {error}", error=error)

    def _take_context(self) -> None:
        settings = self._read(self._message, self._secrets)
        key = (TlsContext, settings)
        made = self._objects.obtain(key, lambda: TlsContext(settings))
        self._let_go()
        self._context, self._release_context = made, partial(self._objects.release, key)
        for name, seconds in expirations(self._message.common_tls_context, self._secrets):
            self._stats.expires(name, seconds)

    def _let_go(self) -> None:
        release, self._release_context = self._release_context, lambda: None
        release()

    def close(self) -> None:
        """No more connections will be wrapped; those that are live on."""
        self._held.close()


@extension(tls_pb2.DownstreamTlsContext)
@implementer(IDownstreamTransportSocketFactory)
class DownstreamTls(_TlsSocket):
    """TLS for the clients of a filter chain."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__(message, context, SERVER, downstream)

    def accepted(self, connection: Any, observer: Any) -> WrappedTransport:
        """Wrap a client."""
        if self._context is None:
            self._stats.not_ready()
            return NoSecretTransport(self._clock, observer, connection.stream_info)
        transport = TlsTransport(self._clock, self._context, observer, self._stats)
        transport.key_log, transport.pace = self._key_log, self._pace
        transport.record = connection.stream_info
        return transport


@extension(tls_pb2.UpstreamTlsContext)
@implementer(IUpstreamTransportSocketFactory)
class UpstreamTls(_TlsSocket):
    """TLS for the connections to the hosts of a cluster."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__(message, context, CLIENT, upstream)

    def connected(
        self, address: Address, observer: Any, options: TransportSocketOptions
    ) -> WrappedTransport:
        """Wrap a connection to a host."""
        if self._context is None:
            self._stats.not_ready()
            return NoSecretTransport(self._clock, observer)
        transport = TlsTransport(self._clock, self._context, observer, self._stats)
        transport.key_log, transport.pace = self._key_log, self._pace
        transport.wanted = self._context.wanted(options)
        return transport
