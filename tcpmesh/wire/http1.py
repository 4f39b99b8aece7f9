"""HTTP/1.1 as far as a proxy for TCP speaks it itself: one request head out, one response in (RFC 9112).

Sans-io: bytes go in as they come, facts come out.  Everything that a peer may send without end has a limit here, and what is
malformed is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEAD_LIMIT = 64 * 1024
"""Bytes of a status line with its header fields, or of one line between chunks."""

WITHOUT_BODY = frozenset({204, 304})
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset(b"0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")


class MalformedResponse(ValueError):
    """What the peer sent is no HTTP/1.x response, or breaks a limit."""


def request(method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A request, ready to be sent."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


@dataclass(frozen=True)
class Response:
    """A whole response; names of header fields are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    """Its first bytes, as many as were asked to be kept."""

    keep_alive: bool
    """Whether the connection can carry another request."""

    def header(self, name: str) -> str | None:
        """The first value of a header field, or `None`."""
        return next((value for known, value in self.headers if known == name), None)


class ResponseParser:
    """Parses one response at a time.

    @param head: whether the request was HEAD, which is answered without a body.
    @param keep: how many bytes of the body are kept.
    """

    def __init__(self, head: bool = False, keep: int = 0) -> None:
        self._head = head
        self._keep = keep
        self._buffer = bytearray()
        self._state = self._parse_head
        self._left = 0
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._persistent = False
        self._body = bytearray()
        self._done = False

    def feed(self, data: bytes | memoryview) -> Response | None:
        """Take bytes; the response, once it is whole.

        @raise MalformedResponse: where they cannot be one, or something follows it that was not asked for.
        """
        self._buffer += data
        while not self._done and self._state():
            pass
        if not self._done:
            return None
        if self._buffer:
            raise MalformedResponse("more than one response to one request")
        return self._response()

    def end(self) -> Response:
        """The peer has closed: the response, where its body goes to the end of the connection.

        @raise MalformedResponse: where it is not whole.
        """
        if self._state != self._parse_to_the_end:
            raise MalformedResponse("the connection was closed within the response")
        self._persistent = False
        return self._response()

    def _response(self) -> Response:
        return Response(self._status, self._headers, bytes(self._body), self._persistent)

    # Each of these takes one piece off the buffer; False where it is not all there yet

    def _parse_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise MalformedResponse("the head of the response is too long")
            return False
        if end > HEAD_LIMIT:
            raise MalformedResponse("the head of the response is too long")
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        minor = self._parse_status(first)
        self._headers = tuple(map(_field, lines))
        if 100 <= self._status < 200:
            if self._status == 101:
                raise MalformedResponse("an upgrade that was not asked for")
            return True
        self._persistent = self._is_persistent(minor)
        self._choose_framing()
        return True

    def _parse_status(self, line: bytes) -> int:
        version, _, rest = line.partition(b" ")
        code = rest[:3]
        if (
            version not in (b"HTTP/1.0", b"HTTP/1.1")
            or len(code) != 3
            or not _DIGITS.issuperset(code)
            or rest[3:4] not in (b"", b" ")
        ):
            raise MalformedResponse(f"no status line: {line[:40]!r}")
        self._status = int(code)
        if self._status < 100:
            raise MalformedResponse(f"no status: {self._status}")
        return version[-1] - ord("0")

    def _is_persistent(self, minor: int) -> bool:
        options = {
            option.strip().lower()
            for name, value in self._headers
            if name in ("connection", "proxy-connection")
            for option in value.split(",")
        }
        return "close" not in options and (minor == 1 or "keep-alive" in options)

    def _choose_framing(self) -> None:
        codings = [value.strip().lower() for name, value in self._headers if name == "transfer-encoding"]
        lengths = {value for name, value in self._headers if name == "content-length"}
        if self._head or self._status in WITHOUT_BODY:
            self._done = True
        elif codings:
            if lengths or codings != ["chunked"]:
                raise MalformedResponse("a length that is not clear")
            self._state = self._parse_chunk_size
        elif lengths:
            self._left = _length(lengths)
            self._done = not self._left
            self._state = self._parse_counted
        else:
            self._state = self._parse_to_the_end

    def _parse_counted(self) -> bool:
        self._take()
        self._done = not self._left
        return False

    def _parse_to_the_end(self) -> bool:
        self._left = len(self._buffer)
        self._take()
        return False

    def _parse_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
            raise MalformedResponse(f"no length of a chunk: {line[:40]!r}")
        self._left = int(digits, 16)
        self._state = self._parse_chunk if self._left else self._parse_trailer
        return True

    def _parse_chunk(self) -> bool:
        self._take()
        if self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise MalformedResponse("a chunk is longer than it says")
        del self._buffer[:2]
        self._state = self._parse_chunk_size
        return True

    def _parse_trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._done = not line
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end > HEAD_LIMIT or (end < 0 and len(self._buffer) > HEAD_LIMIT):
            raise MalformedResponse("a line between chunks is too long")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self) -> None:
        """Move body bytes off the buffer, and keep the first of them."""
        piece = self._buffer[: self._left]
        del self._buffer[: self._left]
        self._left -= len(piece)
        self._body += piece[: max(self._keep - len(self._body), 0)]


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not name or not _TOKEN.issuperset(name):
        raise MalformedResponse(f"no header field: {line[:40]!r}")
    return name.decode("ascii").lower(), value.strip(b" \t").decode("utf-8", "surrogateescape")


def _length(values: set[str]) -> int:
    if len(values) > 1:
        raise MalformedResponse("more than one length")
    (value,) = values
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise MalformedResponse(f"no length: {value[:40]!r}")
    return int(value)
