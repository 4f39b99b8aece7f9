"""The listener filter `original_dst`: restores the address that a client wanted before the packet
filter redirected it here.

It asks the kernel (SO_ORIGINAL_DST, or the own address of a socket that is IP_TRANSPARENT), for
IPv4 and IPv6.  The listener's `traffic_direction` makes no difference, nor does it for Envoy on
Linux.

Different from Envoy's: a client that was not redirected keeps its address, and does not count as
having one restored.  With connection tracking at work Envoy 1.40 restores the listener's own
address then, and an ORIGINAL_DST cluster connects the listener to itself until descriptors or a
circuit breaker end it.

A client of an internal listener has no socket of which the kernel would know that.  Where it wanted
to go is what was passed on to it: the filter state
`envoy.filters.listener.original_dst.local_ip`, or else the dynamic metadata
`envoy.filters.listener.original_dst` under `local`; where it came from is the filter state
`envoy.filters.listener.original_dst.remote_ip`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from zope.interface import implementer

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.state_objects import Endpoint
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import StreamInfo

NAME = "envoy.filters.listener.original_dst"


def _restore(info: StreamInfo) -> None:
    """Go by what an internal listener was told."""
    local, remote = (info.filter_state.get(f"{NAME}.{end}_ip") for end in ("local", "remote"))
    if isinstance(local, Endpoint):
        info.restored_local = local.value
    else:
        text = info.metadata.get(NAME, {}).get("local")
        with suppress(ValueError):
            info.restored_local = Address.from_text(text if isinstance(text, str) else "")
    if isinstance(remote, Endpoint):
        info.restored_remote = remote.value


@extension(original_dst_pb2.OriginalDst)
@implementer(IListenerFilter)
class OriginalDst:
    """Has nothing to configure."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        """The message has no fields."""

    def accept(self, connection: Connection) -> None:
        """Restore the address, if there is one."""
        info = connection.stream_info
        if info.direct_local_address.is_internal:
            _restore(info)
            return
        found = connection.transport.original_destination()
        if found is not None:
            info.restored_local = found

    def close(self) -> None:
        """The listener takes no more clients."""
