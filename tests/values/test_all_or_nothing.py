"""What is built in steps, all of them or none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.all_or_nothing import all_or_nothing


class AllOrNothingTests(SynchronousTestCase):
    """A block of steps."""

    def test_all(self) -> None:
        """Where all steps are done, nothing is undone."""
        undone: list[str] = []
        with all_or_nothing() as undo:
            undo.callback(undone.append, "first")
        self.assertEqual([], undone)

    def test_nothing(self) -> None:
        """Where one fails, those before it are undone, the last first, and its error goes on; also
        where undoing one fails.
        """
        undone: list[str] = []
        nothing: dict[str, str] = {}

        def build() -> None:
            with all_or_nothing() as undo:
                undo.callback(undone.append, "first")
                undo.callback(nothing.__getitem__, "no such key")
                undo.callback(undone.append, "second")
                raise ZeroDivisionError

        self.assertRaises((ZeroDivisionError, KeyError), build)
        self.assertEqual(["second", "first"], undone)

    def test_kept(self) -> None:
        """What was taken out of the stack meanwhile can be given back later."""
        called: list[str] = []
        with all_or_nothing() as undo:
            undo.callback(called.append, "later")
            kept = undo.pop_all()
        self.assertEqual([], called)
        kept.close()

        self.assertEqual(["later"], called)
