"""Bytes that somebody has looked at and given back: a fast transport delivers them before what its
socket has.

They stand where a `Pump` would (`tcpmesh.net.epoll.splice`), so that a connection of which nothing
is given back pays nothing for them.
"""

from __future__ import annotations


class PushbackBuffer:
    """What was given back and not been delivered again yet."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = bytearray(data)

    def give(self, data: bytes | bytearray | memoryview) -> None:
        """These too, before those that are here."""
        self.data[:0] = data

    def take(self, size: int) -> bytearray:
        """The first bytes, so many at most."""
        taken = self.data[:size]
        del self.data[:size]
        return taken

    def source_ended(self) -> None:
        """The connection is over, or nobody wants its bytes any more."""
        self.data.clear()
