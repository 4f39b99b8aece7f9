"""set_filter_state: puts objects made of formatted text into a connection's filter state.

What reads them decides by their names, such as tcp_proxy with `envoy.tcp_proxy.cluster`.  A text
that is not fit for its kind of object leaves the filter state as it is.

Of Envoy's this leaves out two of the moments at which it may act:
`on_downstream_tls_handshake` and `on_downstream_data`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2

from tcpmesh.accesslog.format import formatter
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.connection.state_objects import FACTORIES
from tcpmesh.logs.debug import debug_logger
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.stream.filter_state import Sharing
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

debug_log = debug_logger("filter")


class StateValue:
    """One `FilterStateValue`: which object to make of which text."""

    def __init__(self, message: Any, node: Any = None) -> None:
        self._key: str = message.object_key
        self._make = FACTORIES[message.factory_key or message.object_key]
        self._text = formatter(message.format_string, os.environ, node)
        self._read_only: bool = message.read_only
        self._sharing = Sharing(message.shared_with_upstream)
        self._skip_if_empty: bool = message.skip_if_empty

    def set(self, info: StreamInfo, at: Moment) -> None:
        """Set it for a connection, or leave it where there is nothing to set."""
        text = self._text.format(info, at)
        if not text and self._skip_if_empty:
            return
        made = self._make(text)
        if made is not None:
            info.set_filter_state(self._key, made, self._read_only, self._sharing)
        elif debug_log.enabled:
            debug_log.debug(
                "[C{id}] {value!r} makes no filter state {key}",
                id=info.id,
                value=text,
                key=self._key,
            )


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
