"""`envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`: tells a
host by a PROXY header whose connection it gets, before anything else is said; beyond it the
connection is that of the inner transport socket.

A client's header has the addresses that the client has, be they those of a PROXY header that it
came with.  One of version 2 has extensions: those that the host's metadata adds
(`PerHostConfig` in `envoy.transport_sockets.proxy_protocol`), those of `added_tlvs` that are not
of the same types, and of what came with the client what `pass_through_tlvs` lets pass and nothing
replaces.  Formats in `added_tlvs` see the connection to the host, as in Envoy.  A connection of
the proxy's own, such as that of a health check, is a LOCAL one, or in version 1 has its own
addresses.

The header is written once the connection is there, and then nothing is between the connection and
who uses it: it costs no more than its bytes.

Different from Envoy 1.40: a client of a unix socket has no address that a reader would take, and
the header says so (UNKNOWN, LOCAL); Envoy sends none in version 2, and in version 1 dies of it.
And of an IPv4 and an IPv6 address both are written as IPv6, where Envoy writes what nobody can
read.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from envoy.config.core.v3.proxy_protocol_pb2 import PerHostConfig, ProxyProtocolConfig
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from zope.interface import alsoProvides, implementer

from tcpmesh.accesslog.tlvs import TlvEntries
from tcpmesh.connection.proxy_header import PassThrough
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.connection.wrapped.first import FirstOnConnection
from tcpmesh.interfaces import (
    IPerClientTransportSocketFactory,
    IReadyAtOnce,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.registry import Context, extension
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo, UpstreamInfo
from tcpmesh.values.stream.transport_socket_options import (
    ProxyProtocolOptions,
    TransportSocketOptions,
)
from tcpmesh.wire.proxy_protocol import (
    LOCAL_V2,
    LONGEST,
    UNKNOWN_V1,
    End,
    Tlv,
    block_of,
    header_v1,
    header_v2,
    tlvs_of,
)

HOST_METADATA = "envoy.transport_sockets.proxy_protocol"


@extension(upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport)
@implementer(IPerClientTransportSocketFactory)
class ProxyProtocolSocket:
    """Built from a `ProxyProtocolUpstreamTransport` message."""

    wraps = True
    needs_header = True

    def __init__(self, message: Any, context: Context) -> None:
        self._clock = context.network.clock
        self._is_v1: bool = message.config.version == ProxyProtocolConfig.V1
        self._passing = PassThrough(message.config)
        self._added = TlvEntries(message.config.added_tlvs, context.node)
        self._with_addresses: bool = not message.allow_unspecified_address
        self._with_tlvs: bool = message.tlv_as_pool_key
        with all_or_nothing() as undo:
            self.inner: Any = transport_socket(message, IUpstreamTransportSocketFactory, context)
            if self.inner is not None:
                undo.callback(self.inner.close)
            if hasattr(self.inner, "connecting"):
                self.connecting = self.inner.connecting
            if self.inner is None or IReadyAtOnce.providedBy(self.inner):
                alsoProvides(self, IReadyAtOnce)
            scope = context.scope or context.store
            self._too_long = scope.counter("upstream.proxyprotocol.v2_tlvs_exceed_max_length")
            self.sent = scope.counter("upstream_cx_tx_bytes_total")
            """Headers are among what is sent to hosts."""

    def connected(self, address: Address, observer: Any, options: TransportSocketOptions) -> Any:
        """What writes the header, and then makes room for the inner transport socket."""
        return HeaderWriter(self, address, observer, options)

    def pool_key(self, options: TransportSocketOptions) -> Hashable:
        """What the header says of the client, but for the extensions unless they are asked for
        (`tlv_as_pool_key`); and what makes a difference to the inner one.
        """
        said = options.proxy_protocol
        inner: Hashable = replace(options, proxy_protocol=None)
        if IPerClientTransportSocketFactory.providedBy(self.inner):
            inner = self.inner.pool_key(options)
        if said is None:
            return (inner,)
        ends = (said.source, said.destination) if self._with_addresses else None
        return inner, ends, said.extensions if self._with_tlvs else None

    def header(self, transport: Any, options: TransportSocketOptions) -> bytes:
        """The header of a connection."""
        said = options.proxy_protocol
        if said is None and self._is_v1:
            said = ProxyProtocolOptions(transport.getHost(), transport.getPeer())
        if said is None or _has_no_ip(said):
            return UNKNOWN_V1 if self._is_v1 else LOCAL_V2
        source, destination = _end(said.source), _end(said.destination)
        if self._is_v1:
            return header_v1(source, destination)
        first = self._first(transport, options)
        passing = self._passing.of(said.extensions)
        if first and passing:
            types = {kind for kind, _ in first}
            passing = tlvs_of(passing, lambda kind: kind not in types)
        header, is_whole = header_v2(source, destination, block_of(first) + passing)
        if not is_whole or any(len(value) > LONGEST for _, value in first):
            self._too_long.tally += 1
        return header

    def _first(self, transport: Any, options: TransportSocketOptions) -> tuple[Tlv, ...]:
        """The extensions that do not come from the client."""
        first = _of_host(options.host)
        if not self._added:
            return first
        types = {kind for kind, _ in first}
        added = self._added.of(*self._upstream(transport, options))
        # As Envoy does with what a format makes; a `value` has at least one byte.
        return first + tuple((kind, value) for kind, value in added if value and kind not in types)

    def _upstream(
        self, transport: Any, options: TransportSocketOptions
    ) -> tuple[StreamInfo, Moment]:
        """The connection to the host, as formats see it."""
        now = self._clock.seconds()
        info = StreamInfo(options.upstream_id, transport, now)
        info.filter_state = options.filter_state
        info.upstream = UpstreamInfo()
        info.upstream.failed_host = options.host
        return info, Moment(now, time.time())

    def close(self) -> None:
        """No more connections will have a header."""
        if self.inner is not None:
            self.inner.close()


class HeaderWriter(FirstOnConnection):
    """Writes the header."""

    __slots__ = ("_socket",)

    def __init__(
        self,
        owner: ProxyProtocolSocket,
        address: Address,
        observer: Any,
        options: TransportSocketOptions,
    ) -> None:
        super().__init__(owner.inner, address, observer, options)
        self._socket = owner

    def begin(self, transport: Any) -> None:
        """The connection is there."""
        header = self._socket.header(transport, self.options)
        transport.write(header)
        if self.options.proxy_protocol is not None:
            self._socket.sent.tally += len(header)


def _end(address: Address) -> End:
    return address.host, address.port


def _has_no_ip(said: ProxyProtocolOptions) -> bool:
    return not (said.source.is_ip and said.destination.is_ip)


def _of_host(host: HostSpec | None) -> tuple[Tlv, ...]:
    """The extensions that the host's metadata adds; their formats count for nothing, as in
    Envoy.
    """
    metadata = host.metadata if host is not None else None
    if metadata is None or HOST_METADATA not in metadata.typed_filter_metadata:
        return ()
    config = PerHostConfig()
    if not metadata.typed_filter_metadata[HOST_METADATA].Unpack(config):
        return ()
    return tuple((each.type & 0xFF, each.value) for each in config.added_tlvs)
