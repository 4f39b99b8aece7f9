"""Being told of what is moved to a path."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import inotify, reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python._inotify import INotifyError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.moves import INTERVAL, CannotWatch, watch_moves


def point(link: Path, target: str) -> None:
    """Let a symbolic link point elsewhere, at once."""
    new = link.with_suffix(".new")
    new.symlink_to(target)
    os.rename(new, link)


class LookTests(SynchronousTestCase):
    """Without a reactor that watches descriptors."""

    def setUp(self) -> None:
        """Two links are watched, of which one is there."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.link = self.folder / "a"
        self.link.symlink_to("one")
        self.clock = Clock()
        self.moves = 0
        self.stop = watch_moves(self.clock, [str(self.link), str(self.folder / "b")], self.moved)

    def moved(self) -> None:
        """Count."""
        self.moves += 1

    def test_moved(self) -> None:
        """A link that points elsewhere is seen at the next look, once."""
        self.clock.advance(INTERVAL)
        self.assertEqual(self.moves, 0)
        point(self.link, "two")
        self.clock.pump([INTERVAL, INTERVAL])
        self.assertEqual(self.moves, 1)

    def test_comes(self) -> None:
        """So is one that comes, but not one that goes."""
        point(self.folder / "b", "one")
        self.clock.advance(INTERVAL)
        self.link.unlink()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.moves, 1)

    def test_folder(self) -> None:
        """In a directory whatever comes is seen, or takes the place of something."""
        moves: list[None] = []
        stop = watch_moves(self.clock, [f"{self.folder}/"], lambda: moves.append(None))
        self.addCleanup(stop)
        file, new = self.folder / "c", self.folder / "c.new"
        for change in (lambda: file.write_text("1"), lambda: os.rename(new, file)):
            new.write_text("2")
            self.clock.advance(INTERVAL)
            moves.clear()
            change()
            self.clock.advance(INTERVAL)
            self.assertEqual(1, len(moves))
        self.clock.advance(INTERVAL)
        self.assertEqual(1, len(moves))

    def test_stop(self) -> None:
        """Nothing is left when it is ended."""
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_folder(self) -> None:
        """Where the directory around a path is not there, the sentence names both."""
        missing = str(self.folder / "no" / "x")
        error = self.assertRaises(CannotWatch, watch_moves, self.clock, [missing], self.moved)
        self.assertIn(f"cannot watch {missing!r}: there is no directory", str(error))


class KernelTests(TestCase):
    """With the reactor."""

    async def test_moved(self) -> None:
        """The kernel tells of a link that points elsewhere, of one in another directory, and of no
        other name.
        """
        folder = Path(self.mktemp())
        (folder / "sub").mkdir(parents=True)
        paths = [folder / "a", folder / "b", folder / "sub" / "c"]
        told: list[Deferred[None]] = [Deferred()]
        clock: Any = reactor

        def moved() -> None:
            told[-1].callback(None)

        stop = watch_moves(clock, map(str, paths), moved)
        self.addCleanup(stop)
        for path in paths:
            point(path.with_name("other"), "x")
            point(path, "x")
            await told[-1]
            told.append(Deferred())

    async def test_written(self) -> None:
        """What is written in place is told where that counts; a file that is moved there too."""
        folder = Path(self.mktemp())
        folder.mkdir()
        file = folder / "a"
        file.write_text("1")
        clock: Any = reactor
        for writes, expected in ((True, 2), (False, 1)):
            moves: list[None] = []
            stop = watch_moves(clock, [f"{folder}/"], partial(moves.append, None), writes)
            with file.open("a") as opened:
                opened.write("2")
            point(folder / "b", "x")
            while len(moves) < expected:
                await deferLater(clock, 0.001)
            stop()
            self.assertEqual(expected, len(moves))
            (folder / "b").unlink()

    def test_no_more_watchers(self) -> None:
        """Where the kernel has no more to give, paths are looked at: a user has 128 as a rule."""

        def refuse(reactor: Any) -> None:
            raise INotifyError("INotify initialization error.")

        self.patch(inotify, "INotify", refuse)
        folder = Path(self.mktemp())
        folder.mkdir()
        clock: Any = reactor
        before = len(clock.getDelayedCalls())
        stop = watch_moves(clock, [f"{folder}/a"], lambda: None)
        self.assertEqual(before + 1, len(clock.getDelayedCalls()))
        stop()

    def test_nothing_left(self) -> None:
        """No reader and no descriptor is left when it is ended, nor where it cannot begin."""
        clock: Any = reactor
        before = set(clock.getReaders()), len(os.listdir("/proc/self/fd"))
        watch_moves(clock, [f"/tmp/{self.id()}"], lambda: None)()
        self.assertRaises(CannotWatch, watch_moves, clock, ["/nowhere/at/all"], lambda: None)
        self.assertEqual((set(clock.getReaders()), len(os.listdir("/proc/self/fd"))), before)
