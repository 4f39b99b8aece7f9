"""How many plain bytes are in what a transport has not sent yet, where they went into it in
another form.

A wrapped transport (`tcpmesh.connection.wrapped.transport`) takes plain bytes and gives others to
what is below: records of TLS, with handshakes and goodbyes between them that stand for no plain
bytes at all.  What is below counts *its* bytes.  Flow control, statistics and whoever asks
`buffered` or `dropped` mean the plain ones, and for a peer half a record is nothing.

So each piece that goes below is noted, as long as it is there: where it ends among all bytes that
went below, and how many plain bytes it stands for.  Pieces that are as long as what they stand for
are those bytes themselves, and count byte by byte; they are one entry, however many there are.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from tcpmesh.facts import dataclass


class Kind(Enum):
    """How the plain bytes of a piece leave."""

    BYTES = auto()
    """One by one: the piece is those bytes."""

    WHOLE = auto()
    """With the last byte of the piece."""

    LOST = auto()
    """Never: what is below is broken."""


@dataclass(slots=True)
class Piece:
    """Bytes that went below, and what they stand for."""

    kind: Kind
    end: int
    """How many bytes have gone below with this piece."""

    plain: int


class Ledger:
    """What went below and has not been taken by the kernel, as far as is known."""

    __slots__ = ("_pieces", "_plain", "_sent")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._plain = 0
        """Plain bytes of all pieces."""
        self._sent = 0
        """Bytes that have gone below."""

    def add(self, size: int, plain: int, left: int, lost: bool) -> None:
        """A piece has gone below.

        :param left: bytes there, this piece among them, that the kernel has not taken.
        :param lost: whether it never will.
        """
        self._sent += size
        if not left:
            self._pieces.clear()
            self._plain = 0
            return
        self._forget(left)
        kind = Kind.LOST if lost else Kind.BYTES if plain == size else Kind.WHOLE
        self._plain += plain
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.kind is kind and kind is not Kind.WHOLE:
            last.end += size
            last.plain += plain
        else:
            self._pieces.append(Piece(kind, self._sent, plain))

    def unsent(self, left: int) -> int:
        """Plain bytes that are in the last `left` bytes, those of begun records among them."""
        self._forget(left)
        if not self._pieces:
            return 0
        first, taken = self._pieces[0], self._sent - left
        if first.kind is not Kind.BYTES:
            return self._plain
        return self._plain - max(0, first.plain - (first.end - taken))

    def _forget(self, left: int) -> None:
        """Drop the pieces that the kernel has taken whole."""
        taken = self._sent - left
        while self._pieces and self._pieces[0].end <= taken:
            self._plain -= self._pieces.popleft().plain
