"""The soak itself: what is done follows from the seed, and what it says from what was seen."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tests.soak.__main__ import left, places
from tests.soak.clients import Cut, Played
from tests.soak.configuration import Configuration, Place
from tests.soak.events import plan
from tests.soak.processes import Seen
from tests.soak.report import MIB, Report, differences

PLACE = Place("turning1", "127.0.0.1", 1)


class PlanTests(SynchronousTestCase):
    """What is done."""

    def test_seed(self) -> None:
        """It follows from the seed, and has the upgrades that were asked for."""
        events = list(plan(7, 60.0, 3))
        self.assertEqual(events, list(plan(7, 60.0, 3)))
        self.assertNotEqual(events, list(plan(8, 60.0, 3)))
        self.assertEqual(3, sum(event.kind == "upgrade" for event in events))

    def test_configurations(self) -> None:
        """Whatever turns, the configuration is right; and at the end it is the first one again."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        made = Configuration(folder, list(places(folder)), [1, 2, 3], folder / "unix", 9)
        made.write()
        first = made.path.read_text()
        random = Random(1)
        for _ in range(30):
            self.assertTrue(made.turn(random, discovered=False))
            made.write()
            load(str(made.path))
        made.reset()
        made.write()
        self.assertEqual(first, made.path.read_text())
        listeners = json.loads(first)["static_resources"]["listeners"]
        self.assertIn("steady", {each["name"] for each in listeners})


class CutTests(SynchronousTestCase):
    """Who may be cut off."""

    def covers(self, cut: Cut, began: float, ended: float, *ends: Any) -> bool:
        """Whether a cut excuses a session with these addresses."""
        return cut.covers(Played(1, PLACE, began, set(ends), ended), 100.0)

    def test_killed(self) -> None:
        """Sessions of the worker, from either side, but none that was over, or came later."""
        cut = Cut(50.0, "killed", frozenset((("a", 1), ("b", 2))))
        for end in (("a", 1), ("b", 2)):
            self.assertTrue(self.covers(cut, 40.0, 50.5, end))
        self.assertFalse(self.covers(cut, 40.0, 50.5, ("c", 3)))
        self.assertFalse(self.covers(cut, 40.0, 45.0, ("a", 1)))
        self.assertFalse(self.covers(cut, 55.0, 56.0, ("a", 1)))

    def test_drained(self) -> None:
        """Those that had begun before the drain, once its time is over."""
        cut = Cut(50.0, "drained", places=frozenset(["turning1"]), drain=6.0)
        self.assertTrue(self.covers(cut, 40.0, 50.5))
        self.assertFalse(self.covers(cut, 40.0, 46.0))
        self.assertFalse(self.covers(cut, 47.0, 50.5))


class ReportTests(SynchronousTestCase):
    """What is said of the proxy."""

    def report(self, memory: int = 50, descriptors: int = 20, **kinds: int) -> Report:
        """One process."""
        told = {
            "calls": {"look": 1},
            "kinds": kinds,
            "names": {},
            "shared blocks": 3,
            "shared blocks that are left": 0,
        }
        return Report([Seen("main", memory * MIB, descriptors, 3, told)], {})

    def test_differences(self) -> None:
        """A little more memory is nothing, an object more is something, and less is fine."""
        before = self.report(cluster=5)
        self.assertEqual([], differences(before, self.report(memory=55, cluster=5)))
        self.assertEqual([], differences(before, self.report(cluster=4)))
        self.assertEqual(["main: cluster: 5 -> 6"], differences(before, self.report(cluster=6)))
        worse = differences(before, self.report(memory=99, descriptors=99, cluster=5))
        self.assertEqual(["main: memory: 50 -> 99 MiB", "main: descriptors: 20 -> 99"], worse)

    def test_left(self) -> None:
        """What counts connections at the moment is to be 0, but for the admin interface's."""
        stats = {"cluster.a.upstream_cx_active": 1, "listener.admin.downstream_cx_active": 1}
        stats |= {"cluster.a.upstream_cx_total": 9, "tcp.t.upstream_flush_active": 0}
        self.assertEqual({"cluster.a.upstream_cx_active": 1}, left(stats))
