"""Rows as lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal.filters import Row
from tcpmesh.terminal.gathering import VIEWS
from tcpmesh.terminal.tables import COLUMNS, SORTS, Column, count, in_order, lay, text, widths_of
from tcpmesh.terminal.texts import columns_of
from tcpmesh.values.stream.live import CLOSE_FIELDS, CONNECTION_FIELDS

PLAIN = (text("name", "NAME", least=4), count("size", "SIZE", rank=1), text("x", "X", rank=2))
ROWS = ({"name": "a", "size": 3, "x": "\x1b"}, {"name": "much longer", "size": None})


class LayTests(SynchronousTestCase):
    """Lines of a width."""

    def test_all(self) -> None:
        """Texts stand at the left and numbers at the right; what cannot be seen is written out."""
        laid = lay(PLAIN, ROWS, 60, "-size")
        self.assertEqual("NAME        SIZEv X", laid.head)
        self.assertEqual(["a               3 \\x1b", "much longer     - -"], laid.lines)

    def test_narrow(self) -> None:
        """Where there is no room the columns of the highest rank are left out, and texts cut."""
        self.assertEqual("NAME    SIZE X", lay(PLAIN, ROWS, 17).head)
        self.assertEqual(["a        3 \\x1b", "muc~     - -"], lay(PLAIN, ROWS, 15).lines)
        self.assertEqual(
            ["a        3", "much     -"], lay(PLAIN, [ROWS[0], {"name": "much"}], 10).lines
        )
        self.assertEqual(["a", "mu~"], lay(PLAIN, ROWS, 3).lines)

    def test_sort_mark(self) -> None:
        """The mark tells which way round the order is."""
        self.assertIn("NAME^", lay(PLAIN, ROWS, 60, "name").head)

    @given(
        st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=1, max_size=8),
        st.integers(1, 60),
    )
    def test_widths(self, shapes: list[tuple[int, int]], width: int) -> None:
        """The columns never take more than there is, but for the one that is always there; who is
        left out has a rank at least as high as all who are not.
        """
        columns = [Column(str(i), str(i), least=4, rank=rank) for i, (_, rank) in enumerate(shapes)]
        widths = widths_of(columns, [1] * len(shapes), [want for want, _ in shapes], width)
        kept = [i for i, each in enumerate(widths) if each]
        self.assertTrue(len(kept) == 1 or sum(widths) + len(kept) - 1 <= width)
        out = [columns[i].rank for i in range(len(widths)) if i not in kept]
        self.assertTrue(not out or max(columns[i].rank for i in kept) <= min(out))

    def test_80_columns(self) -> None:
        """On a terminal of 80 columns each view shows what it is about."""
        for view, wanted in (
            ("listeners", "LISTENER ADDRESS OPEN NEW/s ALL"),
            ("clusters", "CLUSTER OK HOSTS OPEN NEW/s FAIL/s IN/s OUT/s FAILED ALL"),
            ("hosts", "HOST CLUSTER HEALTH OPEN NEW/s FAIL/s FAILED ALL"),
            ("connections", "ID CLIENT CLUSTER HOST PHASE AGE IN/s OUT/s"),
            ("closes", "WHEN CLIENT HOST REASON"),
        ):
            addresses = {"client": "10.100.200.100:40123", "host": "10.120.200.100:5432"}
            row = {**addresses, "phase": "relaying", "cluster": "db", "reason": "r" * 99}
            laid = lay(COLUMNS[view], [row], 80)
            self.assertEqual(wanted.split(), laid.head.split())
            self.assertTrue(columns_of(laid.lines[0]) <= 80)
            for address in addresses.values():
                self.assertTrue(view not in ("connections", "closes") or address in laid.lines[0])

    def test_fields(self) -> None:
        """What is shown of connections is what there is of them."""
        for view, fields in (("connections", CONNECTION_FIELDS), ("closes", CLOSE_FIELDS)):
            self.assertEqual(set(), {column.key for column in COLUMNS[view]} - set(fields))
        self.assertEqual(set(VIEWS[1:]), set(COLUMNS))
        self.assertEqual(set(VIEWS[1:]), set(SORTS))


class OrderTests(SynchronousTestCase):
    """The order of rows."""

    def test_order(self) -> None:
        """By a field, either way; rows that do not know it come last, and equal ones stay."""
        rows: list[Row] = [
            {"n": 1, "i": 0},
            {"n": None, "i": 1},
            {"n": 3, "i": 2},
            {"n": 1, "i": 3},
        ]
        self.assertEqual([0, 3, 2, 1], [row["i"] for row in in_order(rows, "n")])
        self.assertEqual([2, 0, 3, 1], [row["i"] for row in in_order(rows, "-n")])
        self.assertEqual([0, 1, 2, 3], [row["i"] for row in in_order(rows, "")])
