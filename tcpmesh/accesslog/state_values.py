"""Objects of filter state that a configuration makes of formatted text, for the filters that set
them.
"""

from __future__ import annotations

import os
from typing import Any

from tcpmesh.accesslog.format import formatter
from tcpmesh.connection.state_objects import FACTORIES
from tcpmesh.logs.debug import debug_logger
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
