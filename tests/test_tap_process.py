"""What is done about the process before twistd does it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.tap_process import CannotRun, check_pid_file, check_user, enter_directory
from tcpmesh.testing.child import TWISTD, Process

NOBODY = 65534

ANSWER = """
static_resources:
  listeners:
  - address: {pipe: {path: l.sock}}
    filter_chains:
    - filters:
      - name: d
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
          response: {filename: answer.txt}
"""


class ProcessTestCase(SynchronousTestCase):
    """A test that has a folder of its own, and does not end in another than it began."""

    def setUp(self) -> None:
        """The folder."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        self.folder = Path(os.path.realpath(directory.name))


class DirectoryTests(ProcessTestCase):
    """`--rundir`."""

    def test_entered(self) -> None:
        """It is gone to at once, and twistd stays there, whether it was relative or not."""
        (self.folder / "a").mkdir()
        for rundir in ("a", str(self.folder / "a")):
            os.chdir(self.folder)
            twistd: dict[str, Any] = {"rundir": rundir, "chroot": None}
            enter_directory(twistd)
            self.assertEqual(str(self.folder / "a"), os.getcwd())
            self.assertEqual(os.getcwd(), twistd["rundir"])

    def test_not_there(self) -> None:
        """One that is not there, or is a file, is named with the reason."""
        (self.folder / "file").touch()
        for name, reason in (("none", "No such file"), ("file", "Not a directory")):
            with self.assertRaises(CannotRun) as caught:
                enter_directory({"rundir": str(self.folder / name)})
            self.assertIn(f"{name}': {reason}", str(caught.exception))

    def test_nothing_to_do(self) -> None:
        """Without one, and within a chroot, which comes later, the process stays where it is."""
        before = os.getcwd()
        for twistd in ({}, {"rundir": "."}, {"rundir": "/", "chroot": "/somewhere"}):
            enter_directory(twistd)
            self.assertEqual(before, os.getcwd())

    def test_all_paths(self) -> None:
        """With --rundir all relative paths are those of that folder: the configuration, files named
        in it, read early or late, sockets, the pid file and the log.
        """
        inner = self.folder / "run"
        inner.mkdir()
        (inner / "envoy.yaml").write_text(ANSWER)
        (inner / "answer.txt").write_text("hello")
        command = [TWISTD, "-n", "--rundir", "run", "--pidfile", "pid", "tcpmesh"]
        command += ["-c", "envoy.yaml", "--log-path", "log", "--disable-hot-restart"]
        log = inner / "log"
        with Process(command, self.folder / "output") as process:
            process.wait(
                lambda: log.exists() and "starting workers" in log.read_text(), "the start"
            )
            there = {"envoy.yaml", "answer.txt", "l.sock", "pid", "log"}
            self.assertEqual(there, set(os.listdir(inner)))


class PidFileTests(ProcessTestCase):
    """`--pidfile`."""

    def setUp(self) -> None:
        """A place for it."""
        super().setUp()
        self.path = self.folder / "pid"
        self.twistd = {"pidfile": str(self.path)}

    def test_left_behind(self) -> None:
        """One that is empty, or has the number of this process, was left behind and is removed."""
        for text in ("", "\n", str(os.getpid()), f"{os.getpid()}\n"):
            self.path.write_text(text)
            check_pid_file(self.twistd)
            self.assertFalse(self.path.exists())

    def test_of_another(self) -> None:
        """Any other is twistd's to judge."""
        for text in (str(os.getppid()), "1", "words"):
            self.path.write_text(text)
            check_pid_file(self.twistd)
            self.assertEqual(text, self.path.read_text())

    def test_cannot_be_written(self) -> None:
        """Where none can be written that is said, with its name."""
        for path in ("/no/such/directory/pid", str(self.folder)):
            with self.assertRaises(CannotRun) as caught:
                check_pid_file({"pidfile": path})
            self.assertIn(f"cannot write the pid file '{path}'", str(caught.exception))

    def test_none(self) -> None:
        """Without one, or within a chroot, there is nothing to check."""
        check_pid_file({})
        check_pid_file({"pidfile": ""})
        check_pid_file({"pidfile": "/no/such/directory/pid", "chroot": "/somewhere"})

    def test_started_again(self) -> None:
        """A process that finds its own number there, as the only one of a container does, starts,
        and so does one that finds an empty file.
        """
        (self.folder / "envoy.yaml").write_text("{}")
        for before in (f"echo $$ > {self.path}", f": > {self.path}"):
            command = [TWISTD, "-n", "--pidfile", str(self.path), "tcpmesh", "-c", "envoy.yaml"]
            command += ["--disable-hot-restart", "--concurrency", "1"]
            command = ["sh", "-c", f'{before}; exec "$@"', "sh", *command]
            with Process(command, self.folder / "output") as process:
                process.wait_output("starting workers")
                self.assertEqual(str(process.pid), self.path.read_text())


class UserTests(ProcessTestCase):
    """`--uid` and `--gid`."""

    def test_allowed(self) -> None:
        """Nothing asked for, and what the process is already, is allowed to everybody."""
        check_user({})
        check_user({"uid": os.getuid(), "gid": os.getgid()})

    @skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_root(self) -> None:
        """Root may become anybody, but not a user that does not exist without a group."""
        check_user({"uid": NOBODY})
        with self.assertRaises(CannotRun) as caught:
            check_user({"uid": 3_999_999_999})
        self.assertIn("there is no user 3999999999", str(caught.exception))

    @skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_another(self) -> None:
        """Who is not root, and has no capability for it, may not; that is said."""
        program = (
            "import os, sys; from tcpmesh.tap_process import *; "
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "try: check_user(eval(sys.argv[1]))\nexcept CannotRun as e: print(e)"
        )
        for twistd, said in (
            ({"uid": 0}, "cannot change to uid 0 (--uid): Operation not permitted\n"),
            ({"gid": 0}, "cannot change to gid 0 (--gid): Operation not permitted\n"),
            ({"uid": NOBODY}, ""),
        ):
            ran = subprocess.run(
                [sys.executable, "-c", program, repr(twistd)], capture_output=True, text=True
            )
            self.assertEqual(("", said), (ran.stderr, ran.stdout))
