"""`envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer`: bytes go over the wire as they are,
as they do where no transport socket is named.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from zope.interface import implementer

from tcpmesh.interfaces import ITransportSocketFactory
from tcpmesh.registry import Context, extension


@extension(RawBuffer)
@implementer(ITransportSocketFactory)
class RawBufferSocket:
    """Puts nothing between."""

    wraps = False

    def __init__(self, message: Any, context: Context) -> None:
        """There is nothing to configure."""

    def close(self) -> None:
        """Nothing is held."""
