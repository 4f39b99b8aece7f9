"""The transport socket that a filter chain or a cluster names: what is put between its connections
and who uses them.
"""

from __future__ import annotations

from typing import Any

from zope.interface.interface import InterfaceClass

from tcpmesh.connection.proxy_header import HEADER, ReadHeader
from tcpmesh.registry import Context, build
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, FilterState
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions


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
    """What the filters of a client have left for the transport socket of its upstream
    connection.
    """
    state = info.filter_state
    if state is NO_FILTER_STATE:
        return NO_OPTIONS
    header = state.get(HEADER)
    if not isinstance(header, ReadHeader):
        return NO_OPTIONS
    return TransportSocketOptions(
        proxy_protocol=header.options, upstream_id=info.id + 1, filter_state=_shared(info)
    )


def _shared(info: StreamInfo) -> FilterState:
    """The objects that the connection to the host gets."""
    shared = info.filter_state.shared()
    if not shared:
        return NO_FILTER_STATE
    state = FilterState()
    for key, entry in shared.items():
        state.set(key, entry.value, entry.read_only, entry.sharing)
    return state
