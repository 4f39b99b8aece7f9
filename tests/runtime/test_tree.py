"""Trees of files as layers; what comes of each was seen of Envoy."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.runtime import tree
from tcpmesh.runtime.entries import NotReadable
from tcpmesh.runtime.tree import read_tree, what_counts
from tcpmesh.values.runtime import Entry


def run(root: Path) -> dict[str, Entry] | None:
    """The values of a tree."""
    steps = read_tree(str(root))
    while True:
        try:
            next(steps)
        except StopIteration as stopped:
            found: dict[str, Entry] | None = stopped.value
            return found


class TreeTests(SynchronousTestCase):
    """A tree of the test's own."""

    def setUp(self) -> None:
        """There is a directory with one value."""
        self.root = Path(self.mktemp())
        self.put("int", "5\n")

    def put(self, name: str, data: str | bytes) -> None:
        """A file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    def texts(self) -> dict[str, str]:
        """What is in the tree, but for the value that is always there."""
        found = run(self.root)
        assert found is not None
        self.assertEqual(found.pop("int"), Entry("5", 5.0, True))
        return {key: entry.text for key, entry in found.items()}

    def refused(self) -> str:
        """Why the tree cannot be read."""
        return str(self.assertRaises(NotReadable, run, self.root))

    def test_keys(self) -> None:
        """Directories and file are joined by dots; hidden ones are values too."""
        for name in ("a/b/c", "x.y", "a/b.d", ".hidden", "..data/x", "sp ace"):
            self.put(name, "1")
        (self.root / "empty").mkdir()
        keys = {"a.b.c", "x.y", "a.b.d", ".hidden", "..data.x", "sp ace"}
        self.assertEqual(self.texts().keys(), keys)

    def test_links(self) -> None:
        """Symbolic links to files and directories are followed."""
        self.put("r/x", "1")
        (self.root / "s").symlink_to("r")
        (self.root / "link").symlink_to("int")
        self.assertEqual(self.texts(), {"r.x": "1", "s.x": "1", "link": "5"})

    def test_others(self) -> None:
        """What is neither file nor directory is no value, and does not hold up anybody."""
        os.mkfifo(self.root / "fifo")
        (self.root / "null").symlink_to("/dev/null")
        self.assertEqual(self.texts(), {})

    def test_no_tree(self) -> None:
        """Without such a directory there is no layer, nor where a file is in its place."""
        self.assertIsNone(run(self.root / "nowhere"))
        self.assertIsNone(run(self.root / "int"))
        (self.root / "loop").symlink_to("loop")
        self.assertIsNone(run(self.root / "loop"))

    def test_not_utf8(self) -> None:
        """Bytes that are no UTF-8 are blanks, in keys and values."""
        self.put("text", b"a\xff\xfeb")
        with open(os.fsencode(self.root) + b"/n\xff", "wb") as file:
            file.write(b"1")
        self.assertEqual(self.texts(), {"text": "a  b", "n ": "1"})

    def test_unreadable(self) -> None:
        """A link to nowhere, or to itself, or a text that is no YAML makes all unreadable."""
        for target in ("nowhere", "bad"):
            (self.root / "bad").symlink_to(target)
            self.assertIn("/bad'", self.refused())
            (self.root / "bad").unlink()
        self.put("bad", "{a")
        self.assertIn("/bad': not YAML", self.refused())

    def test_permission(self) -> None:
        """A file or directory that may not be read makes all unreadable."""
        real = os.open

        def forbid(path: object, *args: int) -> int:
            if os.fsencode(str(path)).endswith(b"int'"):
                raise PermissionError(13, "Permission denied", path)
            return real(path, *args)  # type: ignore[arg-type]

        self.patch(os, "open", forbid)
        self.assertIn("Permission denied", self.refused())

    def test_vanished(self) -> None:
        """A file that vanishes while the tree is read makes all unreadable, and nothing stays
        open.
        """
        self.put("another", "1")
        before = len(os.listdir("/proc/self/fd"))
        steps = read_tree(str(self.root))
        next(steps)
        next(steps)
        for name in ("int", "another"):
            (self.root / name).unlink()
        self.assertRaises(NotReadable, list, steps)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_given_up(self) -> None:
        """Whoever reads no further leaves nothing open."""
        before = len(os.listdir("/proc/self/fd"))
        steps = read_tree(str(self.root))
        next(steps)
        steps.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_replaced_root(self) -> None:
        """A root that is pointed elsewhere while it is read is read to its end where it was."""
        link = Path(self.mktemp())
        link.symlink_to(self.root.resolve())
        self.put("a/b", "1")
        steps = read_tree(str(link))
        next(steps)
        link.unlink()
        link.symlink_to("/nowhere")
        with self.assertRaises(StopIteration) as caught:
            while True:
                next(steps)
        self.assertEqual(caught.exception.value.keys(), {"int", "a.b"})

    def test_depth(self) -> None:
        """A tree is 16 directories deep, its root included, and no deeper: nor is a loop."""
        self.put("/".join("a" * 15) + "/x", "1")
        self.assertEqual(self.texts(), {".".join("a" * 15) + ".x": "1"})
        self.put("/".join("a" * 16) + "/x", "1")
        self.assertIn("deeper than 16 directories", self.refused())

    def test_loop(self) -> None:
        """A directory that links to itself twice, 65,536 ways down, is found out soon."""
        self.patch(tree, "MOST_FILES", 100)
        for name in ("b", "c"):
            (self.root / name).symlink_to(".")
        self.assertTrue(self.refused())

    def test_many(self) -> None:
        """A tree has so many files at most."""
        for name in "abc":
            self.put(name, "1")
        self.patch(tree, "MOST_FILES", 4)
        self.assertEqual(len(self.texts()), 3)
        self.patch(tree, "MOST_FILES", 3)
        self.assertEqual(self.refused(), "more than 3 files")

    def test_large(self) -> None:
        """A file has a mebibyte at most, and all together 64."""
        self.put("large", "x" * (1 << 20))
        self.assertEqual(len(self.texts()["large"]), 1 << 20)
        self.patch(tree, "MOST_BYTES_OF_ALL", 1 << 20)
        self.assertEqual(self.refused(), "more than 1 MiB")
        self.put("large", "x" * ((1 << 20) + 1))
        self.assertIn("is larger than 1 MiB", self.refused())


class LineTests(SynchronousTestCase):
    """What of a file counts."""

    def counting(self, text: str) -> str:
        """The lines of a text that count."""
        steps = what_counts(text)
        while True:
            try:
                next(steps)
                self.steps += 1
            except StopIteration as stopped:
                return str(stopped.value)

    def setUp(self) -> None:
        """Count steps."""
        self.steps = 0

    def test_many(self) -> None:
        """A long text is looked at in steps."""
        text = "# no\na  \n\n" * 20_000
        self.assertEqual(self.counting(text), "a  \n" * 19_999 + "a")
        self.assertGreater(self.steps, 5)
        self.patch(tree, "PIECE", 3)
        text = "".join(f"{number}\n#{number}\n" for number in range(200))
        expected = "".join(f"{number}\n" for number in range(200))
        self.assertEqual(self.counting(text), expected)

    def test_decoded(self) -> None:
        """Many bytes, whatever they are, are decoded in steps, to what they are as a whole."""
        for data in (
            b"\xff" * 100_000,
            "a\u00e4\u20ac\U0001f4a9".encode() * 10_000,
            b"\xf0\x9f" * 33_000,
        ):
            steps = 0
            decoding = tree._decoded(data)
            try:
                while True:
                    next(decoding)
                    steps += 1
            except StopIteration as stopped:
                self.assertEqual(tree._text(data), stopped.value)
            self.assertGreater(steps, 2)

    def test_lines(self) -> None:
        """Neither empty lines nor comments, nor the blanks at the end of the last line."""
        for text, value in (
            *(("5\n", "5"), ("5\r\n", "5"), ("5   \n\n\n", "5"), ("# c\na\n\nb  \n\n", "a\nb")),
            *(
                ("# only\n#x", ""),
                ("", ""),
                ("\n\n\n", ""),
                (" # no\n5", " # no\n5"),
            ),
            *(("5\n# trailing\n", "5\n"), ("a\r\nb\r\n", "a\r\nb"), ("  7  ", "  7")),
        ):
            self.assertEqual(self.counting(text), value, text)
