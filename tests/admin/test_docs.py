"""docs/admin.md tells of all pages, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.values.stream.live import CONNECTION_FIELDS

PAGE = (Path(__file__).parents[2] / "docs" / "admin.md").read_text()

ROW = re.compile(r"^\| `(/\S*)` \| (GET|POST) \| (ours|) ?\| .+ \|$", re.MULTILINE)


class PageTests(SynchronousTestCase):
    """The page."""

    def test_paths(self) -> None:
        """Each page has its row, with the method that it wants and whether Envoy has it."""
        told = sorted(ROW.findall(PAGE))
        there = sorted(
            (each.path, "POST" if each.changes else "GET", "ours" if each.is_own else "")
            for each in ENDPOINTS
            if each.is_listed
        )
        self.assertEqual(there, told)

    def test_fields(self) -> None:
        """Each field of a connection is told of."""
        table = PAGE.partition("| field | |")[2].partition("\n\n")[0]
        fields = [name for row in table.splitlines() for name in _names(row)]
        self.assertEqual(set(CONNECTION_FIELDS), set(fields))


def _names(row: str) -> list[str]:
    """What the first column of a row names."""
    return re.findall(r"`(\w+)`", row.split("|")[1]) if row.count("|") > 2 else []
