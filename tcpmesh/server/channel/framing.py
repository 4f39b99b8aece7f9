"""Messages and descriptors on one stream between processes, as bytes: no socket is here.

A frame is a head of eight bytes, which says how long the body is and how many descriptors belong to
it, and the body.  The kernel hands descriptors over beside the bytes (`SCM_RIGHTS`), in order and
never after the first byte that they were sent with, but it glues together what was sent and cuts it
anywhere.  So a reader keeps the descriptors that have come in a queue, and each frame takes as many
as its head says once its body is complete.

Who writes more descriptors than the kernel takes at once (`AT_ONCE`) sends the first ones with the
first byte of the frame, the next ones with the second, and so on: a head has enough bytes for all
that a frame may have.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

HEAD = struct.Struct("<II")

AT_ONCE = 253
"""Descriptors that one system call takes (SCM_MAX_FD of linux/net/scm.h)."""

MOST_DESCRIPTORS = AT_ONCE * HEAD.size
"""Descriptors of one frame."""

MOST_BYTES = 1 << 26
"""Bytes of the body of one frame, where nobody says otherwise."""


LOST = -1
"""In place of a descriptor that had no room."""


class FramingError(Exception):
    """What came is no frame; the text says why."""


class Frame(NamedTuple):
    """One message."""

    body: bytes
    descriptors: tuple[int, ...] = ()
    is_cut: bool = False
    """Whether it had some, for which this process had no room."""


class Piece(NamedTuple):
    """What goes into one system call."""

    data: bytes
    descriptors: tuple[int, ...] = ()


def pieces_of(body: bytes, descriptors: Sequence[int] = ()) -> Iterator[Piece]:
    """What is to be sent for a frame, in order.

    :raise FramingError: where it has too many descriptors.
    """
    if len(descriptors) > MOST_DESCRIPTORS:
        raise FramingError(f"a frame cannot have {len(descriptors)} descriptors")
    data = HEAD.pack(len(body), len(descriptors)) + body
    rest = tuple(descriptors)
    at = 0
    while len(rest) > AT_ONCE:
        yield Piece(data[at : at + 1], rest[:AT_ONCE])
        rest = rest[AT_ONCE:]
        at += 1
    yield Piece(data[at:], rest)


class FrameReader:
    """Makes frames of what comes.

    :param most: bytes that a body may have.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._data = bytearray()
        self._descriptors: deque[int] = deque()

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return bool(self._data)

    def feed(
        self, data: bytes | memoryview, descriptors: Sequence[int] = (), is_cut: bool = False
    ) -> list[Frame]:
        """The frames that are complete now.  Their descriptors are the caller's; those of others
        are kept until `abandon`.

        :param is_cut: whether the descriptors of the last frame that begins here are lost: the
            kernel gives nothing out that stands behind some in the same call.
        :raise FramingError: where this is no frame; the reader is of no use from then on, but for
            `abandon`.
        """
        self._descriptors += descriptors
        self._data += data
        if is_cut:
            self._descriptors += [LOST] * self._missing()
        frames: list[Frame] = []
        at = 0
        try:
            while (end := self._end(at)) is not None:
                frames.append(self._take(at, end))
                at = end
            self._check_descriptors(at)
        except FramingError:
            self._descriptors.extendleft(fd for frame in frames for fd in frame.descriptors)
            raise
        del self._data[:at]
        return frames

    def abandon(self) -> list[int]:
        """The descriptors that have come for no complete frame: they are the caller's to close."""
        left = [fd for fd in self._descriptors if fd != LOST]
        self._descriptors.clear()
        return left

    def _end(self, at: int) -> int | None:
        """Where the frame that begins here ends; `None` where it is not complete."""
        if len(self._data) - at < HEAD.size:
            return None
        length, count = HEAD.unpack_from(self._data, at)
        if length > self._most:
            raise FramingError(f"a frame of {length} bytes")
        if count > MOST_DESCRIPTORS:
            raise FramingError(f"a frame with {count} descriptors")
        end = at + HEAD.size + int(length)
        return end if end <= len(self._data) else None

    def _take(self, at: int, end: int) -> Frame:
        _, count = HEAD.unpack_from(self._data, at)
        if count > len(self._descriptors):
            raise FramingError(f"of {count} descriptors of a frame {len(self._descriptors)} came")
        taken = tuple(self._descriptors.popleft() for _ in range(count))
        is_cut = LOST in taken
        if is_cut:
            taken = tuple(fd for fd in taken if fd != LOST)
        return Frame(bytes(memoryview(self._data)[at + HEAD.size : end]), taken, is_cut)

    def _missing(self) -> int:
        """How many descriptors the last frame that has begun lacks.

        :raise FramingError: where nobody knows.
        """
        at = expected = count = 0
        while at + HEAD.size <= len(self._data):
            length, count = HEAD.unpack_from(self._data, at)
            expected += count
            at += HEAD.size + length
        missing: int = expected - len(self._descriptors)
        if at < len(self._data) or not 0 < missing <= count <= MOST_DESCRIPTORS:
            raise FramingError("descriptors are lost: there is no room for them here")
        return missing

    def _check_descriptors(self, at: int) -> None:
        """Descriptors come with the frame that they belong to."""
        expected = 0
        if len(self._data) - at >= HEAD.size:
            _, expected = HEAD.unpack_from(self._data, at)
        elif len(self._data) > at:
            expected = MOST_DESCRIPTORS
        if len(self._descriptors) > expected:
            raise FramingError("descriptors came that belong to no frame")
