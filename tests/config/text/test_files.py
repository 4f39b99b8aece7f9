"""Files that hold a configuration, or that one names."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text import files
from tcpmesh.config.text.files import content_of


class ContentTests(SynchronousTestCase):
    """What a file has."""

    def setUp(self) -> None:
        """A path where there is nothing."""
        self.path = Path(self.mktemp()).absolute()

    def why_not(self) -> str:
        """Why the file cannot be read."""
        return self.assertRaises(OSError, content_of, str(self.path)).strerror or ""

    def test_file(self) -> None:
        """A file is read as a whole, also through a symbolic link."""
        data = bytes(range(256)) * 5000
        self.path.with_suffix(".real").write_bytes(data)
        self.path.symlink_to(self.path.with_suffix(".real"))

        self.assertEqual(data, content_of(str(self.path)))

    def test_pipe(self) -> None:
        """A pipe that nobody writes to is refused at once, and so is a device."""
        os.mkfifo(self.path)
        self.assertIn("it is no file", self.why_not())
        self.path = Path("/dev/null")
        self.assertIn("it is no file", self.why_not())

    def test_patient(self) -> None:
        """Who may wait is given what comes out of a pipe."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.write(writer, b"node: {}")
        os.close(writer)

        self.assertEqual(b"node: {}", content_of(f"/dev/fd/{reader}", may_wait=True))

    def test_others(self) -> None:
        """What is not there, a directory, and links in a circle are refused, and no descriptor is
        left.
        """
        before = os.listdir("/proc/self/fd")
        self.assertIn("No such file", self.why_not())
        self.path.mkdir()
        self.assertIn("Is a directory", self.why_not())
        self.path.rmdir()
        self.path.symlink_to(self.path)
        self.assertIn("Too many levels", self.why_not())
        self.assertRaises(ValueError, content_of, "a\0b")
        self.assertEqual(len(before), len(os.listdir("/proc/self/fd")))

    def test_too_large(self) -> None:
        """A file may have so many bytes and no more."""
        self.patch(files, "MAX_BYTES", 1 << 20)
        self.path.write_bytes(bytes(1 << 20))
        self.assertEqual(1 << 20, len(content_of(str(self.path))))
        self.path.write_bytes(bytes((1 << 20) + 1))
        self.assertEqual("it is larger than 1 MiB", self.why_not())
