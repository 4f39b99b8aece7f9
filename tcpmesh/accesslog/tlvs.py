"""Extensions (TLVs) that a configuration adds to PROXY headers, whose values may be formats."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tcpmesh.accesslog.fields.value import encoded
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.wire.proxy_protocol import Tlv

if TYPE_CHECKING:
    from tcpmesh.accesslog.format import Formatter


class TlvEntries:
    """What several `core.v3.TlvEntry` add.

    :param node: the `core.v3.Node` that this proxy is, or `None`.
    """

    def __init__(self, entries: Iterable[Any], node: Any) -> None:
        self._entries = tuple((each.type, _value(each, node)) for each in entries)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._entries)

    def of(self, info: StreamInfo, at: Moment) -> tuple[Tlv, ...]:
        """Those of a connection."""
        return tuple(
            (kind, value if isinstance(value, bytes) else encoded(value.format(info, at)))
            for kind, value in self._entries
        )


def _value(entry: Any, node: Any) -> bytes | Formatter:
    if not entry.HasField("format_string"):
        value: bytes = entry.value
        return value
    from tcpmesh.accesslog.format import formatter

    return formatter(entry.format_string, os.environ, node)
