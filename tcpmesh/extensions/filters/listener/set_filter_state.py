"""The listener filter `set_filter_state`: puts objects made of formatted text into the filter state
of a client, as the network filter of the same name does, but before there is a filter chain.

The text may show what filters before this one have found out, such as the addresses of a PROXY
header or the server name that the client asks for.
"""

from __future__ import annotations

import time
from typing import Any

from envoy.extensions.filters.listener.set_filter_state.v3 import set_filter_state_pb2
from zope.interface import implementer

from tcpmesh.accesslog.state_values import StateValue
from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.stream.moment import Moment


@extension(set_filter_state_pb2.Config)
@implementer(IListenerFilter)
class SetFilterState:
    """Built from a `Config` message."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._clock = context.network.clock
        self._values = tuple(StateValue(each, context.node) for each in message.on_accept)

    def accept(self, connection: Connection) -> None:
        """Set everything, in order: a later text may show an earlier object."""
        info, now = connection.stream_info, Moment(self._clock.seconds(), time.time())
        for value in self._values:
            value.set(info, now)

    def close(self) -> None:
        """The listener takes no more clients."""
