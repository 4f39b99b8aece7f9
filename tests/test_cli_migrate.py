"""`tcpmesh migrate`."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from tempfile import mkdtemp

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import cli, cli_migrate
from tests.config.texts import GOOD

OLD = """\
# old
static_resources:
  clusters:
  - name: a
    connect_timeout: 1s
    hosts: [{pipe: {path: /a}}]  # one
"""
NEW = """\
# old
static_resources:
  clusters:
  - name: a
    connect_timeout: 1s
    load_assignment:
      cluster_name: a
      endpoints:
      - lb_endpoints: [{endpoint: {address: {pipe: {path: /a}}}}]  # one
"""
BOTH = OLD.replace("hosts", "load_assignment: {cluster_name: a}\n    hosts")


class CommandTests(SynchronousTestCase):
    """Files in, files out."""

    def setUp(self) -> None:
        """A folder with an old file, a new one and one that a person has to look at."""
        self.folder = Path(mkdtemp())
        self.addCleanup(FilePath(str(self.folder)).remove)
        self.old = self.write("old.yaml", OLD)
        self.new = self.write("new.yaml", GOOD)
        self.both = self.write("both.yaml", BOTH)

    def write(self, name: str, text: str) -> str:
        """A file of this text; its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def run_main(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """The exit status, and what was written to standard output and standard error."""
        out, err = io.BytesIO(), io.StringIO()
        self.patch(sys, "stdout", io.TextIOWrapper(out))
        self.patch(sys, "stderr", err)
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = 0
        try:
            cli.main(["migrate", *arguments])
        except SystemExit as e:
            status = 1 if e.code else 0
        sys.stdout.flush()
        return status, out.getvalue().decode(), err.getvalue()

    def test_output(self) -> None:
        """The new text goes to standard output, what was changed to standard error."""
        status, out, err = self.run_main(self.old)

        self.assertEqual((0, NEW), (status, out))
        self.assertEqual(
            f"{self.old}:6: static_resources.clusters[0].hosts: 'hosts' becomes load_assignment\n",
            err,
        )
        self.assertEqual(OLD, Path(self.old).read_text())

    def test_standard_input(self) -> None:
        """- is standard input, which is JSON where it begins with a brace."""
        self.assertEqual((0, NEW), self.run_main("-", stdin=OLD.encode())[:2])
        status, out, _ = self.run_main("-", stdin=b'{"node": {"build_version": "a"}}')
        self.assertEqual((0, '{"node": {"user_agent_version": "a"}}\n'), (status, out))

    def test_in_place(self) -> None:
        """Files are rewritten where they are, with their rights; a new one is not touched."""
        os.chmod(self.old, 0o640)
        before = os.stat(self.new).st_mtime_ns
        status, out, err = self.run_main("--in-place", self.old, self.new)

        self.assertEqual((0, ""), (status, out))
        self.assertEqual(NEW, Path(self.old).read_text())
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.old).st_mode))
        self.assertEqual(before, os.stat(self.new).st_mtime_ns)
        self.assertIn(f"{self.new}: nothing to change", err)
        self.assertEqual({"old.yaml", "new.yaml", "both.yaml"}, set(os.listdir(self.folder)))

    def test_symbolic_link(self) -> None:
        """A link stays one: the file behind it is rewritten."""
        link = self.folder / "link.yaml"
        link.symlink_to("old.yaml")
        self.run_main("-i", str(link))

        self.assertTrue(link.is_symlink())
        self.assertEqual(NEW, Path(self.old).read_text())

    def test_other_file(self) -> None:
        """The new text can go to another file."""
        target = self.folder / "target.yaml"
        self.assertEqual((0, ""), self.run_main(self.old, "--output", str(target))[:2])
        self.assertEqual(NEW, target.read_text())

    def test_whole_or_not_at_all(self) -> None:
        """Where a file cannot be replaced the old one is still there, and nothing beside it."""

        def fail(one: object, other: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "replace", fail)
        before = set(os.listdir(self.folder))
        status, _, err = self.run_main("--in-place", self.old)

        self.assertEqual((1, OLD), (status, Path(self.old).read_text()))
        self.assertIn("No space left on device", err)
        self.assertEqual(before, set(os.listdir(self.folder)))

    def test_pipe(self) -> None:
        """What is no file is written to, and stays what it is."""
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.assertEqual((0, ""), self.run_main(self.old, "--output", str(pipe))[:2])
        self.assertEqual(NEW, os.read(reader, 10_000).decode())
        self.assertTrue(pipe.is_fifo())

    def test_largest(self) -> None:
        """A file may be as large as a configuration may be, and no larger."""
        self.patch(cli_migrate, "MAX_BYTES", len(GOOD))
        self.assertEqual((0, GOOD), self.run_main(self.new)[:2])
        self.patch(cli_migrate, "MAX_BYTES", len(GOOD) - 1)
        status, out, err = self.run_main(self.new)
        self.assertEqual((1, ""), (status, out))
        self.assertIn("it is larger than ", err)

    def test_check(self) -> None:
        """A check tells by its status whether a file is old, and writes nothing."""
        self.assertEqual((1, ""), self.run_main("--check", self.old, self.new)[:2])
        self.assertEqual((0, ""), self.run_main("--check", self.new)[:2])
        self.assertEqual(OLD, Path(self.old).read_text())

    def test_diff(self) -> None:
        """A difference is shown as diff -u shows it."""
        status, out, _ = self.run_main("--diff", self.old)

        self.assertEqual(0, status)
        self.assertIn("-    hosts: [{pipe: {path: /a}}]  # one\n", out)
        self.assertIn("+    load_assignment:\n", out)

    def test_quiet(self) -> None:
        """Changes need not be named; what is left always is."""
        self.assertEqual("", self.run_main("-q", self.old)[2])
        self.assertIn("keep one of them", self.run_main("-q", self.both)[2])

    def test_left(self) -> None:
        """What is left to do makes the status 1."""
        status, out, err = self.run_main(self.both)

        self.assertEqual((1, ""), (status, out))
        self.assertIn(f"{self.both}:7:1: static_resources.clusters[0].hosts: both", err)

    def test_encodings(self) -> None:
        """A file keeps its encoding, its byte order mark and its line breaks."""
        for encoding in ("utf-8-sig", "utf-16", "utf-8"):
            path = self.folder / "a.yaml"
            path.write_bytes(OLD.replace("\n", "\r\n").encode(encoding))
            self.run_main("-i", str(path))
            self.assertEqual(NEW.replace("\n", "\r\n"), path.read_bytes().decode(encoding))

    def test_unreadable(self) -> None:
        """A file that cannot be read or written is one line, and the others are migrated."""
        missing = str(self.folder / "missing.yaml")
        status, _, err = self.run_main("--check", missing, self.new)
        self.assertEqual(1, status)
        self.assertIn("missing.yaml: cannot be read: No such file or directory\n", err)

        path = self.folder / "binary.yaml"
        path.write_bytes(b"\xff\xfe\xff")
        self.assertIn("neither UTF-8 nor UTF-16", self.run_main(str(path))[2])

        nowhere = str(self.folder / "no" / "a.yaml")
        status, _, err = self.run_main(self.old, "-o", nowhere)
        self.assertEqual(1, status)
        self.assertIn(f"{nowhere}: cannot be written: No such file or directory\n", err)

    def test_command_line(self) -> None:
        """A wrong option is one line that names it."""
        for arguments, told in (
            (("--no-such", self.old), "--no-such"),
            ((self.old, self.new), "several files"),
            ((), "name a file"),
            (("--check", "--diff", self.old), "--check and --diff exclude each other"),
            ((self.old, "-o"), "-o needs a value"),
        ):
            status, out, err = self.run_main(*arguments)
            self.assertEqual((1, ""), (status, out))
            self.assertIn(told, err.splitlines()[0])
