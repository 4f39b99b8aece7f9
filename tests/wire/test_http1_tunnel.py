"""Answers that open a tunnel in HTTP/1.1, in however many pieces they come."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.http1 import MalformedResponse
from tcpmesh.wire.http1_tunnel import HeadLimits, TunnelAnswer, chunk

OK = b"HTTP/1.1 200 OK\r\n"


def take(data: bytes, connects: bool = True, size: int = 1) -> tuple[TunnelAnswer, bytes]:
    """The answer and the bytes of the tunnel, of what comes in pieces of so many bytes."""
    answer = TunnelAnswer(connects)
    plain = b"".join(answer.take(data[i : i + size]) for i in range(0, len(data), size))
    whole = TunnelAnswer(connects)
    assert whole.take(data) == plain
    assert (whole.opens, whole.is_whole, whole.overhead) == (
        answer.opens,
        answer.is_whole,
        answer.overhead,
    )
    return answer, plain


class ConnectTests(SynchronousTestCase):
    """Answers to CONNECT."""

    def test_opens(self) -> None:
        """All that follows the head of a 2xx is the tunnel's, whatever the head says of a
        length.
        """
        for head in (
            OK,
            OK + b"Content-Length: 3\r\n",
            OK + b"Content-Length: 0\r\n",
            OK + b"Transfer-Encoding: chunked\r\n",
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.1 204 Fine\r\n",
            b"HTTP/1.1 299 Fine\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK,
        ):
            answer, plain = take(head + b"\r\n5\r\nabcdef")
            self.assertEqual((True, b"5\r\nabcdef"), (answer.opens, plain), head)
            self.assertEqual(len(head) + 2, answer.overhead)

    def test_refuses(self) -> None:
        """Any other status opens nothing, and no byte of its body is the tunnel's."""
        for status in (101, 300, 403, 503):
            answer, _ = take(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
            self.assertEqual((True, False, status), (answer.has_head, answer.opens, answer.status))

    def test_malformed(self) -> None:
        """What is no response, or leaves its length open, is refused."""
        for data in (
            b"rubbish\r\n\r\n",
            OK + b"Content-Length: x\r\n\r\n",
            OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            OK + b"Transfer-Encoding: gzip\r\n\r\n",
            OK + b"A: b\r\n" * 101 + b"\r\n",
        ):
            self.assertRaises(MalformedResponse, TunnelAnswer(True).take, data)

    def test_limits(self) -> None:
        """How many fields, and how many bytes, a head may have can be said otherwise."""
        data = OK + b"A: b\r\n" * 20 + b"\r\n"
        self.assertRaises(MalformedResponse, TunnelAnswer(True, HeadLimits(10)).take, data)
        self.assertRaises(MalformedResponse, TunnelAnswer(True, HeadLimits(size=50)).take, data)
        many = OK + b"A: b\r\n" * 150 + b"\r\n"
        self.assertEqual(b"", TunnelAnswer(True, HeadLimits(200)).take(many))

    def test_fields(self) -> None:
        """The fields can be had with names in lower case and the status first."""
        answer, _ = take(OK + b"X-Hop: one\r\nx-hop:two \r\nB:\r\n\r\n")
        hops = (("x-hop", "one"), ("x-hop", "two"), ("b", ""))
        self.assertEqual(((":status", "200"), *hops), answer.fields)

    def test_forgotten(self) -> None:
        """The fields are not kept for as long as a tunnel lasts."""
        answer, _ = take(OK + b"X-Hop: one\r\n\r\n")
        answer.forget_fields()
        self.assertEqual(((":status", "200"),), answer.fields)
        self.assertEqual((b"abc", True), (answer.take(b"abc"), answer.opens))

    def test_closes(self) -> None:
        """Whether the head says that the connection is to be closed can be had."""
        for head, closes in (
            (OK, False),
            (OK + b"Connection: close\r\n", True),
            (b"HTTP/1.0 200 OK\r\n", True),
        ):
            self.assertEqual(closes, take(head + b"\r\n")[0].closes)

    @given(st.binary(max_size=50), st.integers(1, 20))
    def test_pieces(self, tail: bytes, size: int) -> None:
        """It comes to the same in whatever pieces it comes."""
        self.assertEqual(tail, take(OK + b"\r\n" + tail, size=size)[1])

    @given(st.binary(max_size=200), st.booleans(), st.integers(1, 20))
    def test_anything(self, data: bytes, connects: bool, size: int) -> None:
        """Whatever comes is taken or refused, and nothing else happens."""
        for start in (b"", b"HTTP/1.1 2", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
            answer = TunnelAnswer(connects)
            whole = start + data
            with contextlib.suppress(MalformedResponse):
                for i in range(0, len(whole), size):
                    answer.take(whole[i : i + size])
                    if answer.is_whole:
                        break


class PostTests(SynchronousTestCase):
    """Answers to POST."""

    def test_bodies(self) -> None:
        """The tunnel's bytes are the body: chunked, counted, or to the end of the connection."""
        for head, body, whole in (
            (OK, b"abc", False),
            (OK + b"Content-Length: 3\r\n", b"abc", True),
            (OK + b"Content-Length: 4\r\n", b"abc", False),
            (OK + b"Transfer-Encoding: chunked\r\n", chunk(b"ab") + chunk(b"c"), False),
            (OK + b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\nx: y\r\n\r\n", True),
        ):
            answer, plain = take(head + b"\r\n" + body, connects=False)
            self.assertEqual((True, b"abc", whole), (answer.opens, plain, answer.is_whole), head)

    def test_over_at_once(self) -> None:
        """An answer without a body opens nothing."""
        for data in (OK + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"):
            answer, _ = take(data, connects=False)
            self.assertEqual((True, False, True), (answer.has_head, answer.opens, answer.is_whole))

    @given(st.binary(min_size=1, max_size=300))
    def test_chunk(self, data: bytes) -> None:
        """A chunk that is written is read as what it was made of."""
        head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(data, take(head + chunk(data), connects=False)[1])
