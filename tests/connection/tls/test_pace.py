"""How handshakes share the time of a turn."""

from __future__ import annotations

import sys
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.tls.pace import SLICE, TURN, HandshakePace
from tcpmesh.testing.memory.network import MemoryNetwork


class PaceTests(SynchronousTestCase):
    """Steps that take a known time."""

    def setUp(self) -> None:
        """Time that steps alone let pass, and a pace."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.turns: list[Callable[[], object]] = []
        network = MemoryNetwork(self.clock)
        self.patch(network, "call_soon", self.turns.append)
        self.pace = HandshakePace(network)
        self.taken: list[str] = []

    def begin(self, name: str, took: float = 0.6 * SLICE) -> None:
        """Take a step now or later."""

        def step() -> None:
            self.taken.append(name)
            self.clock.rightNow += took

        if not self.pace.take(step):
            self.pace.take_later(step)

    def turn(self) -> None:
        """Let one turn pass, if anybody waits for it."""
        turns = self.turns[:]
        self.turns.clear()
        for call in turns:
            call()

    def test_slices(self) -> None:
        """So many steps are taken at once as find room in a slice; all others in later turns, a
        slice of them in each, in their order.
        """
        for name in "abcde":
            self.begin(name)
        for seen in ("ab", "abcd", "abcde"):
            self.assertEqual(seen, "".join(self.taken))
            self.turn()

    def test_order(self) -> None:
        """While somebody waits nobody goes first, though there is time."""
        self.begin("a", SLICE)
        self.begin("b")
        self.clock.rightNow += 2 * TURN
        self.begin("c")
        self.assertEqual(["a"], self.taken)
        self.turn()
        self.assertEqual(["a", "b", "c"], self.taken)

    def test_next_turn(self) -> None:
        """What was used up is forgotten after a turn."""
        self.begin("a", SLICE)
        self.clock.rightNow += 2 * TURN
        self.begin("b")
        self.assertEqual(["a", "b"], self.taken)

    def test_failure(self) -> None:
        """A step that fails keeps none from its turn."""
        self.begin("a", SLICE)
        self.pace.take_later(sys.exit)
        self.begin("b")
        self.turn()
        self.assertEqual(["a", "b"], self.taken)
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))
