"""set_filter_state: puts objects made of formatted text into a connection's filter state.

What reads them decides by their names, such as tcp_proxy with `envoy.tcp_proxy.cluster`.  A text
that is not fit for its kind of object leaves the filter state as it is.

Of Envoy's this leaves out two of the moments at which it may act:
`on_downstream_tls_handshake` and `on_downstream_data`.
"""

from __future__ import annotations

import time
from typing import Any

from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2

from tcpmesh.accesslog.state_values import StateValue
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.stream.moment import Moment


@extension(set_filter_state_pb2.Config)
class SetFilterState(ReadFilter):
    """What a chain's `set_filter_state` message says."""

    serves_many_chains = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._clock = context.network.clock
        self._values = tuple(StateValue(each, context.node) for each in message.on_new_connection)

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Set everything, in order: a later text may show an earlier object."""
        info, now = manager.connection.stream_info, Moment(self._clock.seconds(), time.time())
        for value in self._values:
            value.set(info, now)
        return FilterStatus.CONTINUE
