"""The phases of a connection: the table, what holds connections to it, and its drawing."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.phases import CheckedStreamInfo, PhaseError
from tcpmesh.values.stream.phase import ALLOWED, TRANSITIONS, Phase, drawing

ARCHITECTURE = Path(__file__).resolve().parents[3] / "docs" / "architecture.md"


class Checked(CheckedStreamInfo):
    """One whose violations are its own."""

    __slots__ = ()

    def __init__(self) -> None:
        type(self).violations = []
        super().__init__()


def reached(first: Phase, backwards: bool = False) -> set[Phase]:
    """All phases that may follow one, at once or later, and itself; or that may come before it."""
    found, edge = {first}, {first}
    pairs = {(after, before) for before, after in ALLOWED} if backwards else ALLOWED
    while edge:
        edge = {after for before, after in pairs if before in edge} - found
        found |= edge
    return found


class TableTests(SynchronousTestCase):
    """`TRANSITIONS`."""

    def test_whole(self) -> None:
        """Every phase can be reached from the first, and from every phase the last one."""
        self.assertEqual(set(Phase), reached(Phase.ACCEPTING))
        self.assertEqual(set(Phase), reached(Phase.CLOSED, backwards=True))

    def test_last(self) -> None:
        """A connection that is closed stays closed."""
        self.assertEqual({Phase.CLOSED}, reached(Phase.CLOSED))

    def test_each_once(self) -> None:
        """Each change stands in one row, with the event that causes it."""
        self.assertEqual(len(TRANSITIONS), len(ALLOWED))
        self.assertEqual([], [each for each in TRANSITIONS if not each.event])

    def test_drawing(self) -> None:
        """The drawing in docs/architecture.md is the one that the table makes."""
        _, _, after = ARCHITECTURE.read_text("utf-8").partition("```mermaid\nstateDiagram-v2\n")
        drawn, _, _ = after.partition("\n```")
        self.assertEqual(drawing(), f"stateDiagram-v2\n{drawn}")


class CheckedTests(SynchronousTestCase):
    """What tests hold connections to the table with."""

    def test_refused(self) -> None:
        """A phase that may not follow raises, and is written down."""
        info = Checked()
        info.phase = Phase.FILTERING
        info.phase = Phase.FILTERING

        with self.assertRaises(PhaseError):
            info.phase = Phase.RELAYING

        self.assertEqual(["FILTERING -> RELAYING"], info.violations)
