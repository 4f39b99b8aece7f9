"""A file that is looked after."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from envoy.config.core.v3.config_source_pb2 import ConfigSource

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.config.resources import NotReadable, Resources
from tcpmesh.net.cooperator import AT_ONCE, SWITCH, shared_cooperator
from tcpmesh.net.moves import INTERVAL, CannotWatch
from tcpmesh.xds.subscription import FileSubscription, Outcome
from tests.mesh import parse


class Files:
    """A folder with a file, and what was made of it."""

    def __init__(self, folder: Path, clock: Any) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir()
        self.path = self.folder / "f.yaml"
        self.path.write_text("1")
        self.network: Any = SimpleNamespace(clock=clock, cooperator=shared_cooperator(clock))
        self.loads: list[str] = []
        self.taken: list[Outcome] = []
        self.steps = 0
        """Further steps that it takes to apply a file."""
        self.breaks = False
        """Whether to apply one fails."""
        self.hook: Callable[[], object] = lambda: None
        """Called while the file is read."""

    def load(self, path: str) -> Resources:
        """Read it."""
        self.loads.append(threading.current_thread().name)
        self.hook()
        text = Path(path).read_text()
        if text == "wrong":
            raise NotReadable(text)
        return Resources(text, ())

    def take(self, outcome: Outcome) -> Iterator[object]:
        """Apply it."""
        yield from range(self.steps // (not self.breaks))
        self.taken.append(outcome)

    def versions(self) -> list[str]:
        """What was applied."""
        return [each.version if isinstance(each, Resources) else str(each) for each in self.taken]

    def subscription(self, source: str) -> FileSubscription:
        """One that has begun."""
        made = FileSubscription(parse(ConfigSource, source), self.network, self.load, self.take)
        made.start()
        return made

    def put(self, text: str, name: str = "f.yaml") -> None:
        """Move another file into the place of one."""
        new = self.folder / "new"
        new.write_text(text)
        os.replace(new, self.folder / name)


class FileSubscriptionTests(SynchronousTestCase):
    """Files on a clock that a test tells, where there are no threads."""

    def setUp(self) -> None:
        """A file."""
        self.clock = Clock()
        self.files = Files(Path(self.mktemp()), self.clock)

    def subscription(self, source: str) -> FileSubscription:
        """One that has begun, and ends with the test."""
        made = self.files.subscription(source)
        self.addCleanup(made.stop)
        return made

    def put(self, text: str, name: str = "f.yaml") -> None:
        """Move a file into place, and let it be noticed."""
        self.files.put(text, name)
        self.clock.advance(INTERVAL)

    def test_moved(self) -> None:
        """It is read when it starts and whenever another is moved to its place, not when another
        file is moved, and not any more when it is stopped.
        """
        path = self.files.path
        for source in (f"path: {path}", f"path_config_source: {{path: {path}}}"):
            self.files.taken.clear()
            subscription = self.subscription(source)
            before = len(self.files.taken)
            self.put("x", "other")
            self.put("2")
            self.put("wrong")
            subscription.stop()
            self.put("3")
            self.assertEqual((1, ["2", "wrong"]), (before, self.files.versions()[1:]))

    def test_watched_directory(self) -> None:
        """With a watched directory it is read when anything is moved there, as where a symbolic
        link is swapped.
        """
        other = self.files.folder / "d"
        other.mkdir()
        self.subscription(
            f"path_config_source: {{path: {self.files.path}, watched_directory: {{path: {other}}}}}"
        )
        self.put("2")
        self.assertEqual(["1"], self.files.versions())
        self.put("x", "d/..data")
        self.assertEqual(["1", "2"], self.files.versions())

    def test_polled(self) -> None:
        """With an interval it is read again and again, until it is stopped."""
        source = f"path_config_source: {{path: {self.files.path}, poll_interval: 5s}}"
        subscription = self.subscription(source)
        self.clock.pump([1.0] * 11)
        self.assertEqual(3, len(self.files.taken))
        subscription.stop()
        self.clock.pump([1.0] * 11)
        self.assertEqual(3, len(self.files.taken))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_directory(self) -> None:
        """A directory that is not there is an error."""
        self.assertRaises(CannotWatch, self.subscription, "path: /nowhere/f.yaml")

    def test_many_steps(self) -> None:
        """What is much is applied in several turns, at its start apart; what is moved meanwhile is
        read when that is done, and as often as it was moved is of no importance.
        """
        self.files.steps = AT_ONCE + 5
        subscription = self.subscription(f"path: {self.files.path}")
        for text in "2345":
            self.files.put(text)
            subscription._file.read()
        self.assertEqual(["1"], self.files.versions())
        self.clock.advance(0)
        self.assertEqual(["1", "2", "5"], self.files.versions())
        self.assertEqual(3, len(self.files.loads))

    def test_fails(self) -> None:
        """What fails for a reason that nobody thought of is told, and the next update is taken."""
        self.subscription(f"path: {self.files.path}")
        self.files.breaks = True
        self.put("2")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.files.breaks = False
        self.put("3")
        self.assertEqual(["1", "3"], self.files.versions())


class ThreadTests(TestCase):
    """Files on the reactor."""

    def setUp(self) -> None:
        """A file that is looked after."""
        self.files = Files(Path(self.mktemp()), reactor)
        self.subscription = self.files.subscription(f"path: {self.files.path}")
        self.addCleanup(self.subscription.stop)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something."""
        while not condition():
            await deferLater(reactor, 0.005)

    async def test_beside(self) -> None:
        """What is moved into place is read by a thread that lets others have the interpreter, and
        applied by the reactor's own.
        """
        here, before = threading.current_thread().name, sys.getswitchinterval()
        intervals: list[float] = []
        self.files.hook = lambda: intervals.append(sys.getswitchinterval())
        self.files.put("2")
        await self.until(lambda: len(self.files.taken) == 2)
        self.assertEqual(["1", "2"], self.files.versions())
        self.assertEqual((here, False), (self.files.loads[0], self.files.loads[1] == here))
        self.assertTrue(abs(intervals[0] - SWITCH) < 1e-6)
        self.assertEqual(before, sys.getswitchinterval())

    async def test_watch_modify(self) -> None:
        """Where that is wanted a file that is written in place is read."""
        folder, path = self.files.folder, self.files.path
        directory = f"{{path: {folder}, watch_modify: true}}"
        source = f"path_config_source: {{path: {path}, watched_directory: {directory}}}"
        self.addCleanup(self.files.subscription(source).stop)
        with path.open("a") as file:
            file.write("2")
        await self.until(lambda: self.files.versions()[-1] == "12")
        self.assertEqual(["1", "1", "12"], self.files.versions())

    async def test_stopped_meanwhile(self) -> None:
        """What was being read when it was stopped is not applied."""
        go_on, reading = threading.Event(), threading.Event()

        def hook() -> None:
            reading.set()
            go_on.wait(10)

        self.files.hook = hook
        self.files.put("2")
        await self.until(reading.is_set)
        self.subscription.stop()
        go_on.set()
        await self.until(lambda: not self.subscription._file._is_busy)
        self.assertEqual(["1"], self.files.versions())
