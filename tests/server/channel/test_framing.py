"""Frames with descriptors, without a socket: descriptors are numbers here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.channel.framing import (
    AT_ONCE,
    HEAD,
    MOST_DESCRIPTORS,
    Frame,
    FrameReader,
    FramingError,
    pieces_of,
)

FRAMES = st.lists(
    st.builds(
        Frame,
        st.binary(max_size=20),
        st.lists(st.integers(3, 1000), max_size=4).map(tuple),
        st.just(False),
    ),
    max_size=6,
)


def written(frames: Sequence[Frame]) -> tuple[bytes, dict[int, tuple[int, ...]]]:
    """The bytes of frames, and the descriptors by the byte that they were sent with."""
    data = b""
    beside = {}
    for frame in frames:
        for piece in pieces_of(frame.body, frame.descriptors):
            if piece.descriptors:
                beside[len(data)] = piece.descriptors
            data += piece.data
    return data, beside


def read_in_parts(reader: FrameReader, frames: Sequence[Frame], cuts: Sequence[int]) -> list[Frame]:
    """What a reader makes of them where the stream is cut so."""
    data, beside = written(frames)
    found = []
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        came = tuple(fd for at in sorted(beside) if start <= at < end for fd in beside[at])
        found += reader.feed(data[start:end], came)
    return found


class FramingTests(SynchronousTestCase):
    """`pieces_of` and `FrameReader`."""

    def test_every_cut(self) -> None:
        """Frames and their descriptors come whole, wherever the stream is cut."""
        frames = [Frame(b"one", (3, 4)), Frame(b""), Frame(b"three"), Frame(b"4", (9,))]
        for cut in range(len(written(frames)[0]) + 1):
            self.assertEqual(read_in_parts(FrameReader(), frames, [cut]), frames)

    def test_byte_by_byte(self) -> None:
        """Frames come whole of single bytes, and nothing is kept afterwards."""
        frames = [Frame(b"one", (3, 4)), Frame(b"", (5,)), Frame(b"three")]
        reader = FrameReader()
        cuts = range(1, len(written(frames)[0]))
        self.assertEqual(read_in_parts(reader, frames, cuts), frames)
        self.assertFalse(reader.is_inside)
        self.assertEqual(reader.abandon(), [])

    @given(FRAMES, st.data())
    def test_any_frames(self, frames: list[Frame], data: st.DataObject) -> None:
        """Any frames come whole, however the stream is cut."""
        size = len(written(frames)[0])
        cuts = data.draw(st.lists(st.integers(0, size), max_size=8))
        self.assertEqual(read_in_parts(FrameReader(), frames, cuts), frames)

    @given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(3, 99), max_size=3))
    def test_garbage(self, parts: list[bytes], descriptors: list[int]) -> None:
        """Of garbage come frames or an error, and every descriptor is accounted for."""
        reader = FrameReader(most=64)
        found: list[Frame] = []
        try:
            found += reader.feed(b"", ())
            for number, part in enumerate(parts):
                found += reader.feed(part, descriptors if not number else ())
        except FramingError:
            pass
        given_out = [fd for frame in found for fd in frame.descriptors] + reader.abandon()
        self.assertEqual(sorted(given_out), sorted(descriptors) if parts else [])

    def test_more_descriptors_than_one_call_takes(self) -> None:
        """A frame with more descriptors than the kernel takes at once is sent in several calls."""
        frame = Frame(b"body", tuple(range(2 * AT_ONCE + 1)))
        pieces = list(pieces_of(frame.body, frame.descriptors))
        self.assertEqual([len(piece.descriptors) for piece in pieces], [AT_ONCE, AT_ONCE, 1])
        self.assertEqual([len(piece.data) for piece in pieces][:2], [1, 1])
        self.assertEqual(read_in_parts(FrameReader(), [frame], []), [frame])
        most = Frame(b"", tuple(range(MOST_DESCRIPTORS)))
        self.assertEqual(read_in_parts(FrameReader(), [most], []), [most])

    def test_too_many_to_write(self) -> None:
        """More descriptors than a frame may have are refused before anything is sent."""
        with self.assertRaises(FramingError):
            list(pieces_of(b"", range(MOST_DESCRIPTORS + 1)))

    def test_too_long(self) -> None:
        """A body that is longer than allowed is refused by its head, before it comes."""
        with self.assertRaisesRegex(FramingError, "a frame of 11 bytes"):
            FrameReader(most=10).feed(HEAD.pack(11, 0))

    def test_too_many_announced(self) -> None:
        """A head that announces too many descriptors is refused."""
        with self.assertRaisesRegex(FramingError, "a frame with 2025 descriptors"):
            FrameReader().feed(HEAD.pack(0, MOST_DESCRIPTORS + 1))

    def test_lost_descriptors(self) -> None:
        """A frame whose descriptors had no room comes whole and says so, and the others have
        theirs.
        """
        first = HEAD.pack(1, 1) + b"a" + HEAD.pack(0, 0)
        expected = [Frame(b"a", (5,)), Frame(b""), Frame(b"bc", (), True), Frame(b"", (6,))]
        reader = FrameReader()
        found = reader.feed(first, (5,)) + reader.feed(HEAD.pack(2, 2) + b"b", (), True)
        found += reader.feed(b"c")
        self.assertEqual(found + reader.feed(HEAD.pack(0, 1), (6,)), expected)

    def test_lost_descriptors_of_nobody(self) -> None:
        """Where nobody knows how many descriptors of what frame are lost, it is none."""
        for data in (b"", HEAD.pack(0, 0), HEAD.pack(1, 1)[:5], HEAD.pack(0, 1 << 30)):
            with self.assertRaisesRegex(FramingError, "descriptors are lost"):
                FrameReader().feed(data, (), True)

    def test_missing_descriptors(self) -> None:
        """A frame whose descriptors did not come is refused, and those that came are to be
        closed.
        """
        reader = FrameReader()
        with self.assertRaisesRegex(FramingError, "of 2 descriptors of a frame 1 came"):
            reader.feed(HEAD.pack(1, 2) + b"x", (7,))
        self.assertEqual(reader.abandon(), [7])

    def test_unwanted_descriptors(self) -> None:
        """Descriptors that no frame announces are refused, also where frames were complete before
        them, and all are to be closed.
        """
        reader = FrameReader()
        data = HEAD.pack(0, 1) + HEAD.pack(1, 0)
        with self.assertRaisesRegex(FramingError, "belong to no frame"):
            reader.feed(data, (7, 8))
        self.assertEqual(sorted(reader.abandon()), [7, 8])

    def test_descriptors_ahead_of_their_head(self) -> None:
        """Descriptors that came with the first bytes of a head are kept for its frame."""
        reader = FrameReader()
        head = HEAD.pack(0, 1)
        self.assertEqual(reader.feed(head[:1], (7,)), [])
        self.assertEqual(reader.feed(head[1:]), [Frame(b"", (7,))])

    def test_descriptors_of_nothing(self) -> None:
        """Descriptors without a byte are refused."""
        reader = FrameReader()
        with self.assertRaises(FramingError):
            reader.feed(b"", (7,))
        self.assertEqual(reader.abandon(), [7])
