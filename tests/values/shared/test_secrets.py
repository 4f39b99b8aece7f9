"""Secrets as one side has them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.shared.secrets import SecretTable, hold_none

OWN, OTHER = ("tls_certificate", "own"), ("tls_certificate", "other", "file")


class SecretTableTests(SynchronousTestCase):
    """What is in it, and who is told."""

    def setUp(self) -> None:
        """One secret of the bootstrap, and two who watch another one."""
        self.table = SecretTable({OWN: "static"})
        self.told: list[str] = []
        self.stop_first = self.table.watch([OTHER], lambda: self.told.append("first"))
        self.stop_second = self.table.watch([OTHER, OWN], lambda: self.told.append("second"))

    def test_contents(self) -> None:
        """A secret is there from when it is put to when it is dropped."""
        self.assertEqual({OWN: "static"}, dict(self.table))
        self.table.put(OTHER, "found")
        self.assertEqual(("found", 2), (self.table[OTHER], len(self.table)))
        self.table.drop(OTHER)
        self.table.drop(OTHER)
        self.assertEqual([OWN], list(self.table))

    def test_told(self) -> None:
        """Whoever watches a secret is told of it, one after the other, and sees it then."""
        steps = self.table.put(OTHER, "found")
        self.assertEqual("found", self.table[OTHER])
        next(steps)
        self.assertEqual(["first"], self.told)
        next(steps)
        self.assertEqual(["first", "second"], self.told)
        self.assertEqual([], list(steps))

    def test_gone_meanwhile(self) -> None:
        """Who watches no more is not told, also where others are being told."""
        steps = self.table.put(OTHER, "found")
        next(steps)
        self.stop_second()
        self.assertEqual([None], list(steps))
        self.stop_first()
        self.assertEqual([], list(self.table.put(OTHER, "again")))
        self.assertEqual(["first"], self.told)

    def test_none(self) -> None:
        """Without discovery there is nothing to hold."""
        hold_none(object())()
