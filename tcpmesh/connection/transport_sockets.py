"""The transport socket that a filter chain or a cluster names: what is put between its connections
and who uses them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zope.interface.interface import InterfaceClass

from tcpmesh.connection.proxy_header import HEADER, ReadHeader
from tcpmesh.connection.state_objects import Protocols, ServerName, SubjectNames
from tcpmesh.facts import dataclass
from tcpmesh.registry import Context, build
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.socket_options import ConnectOptions
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, FilterState, StateObject
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.tls_facts import NO_TLS, TlsFacts
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions

SERVER_NAME = "envoy.network.upstream_server_name"
APPLICATION_PROTOCOLS = "envoy.network.application_protocols"
SUBJECT_NAMES = "envoy.network.upstream_subject_alt_names"

UPSTREAM_SOCKET = "tcpmesh.upstream_socket"
"""Where the filter state has an `UpstreamSocket`, if a filter has left one."""


HOPS = "tcpmesh.hops"
"""Where the filter state of a client of an internal listener has a `Hops`."""


@dataclass(frozen=True)
class Hops(StateObject):
    """Through how many listeners of this process a client has come; a log does not show it."""

    count: int


@dataclass(frozen=True)
class UpstreamSocket(StateObject):
    """How the socket of the upstream connection is made ready; a log does not show it."""

    options: ConnectOptions


def transport_socket(message: Any, side: InterfaceClass, context: Context) -> Any:
    """The transport socket factory of a `listener.v3.FilterChain` or a `cluster.v3.Cluster`.

    :param side: `IDownstreamTransportSocketFactory` or `IUpstreamTransportSocketFactory`.
    :return: one that provides it; `None` where bytes go over the wire as they are.
    :raise tcpmesh.registry.UnknownExtension: where nothing understands its type.
    :raise ValueError: where it cannot stand on this side.
    """
    if not message.HasField("transport_socket"):
        return None
    config = message.transport_socket.typed_config
    found = build(config, context)
    with all_or_nothing() as undo:
        undo.callback(found.close)
        if found.wraps and not side.providedBy(found):
            place = "filter chain" if "Downstream" in side.__name__ else "cluster"
            raise ValueError(f"{config.TypeName()} is no transport socket of a {place}")
    if found.wraps:
        return found
    found.close()
    return None


def options_of(info: StreamInfo) -> TransportSocketOptions:
    """What the filters of a client have left for its upstream connection."""
    state = info.filter_state
    if state is NO_FILTER_STATE:
        return NO_OPTIONS
    name, protocols = state.get(SERVER_NAME), state.get(APPLICATION_PROTOCOLS)
    names, header = state.get(SUBJECT_NAMES), state.get(HEADER)
    found = TransportSocketOptions(
        server_name=name.value if isinstance(name, ServerName) else "",
        application_protocols=_split(protocols, Protocols),
        subject_names=_split(names, SubjectNames),
        socket=_socket(state),
        filter_state=_shared(info),
    )
    if isinstance(header, ReadHeader):
        return replace(found, proxy_protocol=header.options, upstream_id=info.id + 1)
    if found.filter_state is NO_FILTER_STATE and found == NO_OPTIONS:
        return NO_OPTIONS
    return found


def _socket(state: FilterState) -> ConnectOptions | None:
    """How the socket is made ready, and how far the client has come already."""
    socket, hops = state.get(UPSTREAM_SOCKET), state.get(HOPS)
    options = socket.options if isinstance(socket, UpstreamSocket) else None
    if not isinstance(hops, Hops):
        return options
    return replace(options or ConnectOptions(), hops=hops.count)


def _split(found: Any, kind: type) -> tuple[str, ...]:
    """What a list with commas has, where it is an object of this kind."""
    if not isinstance(found, kind):
        return ()
    return tuple(each.strip() for each in found.value.split(",") if each.strip())  # type: ignore[attr-defined]


def _shared(info: StreamInfo) -> FilterState:
    """The objects that the connection to the host gets."""
    shared = info.filter_state.shared()
    if not shared:
        return NO_FILTER_STATE
    state = FilterState()
    for key, entry in shared.items():
        state.set(key, entry.value, entry.read_only, entry.sharing)
    return state


def facts_of(transport: Any) -> TlsFacts:
    """What TLS has agreed on, where the transport has any."""
    found: TlsFacts = getattr(transport, "facts", NO_TLS)
    return found


def handshake_of(transport: Any) -> Any:
    """Whose `when_ready` tells the end of the handshake of TLS, where that is still to come."""
    while not hasattr(transport, "when_ready"):
        transport = getattr(transport, "below", None)
        if transport is None:
            return None
    return None if transport.is_ready else transport
