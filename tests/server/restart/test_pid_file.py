"""The pid file follows the main process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.restart.pid_file import PidFile, take_pid_file
from tests.told import told_in


class PidFileTests(SynchronousTestCase):
    """`PidFile`."""

    def setUp(self) -> None:
        """The file of another process."""
        self.path = os.path.abspath(self.mktemp())
        Path(self.path).write_text("1")
        self.twistd: dict[str, Any] = {"pidfile": self.path}

    def test_taken(self) -> None:
        """twistd knows nothing of the file of another process, until this one serves: then it
        removes it in the end.
        """
        file = take_pid_file(self.twistd)
        self.assertEqual("", self.twistd["pidfile"])
        self.assertEqual("1", Path(self.path).read_text())
        file.write()
        self.assertEqual(self.path, self.twistd["pidfile"])
        self.assertEqual(str(os.getpid()), Path(self.path).read_text())
        self.assertEqual([os.path.basename(self.path)], self.beside())

    def beside(self) -> list[str]:
        """The files there."""
        name = os.path.basename(self.path)
        return [each for each in os.listdir(os.path.dirname(self.path)) if name in each]

    def test_given_up(self) -> None:
        """Once another process serves, twistd leaves the file alone."""
        PidFile(self.twistd).give_up()
        self.assertEqual("", self.twistd["pidfile"])

    def test_own(self) -> None:
        """What twistd has written is not written once more, and nobody has to have one."""
        PidFile(self.twistd).write()
        self.assertEqual("1", Path(self.path).read_text())
        for twistd in ({}, {"pidfile": ""}, {"pidfile": None}):
            options: dict[str, Any] = twistd
            file = take_pid_file(options)
            file.write()
            file.give_up()
        self.assertEqual({}, {key: each for key, each in options.items() if each})

    def test_folder_is_closed(self) -> None:
        """Where nothing can be put into the folder, the file itself is written."""

        def refuse(source: str, target: str) -> None:
            raise PermissionError(13, "no")

        self.patch(os, "replace", refuse)
        take_pid_file(self.twistd).write()
        self.assertEqual(str(os.getpid()), Path(self.path).read_text())
        self.assertEqual([os.path.basename(self.path)], self.beside())

    def test_cannot_be_written(self) -> None:
        """What cannot be written at all is a line of the log."""
        told = told_in(self, "main")
        self.twistd["pidfile"] = "/no/such/folder/pid"
        take_pid_file(self.twistd).write()
        (line,) = told.lines
        self.assertEqual(
            "cannot write the pid file '/no/such/folder/pid': No such file or directory", line
        )
