"""newsfragments/: what the next release brings, a file for each change."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.project.files import ROOT

FOLDER = ROOT / "newsfragments"

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

KINDS = re.findall(r'\{ directory = "(\w+)", name = "\w+", showcontent = true \}', PYPROJECT)
"""The kinds that towncrier is told of."""

NAME = re.compile(rf"(\d+|\+[a-z0-9-]+)\.({'|'.join(KINDS)})\.md")


class NewsfragmentTests(SynchronousTestCase):
    """Each file of the folder but README.md."""

    def test_names(self) -> None:
        """Its name is an issue's number or a plus and words, and a known kind."""
        names = [path.name for path in FOLDER.iterdir() if path.name != "README.md"]

        self.assertEqual([], [name for name in names if not NAME.fullmatch(name)])

    def test_text(self) -> None:
        """It is text without heading or bullet, and has 100 columns once a release gives it one."""
        for path in FOLDER.glob("*.*.md"):
            text = path.read_text(encoding="utf-8")
            self.assertTrue(text.strip(), path.name)
            self.assertNotIn(text[0], "#-*", path.name)
            self.assertLessEqual(max(map(len, text.splitlines())), 98, path.name)

    def test_kinds(self) -> None:
        """The README of the folder explains the kinds that towncrier knows, in the same order."""
        page = (FOLDER / "README.md").read_text(encoding="utf-8")

        self.assertEqual(["added", "changed", "deprecated", "removed", "fixed", "security"], KINDS)
        self.assertEqual(KINDS, re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))

    def test_changelog(self) -> None:
        """CHANGELOG.md has the line below which a release is put, and nothing waits there."""
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

        self.assertEqual(1, text.count("<!-- towncrier release notes start -->\n"))
        self.assertIn(r'start_string = "<!-- towncrier release notes start -->\n"', PYPROJECT)
        self.assertNotIn("Unreleased", text)
