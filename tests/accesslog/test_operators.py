"""docs/operators.md names every operator, and says which ones can be cut."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.operators import OPERATORS
from tcpmesh.config.fields.operators import FormatError
from tests.accesslog.test_text_format import ARGUMENTS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operators.md"
_ROW = re.compile(r"^\| (`[A-Z].*?`) \| (yes|) ?\| ", re.MULTILINE)


class PageTests(SynchronousTestCase):
    """The page and the code."""

    def rows(self) -> dict[str, bool]:
        """Each operator of the page, and whether it can be cut there."""
        return {
            name: cut == "yes"
            for names, cut in _ROW.findall(PAGE.read_text())
            for name in re.findall(r"`([A-Z0-9_]+)`", names)
        }

    def test_names(self) -> None:
        """The page has each operator once, and no other."""
        self.assertEqual(set(self.rows()), set(OPERATORS.table))
        words = re.findall(r"^\| (`[A-Z].*?`) \|", PAGE.read_text(), re.MULTILINE)
        self.assertEqual(len(re.findall("`", "".join(words))), 2 * len(self.rows()))

    def test_cut(self) -> None:
        """Those can be cut of which it says so."""
        for name, expected in self.rows().items():
            if name not in KNOWN_ELSEWHERE:
                self.assertIs(can_be_cut(name), expected, name)


#: Of one another format has to say that it may be used, of the others a library may be missing.
KNOWN_ELSEWHERE = ("REQ_WITHOUT_QUERY", "CEL", "TYPED_CEL")


def can_be_cut(name: str) -> bool:
    """Whether an operator may be followed by a length, with an argument or without one."""
    for argument in (f"({ARGUMENTS.get(name, 'a')})", ""):
        try:
            OPERATORS.parse(f"%{name}{argument}:3%")
        except FormatError:
            continue
        return True
    return False
