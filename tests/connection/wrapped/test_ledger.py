"""How many plain bytes are still here, however they went below."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.wrapped.ledger import Ledger


class LedgerTests(SynchronousTestCase):
    """A ledger, told what went below and how much of that is left there."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        self.left = 0

    def add(self, size: int, plain: int, lost: bool = False) -> None:
        """A piece goes below, and none of it is taken."""
        self.left += size
        self.ledger.add(size, plain, self.left, lost)

    def unsent(self, taken: int = 0) -> int:
        """Plain bytes left once the kernel has taken so many more."""
        self.left -= taken
        return self.ledger.unsent(self.left)

    def test_empty(self) -> None:
        """Of nothing nothing is left."""
        self.assertEqual(0, self.ledger.unsent(0))

    def test_byte_by_byte(self) -> None:
        """Pieces that are the bytes themselves leave one byte at a time, however many there are."""
        self.add(10, 10)
        self.add(5, 5)
        self.assertEqual([15, 14, 5, 4, 0], [self.unsent(taken) for taken in (0, 1, 9, 1, 4)])

    def test_whole(self) -> None:
        """A record is left until its last byte is taken."""
        self.add(13, 10)
        self.add(8, 5)
        self.assertEqual([15, 15, 5, 5, 0], [self.unsent(taken) for taken in (0, 12, 1, 7, 1)])

    def test_mixed(self) -> None:
        """Words of the wrapper itself stand for nothing, wherever they are between the others."""
        self.add(3, 0)
        self.add(10, 10)
        self.add(3, 0)
        self.add(13, 10)
        self.assertEqual(
            [20, 20, 19, 10, 10, 10, 0], [self.unsent(t) for t in (0, 3, 1, 9, 3, 12, 1)]
        )

    def test_shorter(self) -> None:
        """A piece may be shorter than what it stands for."""
        self.add(4, 100)
        self.assertEqual([100, 100, 0], [self.unsent(taken) for taken in (0, 3, 1)])

    def test_all_taken_at_once(self) -> None:
        """Where nothing is left after a piece, nothing is kept of those before it."""
        self.add(10, 10)
        self.left = 0
        self.ledger.add(7, 5, 0, False)
        self.assertEqual(0, self.ledger.unsent(0))
        self.add(6, 6)
        self.assertEqual([6, 4], [self.unsent(taken) for taken in (0, 2)])

    def test_lost(self) -> None:
        """What goes into a broken connection stays, as one entry, be it of either kind."""
        self.add(10, 10)
        self.assertEqual(7, self.unsent(3))
        for size, plain in ((5, 5), (8, 5), (3, 0)):
            self.add(size, plain, lost=True)
        self.assertEqual(17, self.unsent())
        self.assertEqual(2, len(self.ledger._pieces))

    def test_bounded(self) -> None:
        """Of a connection that goes on, only what is left is kept, though nobody asks."""
        for _ in range(100):
            self.ledger.add(13, 10, 13, False)
        self.assertEqual(1, len(self.ledger._pieces))
        self.left = 13
        for _ in range(100):
            self.add(13, 10)
            self.unsent(13)
        self.assertEqual(1, len(self.ledger._pieces))
        self.assertEqual([10, 0], [self.unsent(taken) for taken in (0, 13)])
