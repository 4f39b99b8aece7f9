"""Frames of HTTP/2, cut out of a stream of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.http2 import (
    GOAWAY,
    HEAD,
    LARGEST,
    FrameReader,
    FrameTooLarge,
    goaway,
    kind_of,
    stream_of,
)


def frame(payload: bytes, kind: int = 0) -> bytes:
    """A frame of stream 1."""
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + b"\0\0\0\1" + payload


def taken(reader: FrameReader) -> list[bytes]:
    """All frames that are complete."""
    found = []
    while (each := reader.take()) is not None:
        found.append(each)
    return found


class FrameTests(SynchronousTestCase):
    """A `FrameReader`."""

    @given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 30))
    def test_in_pieces(self, payloads: list[bytes], size: int) -> None:
        """However the bytes come, the frames are those that were sent, and nothing is left."""
        sent = [frame(each) for each in payloads]
        data = b"".join(sent)
        reader, found = FrameReader(), []
        for at in range(0, len(data), size):
            reader.add(data[at : at + size])
            self.assertEqual(reader.has_frame, self.is_next(reader))
            found += taken(reader)
        self.assertEqual((sent, 0, False), (found, len(reader), reader.has_frame))

    def is_next(self, reader: FrameReader) -> bool:
        """Whether there is a frame, as a reader with the same bytes says."""
        other = FrameReader()
        other.add(bytes(reader._unread[reader._at :]))
        return other.take() is not None

    def test_byte_by_byte(self) -> None:
        """A frame is there with its last byte."""
        reader = FrameReader()
        data = frame(b"abc", GOAWAY)
        for byte in data[:-1]:
            reader.add(bytes((byte,)))
            self.assertEqual((None, False), (reader.take(), reader.has_frame))
        reader.add(data[-1:])
        self.assertTrue(reader.has_frame)
        self.assertEqual(data, reader.take())
        self.assertEqual((GOAWAY, 1), (kind_of(data), stream_of(data)))

    def test_too_large(self) -> None:
        """One that says it is too large is refused by its head alone."""
        reader = FrameReader()
        reader.add((LARGEST - HEAD).to_bytes(3, "big") + b"\0\0\0\0\0\1")
        self.assertIsNone(reader.take())
        reader.clear()
        reader.add((LARGEST - HEAD + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1")
        self.assertTrue(reader.has_frame)
        self.assertRaises(FrameTooLarge, reader.take)

    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """Whatever comes is frames, the start of one, or refused."""
        reader = FrameReader()
        reader.add(data)
        try:
            found = taken(reader)
        except FrameTooLarge:
            return
        self.assertTrue(data.startswith(b"".join(found)))


class GoAwayTests(SynchronousTestCase):
    """What a GOAWAY says."""

    def test_read(self) -> None:
        """The last stream, without the reserved bit, and the error."""
        self.assertEqual((7, 2), goaway(frame(b"\x80\0\0\x07\0\0\0\x02debug", GOAWAY)))
        self.assertEqual((7, 2), goaway(frame(b"\0\0\0\x07\0\0\0\x02", GOAWAY)))
        self.assertIsNone(goaway(frame(b"\0\0\0\x07\0\0\0", GOAWAY)))
