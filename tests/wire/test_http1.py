"""HTTP/1.1 responses: what is read of them, in however many pieces they come, and what is
refused.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire import http1
from tcpmesh.wire.http1 import (
    HEAD_LIMIT,
    MOST_FIELDS,
    MOST_INTERIM,
    MOST_SMALL_CHUNKS,
    SMALL_CHUNK,
    MalformedResponse,
    Response,
    ResponseParser,
    request,
)

OK = b"HTTP/1.1 200 OK\r\n"


def parse(data: bytes, head: bool = False, keep: int = 100, ended: bool = False) -> Response | None:
    """Parse byte by byte, and assert that it comes to the same in one piece."""
    parser = ResponseParser(head, keep)
    pieces = [parser.feed(data[i : i + 1]) for i in range(len(data))]
    assert not any(pieces[:-1]), "a response before its end"
    whole = ResponseParser(head, keep)
    at_once = whole.feed(data)
    assert at_once == pieces[-1]
    return parser.end() if ended else at_once


class ResponseTests(SynchronousTestCase):
    """Responses that are well formed."""

    def parsed(
        self, data: bytes, head: bool = False, keep: int = 100, ended: bool = False
    ) -> Response:
        """The response, which is whole."""
        response = parse(data, head, keep, ended)
        assert response is not None
        return response

    def test_counted(self) -> None:
        """A body with a length ends there; names of fields are in lower case and their values
        without blanks around.
        """
        response = self.parsed(OK + b"Content-Length: 3\r\nX-A:  b \r\n\r\nabc")
        self.assertEqual((200, b"abc", True), (response.status, response.body, response.keep_alive))
        self.assertEqual("b", response.header(b"x-a"))
        self.assertIsNone(response.header(b"x-b"))

    def test_several_values(self) -> None:
        """Several fields of one name are one value."""
        self.assertEqual(
            "b,c", self.parsed(OK + b"x-a: b\r\ncontent-length: 0\r\nX-A:c\r\n\r\n").header(b"x-a")
        )

    def test_no_body(self) -> None:
        """204, 304 and the answer to HEAD have no body, whatever the latter two say; a length of 0
        has none either.
        """
        for status in (b"204", b"304"):
            self.assertEqual(int(status), self.parsed(b"HTTP/1.1 " + status + b"\r\n\r\n").status)
        self.assertEqual(304, self.parsed(b"HTTP/1.1 304 x\r\ncontent-length: 9\r\n\r\n").status)
        self.assertEqual(b"", self.parsed(OK + b"content-length: 9\r\n\r\n", head=True).body)
        self.assertEqual(b"", self.parsed(OK + b"content-length: 0\r\n\r\n").body)

    def test_chunked(self) -> None:
        """Chunks are joined; their extensions and the trailer are dropped."""
        chunks = b"3;a=b\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-T: 1\r\n\r\n"
        response = self.parsed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        self.assertEqual((b"abc0123456789abcdef", True), (response.body, response.keep_alive))

    def test_to_the_end(self) -> None:
        """Without a length the body goes to the end of the connection, which is of no further
        use.
        """
        self.assertIsNone(parse(OK + b"\r\nabc"))
        response = self.parsed(OK + b"\r\nabc", ended=True)
        self.assertEqual((b"abc", False), (response.body, response.keep_alive))

    def test_keep(self) -> None:
        """No more of the body is kept than was asked for."""
        self.assertEqual(b"ab", self.parsed(OK + b"content-length: 6\r\n\r\nabcdef", keep=2).body)
        chunks = b"1\r\na\r\n5\r\nbcdef\r\n0\r\n\r\n"
        self.assertEqual(
            b"ab", self.parsed(OK + b"transfer-encoding: chunked\r\n\r\n" + chunks, keep=2).body
        )

    def test_interim(self) -> None:
        """Interim responses are passed over."""
        response = self.parsed(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\n"
            + OK
            + b"content-length: 0\r\n\r\n"
        )
        self.assertEqual((200, b"\ncontent-length: 0\r\n"), (response.status, response.fields))

    def test_keep_alive(self) -> None:
        """HTTP/1.1 keeps the connection unless it says close, HTTP/1.0 only where it says
        keep-alive.
        """
        for head, kept in (
            (b"HTTP/1.1 200 OK\r\nConnection: X, Close\r\n", False),
            (b"HTTP/1.0 200 OK\r\n", False),
            (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", True),
        ):
            self.assertEqual(kept, self.parsed(head + b"content-length: 0\r\n\r\n").keep_alive)

    def test_lenient(self) -> None:
        """As in Envoy lines may end without a carriage return, fields may be folded, and version
        and blanks are not looked at.
        """
        for head in (
            b"HTTP/1.1 200 OK\ncontent-length: 1\n\n",
            OK + b"a: b\ncontent-length: 1\r\n\n",
            b"HTTP/2.0  200\tOK\r\ncontent-length: 1\r\n\r\n",
            OK + b"content-length:\r\n 1\r\nx: y\r\n\r\n",
        ):
            response = self.parsed(head + b"a")
            self.assertEqual((200, b"a"), (response.status, response.body))
        self.assertEqual(
            "b c", self.parsed(OK + b"X-A: b\r\n \tc\r\ncontent-length: 0\r\n\r\n").header(b"x-a")
        )

    def test_unexpected_status(self) -> None:
        """A status that no server should send is a status all the same, an upgrade too."""
        for status in (b"0", b"20", b"099", b"2000", b"101", b"99999"):
            self.assertEqual(
                int(status),
                self.parsed(b"HTTP/1.1 " + status + b" x\r\ncontent-length: 0\r\n\r\n").status,
            )

    def test_more_than_asked(self) -> None:
        """What follows a response is dropped, but the connection is of no further use."""
        for body in (b"content-length: 0\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"):
            response = ResponseParser().feed(OK + body + OK)
            assert response is not None
            self.assertFalse(response.keep_alive)

    def test_reset(self) -> None:
        """A parser that was reset knows nothing of what came before."""
        parser = ResponseParser(keep=9)
        for data in (
            OK + b"content-le",
            OK + b"content-length: 9\r\n\r\nabc",
            OK + b"transfer-encoding: chunked\r\n\r\n2\r\na",
        ):
            self.assertIsNone(parser.feed(data))
            parser.reset()
        response = parser.feed(OK + b"content-length: 1\r\n\r\nz")
        assert response is not None
        self.assertEqual(b"z", response.body)


class MalformedTests(SynchronousTestCase):
    """What is no response, or has no end."""

    def test_refused(self) -> None:
        """Each of these is an error, never a guess."""
        for data in (
            b"SSH-2.0-x\r\n\r\n",
            b"SSH-2.0-x",
            b"http/1.1 200 OK\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 200OK\r\n\r\n",
            b"HTTP/1.1 -1\r\n\r\n",
            b"HTTP/1.1 204\r\ncontent-length: 9\r\n\r\n",
            b"HTTP/1.1 204\r\ntransfer-encoding: chunked\r\n\r\n",
            OK + b"a: b\0\r\n\r\n",
            OK + b"a: b\x7f\r\n\r\n",
            OK + b"a : b\r\n\r\n",
            OK + b"a: b\r\n" * 101 + b"\r\n",
            OK + b"no colon\r\n\r\n",
            OK + b": x\r\n\r\n",
            OK + b"a b: x\r\n\r\n",
            OK + b" folded: x\r\n\r\n",
            OK + b"content-length: -1\r\n\r\n",
            OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
            OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            OK + b"transfer-encoding: gzip\r\n\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\nx\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\n\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\n 0\r\n\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\n0\n\n",
            OK + b"transfer-encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n",
            OK + b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
            OK + b"content-length: 1, 1\r\n\r\na",
            OK + b"transfer-encoding: chunked\r\n\r\n1\r\nabc",
            OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n",
        ):
            self.assertRaises(MalformedResponse, ResponseParser().feed, data)

    def test_limits(self) -> None:
        """A head, or a line between chunks, that does not end is an error once it is too long."""
        for start in (OK, OK + b"transfer-encoding: chunked\r\n\r\n1;"):
            parser = ResponseParser()
            self.assertIsNone(parser.feed(start))
            self.assertRaises(MalformedResponse, parser.feed, b"x" * (HEAD_LIMIT + 1))

    def test_small_chunks(self) -> None:
        """So many small chunks are read, and one more is an error; of large ones there may be any
        number.
        """
        head = OK + b"transfer-encoding: chunked\r\n\r\n"
        small, large = b"1\r\na\r\n", b"400\r\n" + b"a" * SMALL_CHUNK + b"\r\n"
        parser = ResponseParser()
        self.assertIsNone(parser.feed(head + small * MOST_SMALL_CHUNKS))
        self.assertIsNone(parser.feed(large * 2 * MOST_SMALL_CHUNKS))
        self.assertRaises(MalformedResponse, parser.feed, small)

    def test_interim_without_end(self) -> None:
        """So many interim responses are passed over, and one more is an error."""
        interim = b"HTTP/1.1 102 x\r\n\r\n"
        parser = ResponseParser()
        self.assertIsNone(parser.feed(interim * MOST_INTERIM))
        self.assertRaises(MalformedResponse, parser.feed, interim)

    def test_trailer_without_end(self) -> None:
        """A trailer may have as many fields as a head, and one more is an error."""
        parser = ResponseParser()
        last = OK + b"transfer-encoding: chunked\r\n\r\n0\r\n"
        self.assertIsNone(parser.feed(last + b"a: b\r\n" * MOST_FIELDS))
        self.assertRaises(MalformedResponse, parser.feed, b"a: b\r\n")

    def test_nothing_is_searched_twice(self) -> None:
        """A head that comes byte after byte is searched for its end once, not for each byte."""
        searched = 0
        end_of_head = http1._END_OF_HEAD

        class Counting:
            """Counts how many bytes are searched."""

            @staticmethod
            def search(data: bytes, start: int) -> re.Match[bytes] | None:
                nonlocal searched
                searched += len(data) - start
                return end_of_head.search(data, start)

        self.patch(http1, "_END_OF_HEAD", Counting)
        parser = ResponseParser()
        for byte in OK + b"a: b\r\n" * 1000:
            parser.feed(bytes((byte,)))
        self.assertLess(searched, 6 * 6100)

    def test_cut(self) -> None:
        """A connection that ends within a head, a counted body or a chunk has brought no
        response.
        """
        for data in (
            b"",
            OK,
            OK + b"content-length: 3\r\n\r\nab",
            OK + b"transfer-encoding: chunked\r\n\r\n3\r\nab",
        ):
            parser = ResponseParser()
            parser.feed(data)
            self.assertRaises(MalformedResponse, parser.end)


class RequestTests(SynchronousTestCase):
    """Requests."""

    def test_request(self) -> None:
        """A request is its line, its header fields in order, an empty line and its body."""
        self.assertEqual(
            b"POST /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nxy",
            request("POST", "/a?b", (("host", "h"), ("content-length", "2")), b"xy"),
        )
