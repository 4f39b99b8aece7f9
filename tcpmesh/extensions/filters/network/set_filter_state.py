"""set_filter_state: puts objects made of formatted text into a connection's filter state.

What reads them decides by their names, such as tcp_proxy with `envoy.tcp_proxy.cluster`.  A text
that is not fit for its kind of object leaves the filter state as it is.

It acts when a connection is new, when its TLS handshake is over (at once where there is none), and
with the first that the client sends, be it the end of its stream.  Nothing of Envoy's is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2

from tcpmesh.accesslog.state_values import StateValue
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.connection.transport_sockets import handshake_of
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo


@extension(set_filter_state_pb2.Config)
class SetFilterState(ReadFilter):
    """What a chain's `set_filter_state` message says."""

    serves_many_chains = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._clock = context.network.clock

        def values(entries: Iterable[Any]) -> tuple[StateValue, ...]:
            return tuple(StateValue(each, context.node) for each in entries)

        self._at_accept = values(message.on_new_connection)
        self._at_handshake = values(message.on_downstream_tls_handshake)
        self._at_data = values(message.on_downstream_data)
        self.sees_data = bool(self._at_data)

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Set what is for this moment, and see to what is for the end of the handshake."""
        connection = manager.connection
        info, transport = connection.stream_info, connection.transport
        self._set(self._at_accept, info)
        if not self._at_handshake:
            return FilterStatus.CONTINUE
        handshake = handshake_of(transport)
        if handshake is not None:
            handshake.when_ready(lambda: self._set(self._at_handshake, info))
        else:
            self._set(self._at_handshake, info)
        return FilterStatus.CONTINUE

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        """The client speaks, for the first time."""
        self._set(self._at_data, manager.connection.stream_info)
        return FilterStatus.DONE

    def _set(self, values: tuple[StateValue, ...], info: StreamInfo) -> None:
        """Set these in order: a later text may show an earlier object."""
        now = Moment(self._clock.seconds(), time.time())
        for value in values:
            value.set(info, now)
