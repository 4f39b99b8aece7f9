"""HTTP/1.1 as far as a proxy for TCP speaks it itself: one request head out, one response in (RFC
9112).

Sans-io: bytes go in as they come, facts come out.  Everything that a peer may send without end has
a limit here.  What is let pass beyond the letter of the RFC is what Envoy lets pass: lines that end
without a carriage return, folded lines, any version.

A health check may read ten thousand responses a second, nearly all of which come in one piece.  So
a head is matched by one regular expression, and of its fields only those that say where the
response ends are looked at; the others are found when they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

HEAD_LIMIT = 80 * 1024
"""Bytes of a status line with its header fields, or of one line between chunks."""

MOST_FIELDS = 100
"""Header fields of one response, and of its trailer."""

MOST_INTERIM = 100
"""Interim responses (RFC 9110, 15.2) before one response."""

SMALL_CHUNK = 1024
MOST_SMALL_CHUNKS = 1000
"""Chunks of less than `SMALL_CHUNK` bytes in one response.  To read a chunk takes the same time
however small it is, so who sends a megabyte byte by byte would keep all others waiting."""

MOST_DIGITS = 18
"""Of a length; more bytes than that nobody sends."""

WITHOUT_BODY = frozenset({204, 304})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"[\t\r\x20-\x7e\x80-\xff]*"
_FIELD = rb"%b:%b\n(?:([ \t])%b\n)*" % (_TOKEN, _VALUE, _VALUE)
# The last end of line of the status line is the first byte of the fields, so that every name stands
# after one.
_HEAD = re.compile(rb"HTTP/(\d\.\d)[ \t]+(\d+)(?:[ \t][^\n]*|\r?)(\n(?:%b)*)\r?\n" % _FIELD)
_TRAILER = re.compile(_FIELD)
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHUNK = re.compile(rb"0*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class MalformedResponse(ValueError):
    """What the peer sent is no HTTP/1.x response, or breaks a limit."""


def request(method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A request, ready to be sent."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


class Response(NamedTuple):
    """A whole response."""

    status: int
    fields: bytes
    """The header fields as they came, but unfolded, each after the end of the line before it."""

    lower: bytes
    """The same in lower case."""

    body: bytes
    """Its first bytes, as many as were asked to be kept."""

    keep_alive: bool
    """Whether the connection can carry another request."""

    def header(self, name: bytes) -> str | None:
        """The value of a header field, whose name is given in lower case, or `None`; several are
        joined (RFC 9110, 5.3).
        """
        if name not in self.lower:
            return None
        values = _values(self.fields, self.lower, b"\n" + name + b":")
        return b",".join(values).decode("utf-8", "surrogateescape") if values else None


class ResponseParser:
    """Parses one response at a time; `reset` begins with the next.

    What it does is linear in the bytes, in however many pieces they come: what was parsed is passed
    over by moving on in what is there, and what was searched in vain is not searched again.

    :param head: whether the requests are HEAD, which are answered without a body.
    :param keep: how many bytes of a body are kept.
    :param most_fields: header fields of one response.
    :param head_limit: bytes of its head.
    """

    __slots__ = (
        "_at",
        "_body",
        "_done",
        "_fields",
        "_head",
        "_head_limit",
        "_interim",
        "_keep",
        "_left",
        "_lower",
        "_most_fields",
        "_persistent",
        "_searched",
        "_small_chunks",
        "_state",
        "_status",
        "_trailers",
        "_unread",
    )

    def __init__(
        self,
        head: bool = False,
        keep: int = 0,
        most_fields: int = MOST_FIELDS,
        head_limit: int = HEAD_LIMIT,
    ) -> None:
        self._head = head
        self._keep = keep
        self._most_fields = most_fields
        self._head_limit = head_limit
        self.reset()

    def reset(self) -> None:
        """Forget what came."""
        self._unread: bytes | bytearray = b""
        self._at = 0
        """Where in `_unread` the next piece begins."""
        self._searched = 0
        """Up to where its end was looked for."""
        self._body = bytearray()
        self._interim = self._small_chunks = self._trailers = 0
        self._state = ResponseParser._parse_head
        self._done = False

    def feed(self, data: bytes) -> Response | None:
        """Take bytes; the response, once it is whole.

        What follows it was not asked for, and makes the connection useless.

        :raise MalformedResponse: where they cannot be a response.
        """
        if self._unread:
            self._unread += data
        else:
            self._unread = data
        while self._state(self):
            pass
        if self._done:
            if self._at < len(self._unread):
                self._persistent = False
            body = bytes(self._body)
            return Response(self._status, self._fields, self._lower, body, self._persistent)
        self._drop()
        return None

    def _drop(self) -> None:
        """Keep only what is not parsed yet, where more can be added to it cheaply."""
        if self._at == len(self._unread):
            self._unread = b""
        elif isinstance(self._unread, bytearray):
            del self._unread[: self._at]
        else:
            self._unread = bytearray(memoryview(self._unread)[self._at :])
        self._searched -= self._at
        self._at = 0

    def end(self) -> Response:
        """The peer has closed: the response, where its body goes to the end of the connection.

        :raise MalformedResponse: where it is not whole.
        """
        if self._state is not ResponseParser._parse_to_the_end:
            raise MalformedResponse("the connection was closed within the response")
        return Response(self._status, self._fields, self._lower, bytes(self._body), False)

    # Each of these takes one piece off what is unread, and says whether there may be another.

    def _parse_head(self) -> bool:
        data, at = self._unread, self._at
        if not self._has_end_of_head(data):
            start = bytes(data[at : at + 5])
            if len(data) - at > self._head_limit or not b"HTTP/".startswith(start):
                raise MalformedResponse(f"no head of a response: {bytes(data[at : at + 40])!r}")
            return False
        match = _HEAD.match(data, at)
        if match is None or match.end() - at > self._head_limit:
            raise MalformedResponse(f"no head of a response: {bytes(data[at : at + 40])!r}")
        version, status, fields, fold = match.groups()
        self._at = self._searched = match.end()
        self._status = int(status[:MOST_DIGITS])
        if 102 <= self._status < 200 or self._status == 100:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise MalformedResponse("too many interim responses")
            return True
        if fold is not None:
            fields = _FOLD.sub(b" ", fields)
        if fields.count(b"\n") > self._most_fields + 1:
            raise MalformedResponse("too many header fields")
        self._fields = fields
        self._lower = lower = fields.lower()
        self._choose_framing(fields, lower, version)
        return not self._done

    def _has_end_of_head(self, data: bytes | bytearray) -> bool:
        """Whether an empty line is there; its first bytes may have come before."""
        start = max(self._at, self._searched - 3)
        self._searched = len(data)
        return data.find(b"\r\n\r\n", start) >= 0 or _END_OF_HEAD.search(data, start) is not None

    def _choose_framing(self, fields: bytes, lower: bytes, version: bytes) -> None:
        """Find out where the response ends (RFC 9112, 6.3), and whether the connection may be used
        after it (9.3).
        """
        self._persistent = version == b"1.1"
        if b"close" in lower or not self._persistent:
            options = _options(lower)
            self._persistent = b"close" not in options and (
                self._persistent or b"keep-alive" in options
            )
        lengths = _values(fields, lower, b"\ncontent-length:")
        codings = (
            _values(lower, lower, b"\ntransfer-encoding:")
            if b"\ntransfer-encoding:" in lower
            else None
        )
        if len(lengths) > 1 or (lengths and codings) or codings not in (None, [b"chunked"]):
            raise MalformedResponse("a length that is not clear")
        left = _length(lengths[0]) if lengths else 0
        if self._status == 204 and (left or codings):
            raise MalformedResponse("204 with a body")
        if (
            self._head
            or self._status in WITHOUT_BODY
            or (lengths and not left)
            or self._status == 101
        ):
            self._state = ResponseParser._parse_nothing
            self._done = True
        elif lengths:
            self._left = left
            self._state = ResponseParser._parse_counted
        elif codings:
            self._state = ResponseParser._parse_chunk_size
        else:
            self._state = ResponseParser._parse_to_the_end

    def _parse_nothing(self) -> bool:
        return False

    def _parse_counted(self) -> bool:
        self._take(self._left)
        self._done = not self._left
        return False

    def _parse_to_the_end(self) -> bool:
        self._take(len(self._unread))
        return False

    def _parse_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise MalformedResponse(f"no length of a chunk: {line[:40]!r}")
        self._left = int(match[1], 16)
        if self._left < SMALL_CHUNK:
            self._small_chunks += 1
            if self._small_chunks > MOST_SMALL_CHUNKS:
                raise MalformedResponse("too many small chunks")
        self._state = ResponseParser._parse_chunk if self._left else ResponseParser._parse_trailer
        return True

    def _parse_chunk(self) -> bool:
        self._take(self._left)
        if self._left or len(self._unread) - self._at < 2:
            return False
        if not self._unread.startswith(b"\r\n", self._at):
            raise MalformedResponse("a chunk is longer than it says")
        self._at += 2
        self._state = ResponseParser._parse_chunk_size
        return True

    def _parse_trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._done = True
            self._state = ResponseParser._parse_nothing
            return True
        self._trailers += 1
        if self._trailers > MOST_FIELDS:
            raise MalformedResponse("too many fields of a trailer")
        if _TRAILER.fullmatch(line + b"\n") is None:
            raise MalformedResponse(f"no field of a trailer: {line[:40]!r}")
        return True

    def _line(self) -> bytes | None:
        at = self._at
        end = self._unread.find(b"\n", max(at, self._searched))
        self._searched = len(self._unread)
        if max(end, len(self._unread) if end < 0 else 0) - at > HEAD_LIMIT:
            raise MalformedResponse("a line between chunks is too long")
        if end < 0:
            return None
        line = bytes(self._unread[at : end + 1])
        self._at = self._searched = end + 1
        if not line.endswith(b"\r\n"):
            raise MalformedResponse("a line between chunks without a carriage return")
        return line[:-2]

    def _take(self, most: int) -> None:
        """Read at most so many bytes of the body, and keep the first of them."""
        at = self._at
        size = min(most, len(self._unread) - at)
        wanted = min(size, self._keep - len(self._body))
        if wanted > 0:
            self._body += memoryview(self._unread)[at : at + wanted]
        self._at = self._searched = at + size
        self._left = most - size


def _values(fields: bytes, lower: bytes, name: bytes) -> list[bytes]:
    """The values of all fields of a name, which is given as it stands in `lower`, the same fields
    in lower case.
    """
    found = []
    place = lower.find(name)
    while place >= 0:
        end = lower.find(b"\n", place + len(name))
        found.append(fields[place + len(name) : end].strip(b" \t\r"))
        place = lower.find(name, end)
    return found


def _options(lower: bytes) -> set[bytes]:
    """What the connection is said to be, from fields in lower case."""
    values = _values(lower, lower, b"\nconnection:") + _values(lower, lower, b"\nproxy-connection:")
    return {option.strip() for value in values for option in value.split(b",")}


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise MalformedResponse(f"no length: {value[:40]!r}")
    return int(value)
