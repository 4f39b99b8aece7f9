"""A file that is looked after."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from envoy.config.core.v3.config_source_pb2 import ConfigSource

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.moves import INTERVAL, CannotWatch
from tcpmesh.xds.subscription import FileSubscription
from tests.mesh import parse


class FileSubscriptionTests(SynchronousTestCase):
    """Files on a clock that a test tells."""

    def setUp(self) -> None:
        """A file."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "f.yaml"
        self.path.write_text("1")
        self.clock = Clock()
        self.reads: list[str] = []

    def subscription(self, source: str) -> FileSubscription:
        """One that has begun."""
        message: Any = parse(ConfigSource, source)
        made = FileSubscription(message, self.clock, lambda: self.reads.append(made.path))
        made.start()
        self.addCleanup(made.stop)
        return made

    def move(self, name: str = "f.yaml") -> None:
        """Put another file in the place of one, and let it be noticed."""
        new = self.folder / "new"
        new.write_text("2")
        os.replace(new, self.folder / name)
        self.clock.advance(INTERVAL)

    def test_moved(self) -> None:
        """It is read when it starts and whenever another is moved to its place, not when another
        file is moved.
        """
        for source in (f"path: {self.path}", f"path_config_source: {{path: {self.path}}}"):
            self.reads.clear()
            subscription = self.subscription(source)
            self.assertEqual([str(self.path)], self.reads)
            self.move("other")
            self.assertEqual(1, len(self.reads))
            self.move()
            self.assertEqual(2, len(self.reads))
            subscription.stop()
            self.move()
            self.assertEqual(2, len(self.reads))

    def test_watched_directory(self) -> None:
        """With a watched directory it is read when anything is moved there, as where a symbolic
        link is swapped.
        """
        other = self.folder / "d"
        other.mkdir()
        self.subscription(
            f"path_config_source: {{path: {self.path}, watched_directory: {{path: {other}}}}}"
        )
        self.move()
        self.assertEqual(1, len(self.reads))
        self.move("d/..data")
        self.assertEqual(2, len(self.reads))

    def test_polled(self) -> None:
        """With an interval it is read again and again, until it is stopped."""
        subscription = self.subscription(
            f"path_config_source: {{path: {self.path}, poll_interval: 5s}}"
        )
        self.clock.pump([1.0] * 11)
        self.assertEqual(3, len(self.reads))
        subscription.stop()
        self.clock.pump([1.0] * 11)
        self.assertEqual(3, len(self.reads))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_directory(self) -> None:
        """A directory that is not there is an error."""
        self.assertRaises(CannotWatch, self.subscription, "path: /nowhere/f.yaml")
