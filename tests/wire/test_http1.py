"""HTTP/1.1 responses: what is read of them, in however many pieces they come, and what is refused."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.http1 import HEAD_LIMIT, MalformedResponse, Response, ResponseParser, request

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

    def parsed(self, data: bytes, head: bool = False, keep: int = 100, ended: bool = False) -> Response:
        """The response, which is whole."""
        response = parse(data, head, keep, ended)
        assert response is not None
        return response

    def test_counted(self) -> None:
        """A body with a length ends there; names of fields are in lower case and their values without blanks around."""
        response = self.parsed(OK + b"Content-Length: 3\r\nX-A:  b \r\n\r\nabc")
        self.assertEqual((200, b"abc", True), (response.status, response.body, response.keep_alive))
        self.assertEqual("b", response.header("x-a"))
        self.assertIsNone(response.header("x-b"))

    def test_no_body(self) -> None:
        """204, 304 and the answer to HEAD have no body, whatever they say; a length of 0 has none either."""
        for status in (b"204", b"304"):
            self.assertEqual(int(status), self.parsed(b"HTTP/1.1 " + status + b"\r\ncontent-length: 9\r\n\r\n").status)
        self.assertEqual(b"", self.parsed(OK + b"content-length: 9\r\n\r\n", head=True).body)
        self.assertEqual(b"", self.parsed(OK + b"content-length: 0\r\n\r\n").body)

    def test_chunked(self) -> None:
        """Chunks are joined; their extensions and the trailer are dropped."""
        chunks = b"3;a=b\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-T: 1\r\n\r\n"
        response = self.parsed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        self.assertEqual((b"abc0123456789abcdef", True), (response.body, response.keep_alive))

    def test_to_the_end(self) -> None:
        """Without a length the body goes to the end of the connection, which is of no further use."""
        self.assertIsNone(parse(OK + b"\r\nabc"))
        response = self.parsed(OK + b"\r\nabc", ended=True)
        self.assertEqual((b"abc", False), (response.body, response.keep_alive))

    def test_keep(self) -> None:
        """No more of the body is kept than was asked for."""
        self.assertEqual(b"ab", self.parsed(OK + b"content-length: 6\r\n\r\nabcdef", keep=2).body)
        chunks = b"1\r\na\r\n5\r\nbcdef\r\n0\r\n\r\n"
        self.assertEqual(b"ab", self.parsed(OK + b"transfer-encoding: chunked\r\n\r\n" + chunks, keep=2).body)

    def test_interim(self) -> None:
        """Interim responses are passed over."""
        response = self.parsed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\n" + OK + b"content-length: 0\r\n\r\n")
        self.assertEqual((200, (("content-length", "0"),)), (response.status, response.headers))

    def test_keep_alive(self) -> None:
        """HTTP/1.1 keeps the connection unless it says close, HTTP/1.0 only where it says keep-alive."""
        for head, kept in (
            (b"HTTP/1.1 200 OK\r\nConnection: X, Close\r\n", False),
            (b"HTTP/1.0 200 OK\r\n", False),
            (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", True),
        ):
            self.assertEqual(kept, self.parsed(head + b"content-length: 0\r\n\r\n").keep_alive)


class MalformedTests(SynchronousTestCase):
    """What is no response, or has no end."""

    def test_refused(self) -> None:
        """Each of these is an error, never a guess."""
        for data in (
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
            b"HTTP/1.1 099 x\r\n\r\n",
            b"HTTP/1.1 2000\r\n\r\n",
            b"HTTP/1.1 101 x\r\n\r\n",
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
            OK + b"transfer-encoding: chunked\r\n\r\n1\r\nabc",
            OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n",
            OK + b"content-length: 1\r\n\r\nab",
        ):
            self.assertRaises(MalformedResponse, ResponseParser().feed, data)

    def test_limits(self) -> None:
        """A head, or a line between chunks, that does not end is an error once it is too long."""
        for start in (OK, OK + b"transfer-encoding: chunked\r\n\r\n1;"):
            parser = ResponseParser()
            self.assertIsNone(parser.feed(start))
            self.assertRaises(MalformedResponse, parser.feed, b"x" * (HEAD_LIMIT + 1))

    def test_cut(self) -> None:
        """A connection that ends within a head, a counted body or a chunk has brought no response."""
        for data in (b"", OK, OK + b"content-length: 3\r\n\r\nab", OK + b"transfer-encoding: chunked\r\n\r\n3\r\nab"):
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
