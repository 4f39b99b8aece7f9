"""Messages of gRPC within the body of an HTTP/2 request or response (the "Length-Prefixed-Message"
of gRPC over HTTP2).

For unary calls without compression, which is all that a health check needs.
"""

from __future__ import annotations

PREFIX = 5
"""Bytes before a message: whether it is compressed, and its length."""

MOST_DIGITS = 8


class MalformedAnswer(Exception):
    """The body of a response is not that of a unary call: two messages, or a compressed one."""


def framed(message: bytes) -> bytes:
    """A message as it stands in a body."""
    return b"\0" + len(message).to_bytes(PREFIX - 1, "big") + message


def timeout_text(seconds: float) -> str:
    """A value of `grpc-timeout`: milliseconds, or seconds where these take too many digits."""
    milliseconds = f"{round(seconds * 1000)}m"
    return milliseconds if len(milliseconds) <= MOST_DIGITS + 1 else f"{round(seconds)}S"


class UnaryReader:
    """Takes the one message out of the body of a response.  As in Envoy, empty messages are
    none.
    """

    __slots__ = ("_unread", "message")

    def __init__(self) -> None:
        self._unread = bytearray()
        self.message: bytes | None = None
        """What was read, once it is complete."""

    def feed(self, data: bytes) -> None:
        """Read on.

        :raise MalformedAnswer: this cannot become the answer to a unary call.
        """
        self._unread += data
        while len(self._unread) >= PREFIX:
            size = PREFIX + int.from_bytes(self._unread[1:PREFIX], "big")
            if len(self._unread) < size:
                return
            flags, message = self._unread[0], bytes(self._unread[PREFIX:size])
            del self._unread[:size]
            if message and (flags or self.message is not None):
                raise MalformedAnswer(f"flags {flags}" if flags else "a second message")
            self.message = message or self.message
