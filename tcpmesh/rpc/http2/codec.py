"""HTTP/2 as a client speaks it (RFC 9113), begun without an upgrade: h2, set up for a proxy.

h2 takes a connection for closed as soon as it has read GOAWAY.  A server that leaves in an orderly
way answers after it, so whoever reads frames tells that one apart, and h2 never sees it.

Nor does it see most of the bytes.  To h2 a frame costs 20 us, whatever it is, and a tunnel has
nothing else than frames with bytes.  Where such a frame neither has padding nor ends its stream all
that h2 would have to do is to count, so it is counted here, in h2's own windows; what is not as
simple as that, and all that is wrong, is for h2.

Only what speaks HTTP/2 imports this, and is imported only where a configuration asks for it:
proxies without it do not pay for h2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from h2.stream import StreamState

from tcpmesh.wire.http2 import data_head

Fields = tuple[tuple[str, str], ...]
"""Header fields, those with a colon first; where they were received, each character is a byte."""


FORGET_EVERY = 64
"""After so many streams h2 looks for those that are over."""

RECEIVING = frozenset((StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL))


class Http2Codec(H2Connection):
    """The state of one connection.  It remembers only a few of the streams that are over: a
    connection may live for months.
    """

    MAX_CLOSED_STREAMS = 256

    def __init__(self, most_fields: int, settings: Mapping[Any, int]) -> None:
        """
        :param most_fields: bytes of the header fields of one response.
        :param settings: what else the peer is told.
        """
        super().__init__(H2Configuration(client_side=True, header_encoding="latin-1"))
        self._begun = 0
        told: dict[Any, int] = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_HEADER_LIST_SIZE: most_fields,
        }
        self.local_settings = Settings(client=True, initial_values={**told, **settings})
        self.initiate_connection()

    @property
    def open_outbound_streams(self) -> int:
        """How many there are, or 0: h2 asks for each that begins, and would go through all of them,
        however many, to forget those that are over.  Whoever begins one has counted them.
        """
        self._begun += 1
        return 0 if self._begun % FORGET_EVERY else super().open_outbound_streams

    def ignore_length(self, stream: int) -> None:
        """The `content-length` of a response has no meaning: it opens a tunnel, and h2 knows of
        none.
        """
        known = self.streams.get(stream)
        if known is not None:
            known._expected_content_length = None

    def count_received(self, number: int, size: int) -> bool:
        """The peer has sent bytes of a stream whose response has begun, in a DATA frame without
        padding that does not end it.

        :return: whether that is all there is to it; else the frame is for `receive_data`.
        """
        stream = self.streams.get(number)
        if stream is None or stream.state_machine.state not in RECEIVING:
            return False
        if self.incoming_buffer._headers_buffer:  # a frame must not come between those of a head
            return False
        windows = self._inbound_flow_control_window_manager, stream._inbound_window_manager
        if any(size > window.current_window_size for window in windows):
            return False
        for window in windows:
            window.window_consumed(size)
        return True

    def send_bytes(self, number: int, data: bytes, is_last: bool) -> int:
        """Send so much of a stream, which is open for it and has room.

        :param is_last: whether this ends it.
        :return: how many frames that takes.
        """
        most, size = self.max_outbound_frame_size, len(data)
        here = max(0, (size - 1) // most * most) if is_last else size
        self.outbound_flow_control_window -= here
        self.streams[number].outbound_flow_control_window -= here
        out, view = self._data_to_send, memoryview(data)
        for start in range(0, here, most):
            part = view[start : min(start + most, here)]
            out += data_head(number, len(part))
            out += part
        if is_last:  # the frame that ends it is a matter of h2's
            self.send_data(number, data[here:], end_stream=True)
        return max(1, -(-size // most))

    def stop(self) -> None:
        """Read no more: what h2 reads frames with are methods of its own, which would keep it."""
        self._frame_dispatch_table: dict[Any, Any] = {}


def encoded(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Header fields as they are sent; texts may hold bytes that are no UTF-8, as surrogates."""
    return [
        (name.encode("ascii"), value.encode("utf-8", "surrogateescape")) for name, value in fields
    ]
