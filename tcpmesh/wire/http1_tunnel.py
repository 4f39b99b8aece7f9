"""The answer to a request that opens a tunnel, in HTTP/1.1: its head, and then the tunnel's bytes.

It is read by the one parser of HTTP/1.1 that there is (`tcpmesh.wire.http1`), with its limits.
After CONNECT and a 2xx everything that follows the head is the tunnel's, whatever the head says of
a length (RFC 9110, 9.3.6); after POST it is the body, which may be chunked or counted.
"""

from __future__ import annotations

from typing import NamedTuple

from tcpmesh.wire.http1 import HEAD_LIMIT, MOST_FIELDS, ResponseParser

Fields = tuple[tuple[str, str], ...]

OPENING = range(200, 300)
"""The statuses that open a tunnel."""

LAST_CHUNK = b"0\r\n\r\n"


class HeadLimits(NamedTuple):
    """How large the head of an answer may be."""

    fields: int = MOST_FIELDS
    size: int = HEAD_LIMIT
    """In bytes."""


LIMITS = HeadLimits()


class TunnelAnswer(ResponseParser):
    """One answer.

    :param connects: whether it is one to CONNECT, and not to POST.
    """

    __slots__ = ("_connects", "_plain", "_received", "has_head")

    def __init__(self, connects: bool, limits: HeadLimits = LIMITS) -> None:
        super().__init__(keep=1 << 62, most_fields=limits.fields, head_limit=limits.size)
        self._connects = connects
        self._received = self._plain = 0
        self.has_head = False
        """Whether all header fields are there."""

    @property
    def status(self) -> int:
        """That of an answer that has its head."""
        return self._status

    @property
    def opens(self) -> bool:
        """Whether there is a tunnel: one that has ended with its head is none."""
        return self.has_head and self._status in OPENING and (self._plain > 0 or not self._done)

    @property
    def is_whole(self) -> bool:
        """Whether nothing more can come."""
        return self._done

    @property
    def has_begun(self) -> bool:
        """Whether some of the answer is there."""
        return self._received > 0

    @property
    def closes(self) -> bool:
        """Whether the head says that the connection is for this answer alone."""
        return self.has_head and not self._persistent

    @property
    def overhead(self) -> int:
        """Bytes that came and are not the tunnel's."""
        return self._received - self._plain

    @property
    def fields(self) -> Fields:
        """`:status` and the header fields of an answer that has its head."""
        lines = (line.split(b":", 1) for line in self._fields.split(b"\n") if b":" in line)
        return (
            (":status", str(self._status)),
            *((_text(name).lower(), _text(value)) for name, value in lines),
        )

    def forget_fields(self) -> None:
        """Nobody asks for the header fields any more; a tunnel may last for days."""
        self._fields = self._lower = b""

    def take(self, data: bytes) -> bytes:
        """Take bytes; those of the tunnel among them.

        :raise tcpmesh.wire.http1.MalformedResponse: where they cannot be an answer.
        """
        self._received += len(data)
        self.feed(data)
        body = bytes(self._body)
        self._body.clear()
        self._plain += len(body)
        return body

    def _choose_framing(self, fields: bytes, lower: bytes, version: bytes) -> None:
        super()._choose_framing(fields, lower, version)
        self.has_head = True
        if self._connects and self._status in OPENING:
            self._done = False
            self._state = ResponseParser._parse_to_the_end


def chunk(data: bytes) -> bytes:
    """Some of the body of a POST."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _text(value: bytes) -> str:
    return value.strip(b" \t\r").decode("utf-8", "surrogateescape")
