"""The listener filter `original_src`: connections to hosts come from the address of the client that
they are for, so that hosts see who is asking.

The address is the one that the client has, be it that of a PROXY header that a filter before this
one has read; the port is one that the kernel chooses.  The socket is IP_TRANSPARENT, which takes
CAP_NET_ADMIN, and has the packet mark `mark` (SO_MARK) if that is not 0: the network has to see to
it that the answers of hosts come back here.  A client of a unix socket has no such address, and
nothing is done for it.

`bind_port` is for nothing, in Envoy 1.40 too.  A host of the other address family cannot be
connected to from such an address, and the attempt fails, as in Envoy.
"""

from __future__ import annotations

import socket
from typing import Any

from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from zope.interface import implementer

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.transport_sockets import UPSTREAM_SOCKET, UpstreamSocket
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, SocketOption, transparent

SO_MARK: int = getattr(socket, "SO_MARK", 36)


@extension(original_src_pb2.OriginalSrc)
@implementer(IListenerFilter)
class OriginalSrc:
    """Built from an `OriginalSrc` message."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        mark: int = message.mark
        marks = (SocketOption(socket.SOL_SOCKET, SO_MARK, mark),) if mark else ()
        self._options = {
            family: (transparent(family), *marks) for family in (socket.AF_INET, socket.AF_INET6)
        }

    def accept(self, connection: Connection) -> None:
        """Note where the connection to the host is to come from."""
        info = connection.stream_info
        client = info.remote_address
        if not client.is_ip:
            return
        options = ConnectOptions(
            source=Address(client.host), before_bind=self._options[client.family]
        )
        info.set_filter_state(UPSTREAM_SOCKET, UpstreamSocket(options), read_only=True)

    def close(self) -> None:
        """The listener takes no more clients."""
