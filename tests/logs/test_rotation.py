"""Files of logs that are opened anew."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.rotation import opened_anew


class OpenedAnewTests(SynchronousTestCase):
    """Rotations of a file."""

    def setUp(self) -> None:
        """A file that only its group may read."""
        self.path = self.mktemp()
        self.before = self.open(self.path)
        self.addCleanup(os.close, self.before)
        os.fchmod(self.before, 0o640)

    def open(self, path: str) -> int:
        """Open or make it, for everybody to read."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.fchmod(fd, 0o644)
        return fd

    def reopen(self) -> os.stat_result:
        """What is at the path after it was opened anew."""
        os.close(opened_anew(self.path, self.before, self.open))
        return os.stat(self.path)

    def mode(self) -> int:
        """Who may read what is at the path once it was opened anew."""
        return self.reopen().st_mode & 0o7777

    def test_mode(self) -> None:
        """A file that is made anew may be read by whoever might read the one that was moved
        away.
        """
        os.rename(self.path, self.mktemp())
        self.assertEqual(0o640, self.mode())

    def test_removed(self) -> None:
        """The same where it was removed."""
        os.unlink(self.path)
        self.assertEqual(0o640, self.mode())

    def test_made_by_others(self) -> None:
        """A file that is there already stays as it is."""
        os.rename(self.path, self.mktemp())
        os.close(self.open(self.path))
        self.assertEqual(0o644, self.mode())

    def test_owner(self) -> None:
        """It has the owner and the group of the one before, as far as this process may give it
        away.
        """
        asked = []
        refuses = False

        def fchown(fd: int, owner: int, group: int) -> None:
            asked.append((owner, group))
            if refuses and owner != -1:
                raise PermissionError

        self.patch(os, "fchown", fchown)
        before = os.fstat(self.before)
        os.unlink(self.path)
        self.reopen()
        self.assertEqual([(before.st_uid, before.st_gid)], asked)
        refuses = True
        os.unlink(self.path)
        self.assertEqual(0o640, self.mode())
        self.assertEqual([(before.st_uid, before.st_gid), (-1, before.st_gid)], asked[1:])

    def test_refused(self) -> None:
        """Where nothing of it may be changed the file is opened nevertheless."""
        os.unlink(self.path)

        def refuse(*args: int) -> None:
            raise PermissionError

        self.patch(os, "fchown", refuse)
        self.patch(os, "fchmod", refuse)
        self.patch(self, "open", lambda path: os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        self.assertEqual(0o600, self.mode())

    def test_no_file(self) -> None:
        """What was standard error, a pipe, says nothing of a file."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        path = Path(self.mktemp())
        os.close(opened_anew(str(path), writer, self.open))
        self.assertEqual(0o644, path.stat().st_mode & 0o7777)

    def test_cannot_open(self) -> None:
        """A file that cannot be opened is an error."""
        self.assertRaises(OSError, opened_anew, "/nowhere/log", self.before, self.open)
