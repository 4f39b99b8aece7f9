"""Objects that several users share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.shared.objects import SharedObjects


class Thing:
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class SharedObjectsTests(SynchronousTestCase):
    """From the first user to the last."""

    def test_users_of_one_key_have_one_object(self) -> None:
        """The object is made for the first user and closed after the last."""
        shared = SharedObjects()
        first = shared.obtain("a", Thing)
        self.assertIs(shared.obtain("a", Thing), first)
        self.assertIsNot(shared.obtain("b", Thing), first)
        shared.release("a")
        self.assertEqual(first.closed, 0)
        shared.release("a")
        self.assertEqual(first.closed, 1)
        self.assertIsNot(shared.obtain("a", Thing), first)

    def test_what_nobody_has_cannot_be_given_back(self) -> None:
        """To release more often than was obtained is a mistake that shows."""
        self.assertRaises(KeyError, SharedObjects().release, "a")

    def test_what_cannot_be_made_is_not_there(self) -> None:
        """Where making the object fails, the next user tries again."""
        shared = SharedObjects()

        def fail() -> Thing:
            raise ValueError

        self.assertRaises(ValueError, shared.obtain, "a", fail)
        self.assertIsInstance(shared.obtain("a", Thing), Thing)
