"""`tcpmesh migrate`."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import cli
from tcpmesh.config.load import load
from tests.config.texts import GOOD

OLD = """\
static_resources:
  clusters:
  - name: c  # the only one
    connect_timeout: 1s
    hosts: [{socket_address: {address: 127.0.0.1, port_value: 80}}]
"""


class MigrateTests(SynchronousTestCase):
    """What it writes, and where."""

    def setUp(self) -> None:
        """An old file; what is printed is kept."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.old = self.folder / "old.yaml"
        self.old.write_text(OLD)

    def ends(self, *arguments: object) -> Any:
        """The exit status with which this ends."""
        try:
            cli.main(["migrate", *map(str, arguments)])
        except SystemExit as e:
            return e.code
        return 0

    def test_printed(self) -> None:
        """The new text is on standard output, each change with its line on standard error, and the
        file is as it was.
        """
        self.assertEqual(0, self.ends(self.old))
        self.assertIn("  - name: c  # the only one\n", self.out.getvalue())
        self.assertIn("load_assignment:", self.out.getvalue())
        self.assertIn(
            f"{self.old}:5: static_resources.clusters[0].hosts: 'hosts' becomes load_assignment\n",
            self.err.getvalue(),
        )
        self.assertEqual(OLD, self.old.read_text())

    def test_written(self) -> None:
        """It goes to the file of --output, which may be the old one and keeps its mode; then there
        is nothing to change any more.
        """
        self.old.chmod(0o640)
        self.assertEqual(0, self.ends(self.old, "-o", self.old))
        self.assertEqual("", self.out.getvalue())
        load(str(self.old))
        self.assertEqual(0o640, stat.S_IMODE(self.old.stat().st_mode))
        self.assertEqual(["old.yaml"], os.listdir(self.folder))
        self.err.truncate(self.err.seek(0))
        self.assertEqual(0, self.ends(self.old))
        self.assertEqual(f"{self.old}: nothing to change\n", self.err.getvalue())

    def test_right_already(self) -> None:
        """A file that is right is written as it is."""
        self.old.write_text(GOOD)
        self.assertEqual(0, self.ends("--output", self.folder / "new.yaml", self.old))
        self.assertEqual(GOOD, (self.folder / "new.yaml").read_text())

    def test_left_to_do(self) -> None:
        """What cannot be changed is told with its line, and the status is 1."""
        self.old.write_text("static_resources: [\n")
        self.assertEqual(1, self.ends(self.old))
        self.assertEqual("", self.out.getvalue())
        self.assertIn(f"{self.old}:1:20: not YAML", self.err.getvalue())

    def test_mistakes(self) -> None:
        """What makes no sense, or cannot be read or written, is one line and status 1."""
        for arguments, line in (
            ((), "tcpmesh migrate: tell one file (--help tells more)"),
            (("a", "b"), "tcpmesh migrate: tell one file, not a and b (--help tells more)"),
            (("a", "-o"), "tcpmesh migrate: -o needs a value (--help tells more)"),
            (("/no/such",), "/no/such: cannot read the configuration: No such file or directory"),
        ):
            self.err.truncate(self.err.seek(0))
            self.assertEqual(1, self.ends(*arguments))
            self.assertEqual(f"{line}\n", self.err.getvalue())
        self.assertEqual(1, self.ends(self.old, "-o", "/no/such/file"))
        self.assertIn("cannot write '/no/such/file': No such file", self.err.getvalue())
