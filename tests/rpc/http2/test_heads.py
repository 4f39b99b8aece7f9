"""How many header fields a host may send."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.http2.heads import MOST_FIELDS, MOST_STRAYS, HeadLimits
from tcpmesh.rpc.http2.stream import Http2Stream
from tcpmesh.wire import http2


def frame(kind: int, size: int = 0, stream: int = 1) -> bytes:
    """A frame with so many bytes in it."""
    head = size.to_bytes(3, "big") + bytes((kind, 0)) + stream.to_bytes(4, "big")
    return head + bytes(size)


def asked(status: int = 0) -> dict[int, Http2Stream]:
    """One stream, whose response has come where there is a status."""
    stream = Http2Stream((), None, lambda *_: None)  # type: ignore[arg-type]
    stream.status = status
    return {1: stream}


class HeadLimitsTests(SynchronousTestCase):
    """Frames with header fields."""

    def test_size(self) -> None:
        """A head may be so large, in one frame or in several; the next one is counted anew."""
        limits, streams = HeadLimits(), asked()
        for _ in range(2):
            self.assertTrue(limits.allows(frame(http2.HEADERS, MOST_FIELDS), streams, 1))
        self.assertFalse(limits.allows(frame(http2.CONTINUATION), streams, 1))
        self.assertFalse(HeadLimits().allows(frame(http2.HEADERS, MOST_FIELDS + 1), streams, 1))

    def test_strays(self) -> None:
        """Heads that answer nothing may be so many more than there were streams: of streams that
        are gone, trailers, and responses that are not final.
        """
        for streams in ({}, asked(status=200)):
            limits = HeadLimits()
            for _ in range(MOST_STRAYS):
                self.assertTrue(limits.allows(frame(http2.HEADERS), streams, 1))
            limits.interim()
            self.assertTrue(limits.allows(frame(http2.DATA), streams, 1))
            self.assertFalse(limits.allows(frame(http2.HEADERS), streams, 1))
            self.assertTrue(limits.allows(frame(http2.DATA), streams, 3))

    def test_answers(self) -> None:
        """A head that answers a request is no stray, nor is any other frame."""
        limits = HeadLimits()
        for _ in range(MOST_STRAYS * 2):
            self.assertTrue(limits.allows(frame(http2.HEADERS), asked(), 0))
            self.assertTrue(limits.allows(frame(http2.DATA, stream=9), asked(), 0))
