"""direct_response: says the same to every client, and closes.

Ends its chain.  Nothing of Envoy's is left out.
"""

from __future__ import annotations

import os
from typing import Any

from envoy.extensions.filters.network.direct_response.v3 import config_pb2
from zope.interface import implementer

from tcpmesh.config.fields.values import source_bytes
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import NetworkFilter
from tcpmesh.interfaces import INetworkFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import FILTERING

SERVED = CloseReason(EndedBy.PROXY, FILTERING, Cause.SERVED)


@extension(config_pb2.Config)
@implementer(INetworkFilter)
class DirectResponse(NetworkFilter):
    """What a chain's `direct_response` message says."""

    serves_many_chains = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._response = source_bytes(message.response, os.environ) or b""

    def attach(self, connection: Connection) -> None:
        """Answer a client, whatever it says."""
        connection.stream_info.details = "direct_response"
        if self._response:
            connection.transport.write(self._response)
            connection.stream_info.bytes = (0, 0, 0, len(self._response))
            # FIN goes first: of a client that has spoken there is something unread, and to close is
            # to reset it then.
            connection.transport.loseWriteConnection()
        connection.close(SERVED)
