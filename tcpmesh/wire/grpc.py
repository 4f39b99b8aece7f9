"""Messages of gRPC within the body of an HTTP/2 request or response, and the texts of its header
fields (gRPC over HTTP2).
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

PREFIX = 5
"""Bytes before a message: whether it is compressed, and its length."""

MOST_DIGITS = 8


class MalformedAnswer(Exception):
    """The body of a response is none that was asked for: a compressed message, or two where one is
    wanted.
    """


class MessageTooLarge(Exception):
    """A message is larger than it may be; nothing of it was kept."""


def framed(message: bytes) -> bytes:
    """A message as it stands in a body."""
    return b"\0" + len(message).to_bytes(PREFIX - 1, "big") + message


def timeout_text(seconds: float) -> str:
    """A value of `grpc-timeout`: milliseconds, or seconds where these take too many digits."""
    milliseconds = f"{round(seconds * 1000)}m"
    return milliseconds if len(milliseconds) <= MOST_DIGITS + 1 else f"{round(seconds)}S"


def message_text(field: str) -> str:
    """What a `grpc-message` says: percent-encoded UTF-8, of which what cannot be read is shown as
    it can.

    :param field: each character of it is a byte.
    """
    return unquote_to_bytes(field.encode("latin-1", "replace")).decode("utf-8", "replace")


class MessageReader:
    """Takes the messages out of a body that comes in pieces.

    :param most: bytes that a message may have: known before anything of it is kept.
    """

    __slots__ = ("_most", "_unread")

    def __init__(self, most: int) -> None:
        self._most = most
        self._unread = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether no message has begun that has not ended."""
        return not self._unread

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Read on: the flags and the bytes of each message that is complete now.

        :raise MessageTooLarge: a message has more bytes than it may.
        """
        unread = self._unread
        unread += data
        found: list[tuple[int, bytes]] = []
        at = 0
        while len(unread) - at >= PREFIX:
            size = int.from_bytes(unread[at + 1 : at + PREFIX], "big")
            if size > self._most:
                unread.clear()
                raise MessageTooLarge(f"a message of {size} bytes, of {self._most} at most")
            end = at + PREFIX + size
            if len(unread) < end:
                break
            found.append((unread[at], bytes(unread[at + PREFIX : end])))
            at = end
        del unread[:at]
        return found


class UnaryReader:
    """Takes the one message out of the body of a response.  As in Envoy, empty messages are
    none.
    """

    __slots__ = ("_reader", "message")

    def __init__(self, most: int = (1 << 32) - 1) -> None:
        self._reader = MessageReader(most)
        self.message: bytes | None = None
        """What was read, once it is complete."""

    def feed(self, data: bytes) -> None:
        """Read on.

        :raise MalformedAnswer: this cannot become the answer to a unary call.
        :raise MessageTooLarge: a message has more bytes than it may.
        """
        for flags, message in self._reader.feed(data):
            if message and (flags or self.message is not None):
                raise MalformedAnswer(f"flags {flags}" if flags else "a second message")
            self.message = message or self.message
