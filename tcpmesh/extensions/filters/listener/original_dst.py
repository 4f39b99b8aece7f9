"""The listener filter `original_dst`: restores the address that a client wanted before the packet
filter redirected it here.

It asks the kernel (SO_ORIGINAL_DST, or the own address of a socket that is IP_TRANSPARENT), for
IPv4 and IPv6.  The listener's `traffic_direction` makes no difference, nor does it for Envoy on
Linux.

Different from Envoy's: a client that was not redirected keeps its address, and does not count as
having one restored.  With connection tracking at work Envoy 1.40 restores the listener's own
address then, and an ORIGINAL_DST cluster connects the listener to itself until descriptors or a
circuit breaker end it.  Internal listeners are left out.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from zope.interface import implementer

from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.registry import WorkerContext, extension


@extension(original_dst_pb2.OriginalDst)
@implementer(IListenerFilter)
class OriginalDst:
    """Has nothing to configure."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        """The message has no fields."""

    def accept(self, connection: Connection) -> None:
        """Restore the address, if there is one."""
        found = connection.transport.original_destination()
        if found is not None:
            connection.stream_info.restored_local = found

    def close(self) -> None:
        """The listener takes no more clients."""
