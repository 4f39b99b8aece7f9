"""`envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport`: tells an
internal listener where its client comes from.

The listener's connection gets, as dynamic metadata, what the host or the cluster has under the
names of `passthrough_metadata`, of several sources with one name that of the last; and the objects
of the client's filter state that are shared with the upstream (`shared_with_upstream`).  A source
that has nothing under its name is counted (`internal_upstream.no_metadata`).  On a connection to
another host nothing is told.

The connection is that of the inner transport socket; nothing is put between.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from envoy.extensions.transport_sockets.internal_upstream.v3 import internal_upstream_pb2
from zope.interface import implementer

from tcpmesh.config.fields.to_plain import plain_value
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.connection.wrapped.first import FirstOnConnection
from tcpmesh.interfaces import IPerClientTransportSocketFactory, IUpstreamTransportSocketFactory
from tcpmesh.net.internal.listeners import InternalConnector
from tcpmesh.registry import Context, extension
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.transport_socket_options import Passthrough, TransportSocketOptions


@extension(internal_upstream_pb2.InternalUpstreamTransport)
@implementer(IPerClientTransportSocketFactory)
class InternalUpstream:
    """Built from an `InternalUpstreamTransport` message."""

    wraps = True

    def __init__(self, message: Any, context: Context) -> None:
        self._sources = tuple(
            (each.kind.WhichOneof("kind"), each.name) for each in message.passthrough_metadata
        )
        self._cluster = context.cluster_metadata
        self._inner: Any = transport_socket(message, IUpstreamTransportSocketFactory, context)
        scope = context.scope or context.store
        self._without = scope.counter("internal_upstream.no_metadata")
        inner = self._inner
        self._is_per_client = IPerClientTransportSocketFactory.providedBy(inner)
        self.needs_header: bool = self._is_per_client and inner.needs_header

    def connecting(self, connector: Any, options: TransportSocketOptions) -> None:
        """Tell the listener, where it is one in this process."""
        if isinstance(connector, InternalConnector):
            connector.passed = Passthrough(
                metadata=self._metadata(options.host), filter_state=options.filter_state
            )
        if hasattr(self._inner, "connecting"):
            self._inner.connecting(connector, options)

    def _metadata(self, host: HostSpec | None) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for kind, name in self._sources:
            of_host = host.metadata if host is not None else None
            message = self._cluster if kind == "cluster" else of_host
            if message is not None and name in message.filter_metadata:
                found[name] = plain_value(message.filter_metadata[name])
            else:
                self._without.tally += 1
        return found

    def connected(self, address: Address, observer: Any, options: TransportSocketOptions) -> Any:
        """What makes room for the inner transport socket."""
        return FirstOnConnection(self._inner, address, observer, options)

    def pool_key(self, options: TransportSocketOptions) -> Hashable:
        """Clients that share a connection have told the same."""
        told = tuple((key, each) for key, each in options.filter_state.entries.items())
        inner = self._inner.pool_key(options) if self._is_per_client else options
        return told, inner

    def close(self) -> None:
        """No more connections will be made; those that are live on."""
        if self._inner is not None:
            self._inner.close()
