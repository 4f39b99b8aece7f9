"""The frames of HTTP/2 (RFC 9113, 4.1): cut out of a stream of bytes before anything reads them.

To read a frame takes some 50 us however small it is, so who has a connection wants to count them,
and to stop between any two.
"""

from __future__ import annotations

import struct

HEAD = 9
LARGEST = HEAD + (1 << 14)
"""Bytes of the largest frame that a peer may send unless it is told otherwise."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9


PADDED = 0x8
"""The flag of a DATA frame that has padding, be it all that it has."""


_HEAD = struct.Struct(">IBI")


class FrameTooLarge(Exception):
    """A frame is larger than we have said any may be, or this is no HTTP/2."""


class FrameReader:
    """Takes whole frames out of what comes in pieces."""

    __slots__ = ("_at", "_unread")

    def __init__(self) -> None:
        self._unread = bytearray()
        self._at = 0
        """Where the next frame begins: what is before it was taken."""

    def __len__(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._unread) - self._at

    def add(self, data: bytes) -> None:
        """More has come."""
        if self._at:
            del self._unread[: self._at]
            self._at = 0
        self._unread += data

    def take(self) -> bytes | None:
        """The next frame, its head included; `None` while it is not complete.

        :raise FrameTooLarge: where its head says so.
        """
        unread, at = self._unread, self._at
        if len(unread) - at < HEAD:
            return None
        size = HEAD + int.from_bytes(unread[at : at + 3], "big")
        if size > LARGEST:
            raise FrameTooLarge(f"a frame of {size} bytes")
        if len(unread) - at < size:
            return None
        self._at = at + size
        return bytes(unread[at : at + size])

    @property
    def has_frame(self) -> bool:
        """Whether the next frame is complete, or too large."""
        unread, at = self._unread, self._at
        if len(unread) - at < HEAD:
            return False
        size = HEAD + int.from_bytes(unread[at : at + 3], "big")
        return size > LARGEST or len(unread) - at >= size

    def clear(self) -> None:
        """Forget all."""
        self._unread.clear()
        self._at = 0


def kind_of(frame: bytes) -> int:
    """Its type."""
    return frame[3]


def stream_of(frame: bytes) -> int:
    """The number of its stream, or 0 for the connection."""
    return int.from_bytes(frame[5:HEAD], "big") & 0x7FFFFFFF


def has_data(frame: bytes) -> bool:
    """Whether it is a DATA frame with bytes, none of which is padding."""
    return frame[3] == DATA and len(frame) > HEAD and not frame[4] & PADDED


def data_head(stream: int, size: int) -> bytes:
    """What goes before so many bytes of a stream, less than 16 MiB, in a frame without flags."""
    return _HEAD.pack(size << 8 | DATA, 0, stream)


def goaway(frame: bytes) -> tuple[int, int] | None:
    """The last stream that the peer has acted on, and its error code; `None` for a frame that is
    too short (6.8).
    """
    payload = frame[HEAD:]
    if len(payload) < 8:
        return None
    return (
        int.from_bytes(payload[:4], "big") & 0x7FFFFFFF,
        int.from_bytes(payload[4:8], "big"),
    )
