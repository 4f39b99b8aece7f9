"""Counters and gauges together: `tcpmesh.stats.rows`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats import rows as rows_module
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store

PREFIXES = st.sampled_from(("a", "a.b", "ab", "b.c", "b.c.d", "c"))
NAMES = st.lists(st.sampled_from(("x", "x.y", "x-", "z", "b.x", "")), unique=True, max_size=4)


class RowTests(SynchronousTestCase):
    """All of them, in order."""

    @given(st.lists(st.tuples(PREFIXES, NAMES, NAMES, NAMES, NAMES), max_size=6), st.booleans())
    def test_as_one_by_one(
        self, scopes: list[tuple[str, list[str], list[str], list[str], list[str]]], few: bool
    ) -> None:
        """They are what merging all of them gives, made or declared, whatever scopes there are,
        and also where a scope has more than are put in order at once.
        """
        self.patch(rows_module, "MOST", 10 if few else 1000)
        store = Store()
        for number, (prefix, counters, gauges, declared, others) in enumerate(scopes):
            scope = store.scope(prefix) if prefix != "c" else store
            for name in counters:
                scope.counter(name).tally += number
            for name in gauges:
                scope.gauge(name, Merge.SUM).set(number)
            scope.declare(Declaration(tuple(declared), tuple(others)))
        for wanted in ((True, True), (True, False), (False, True)):
            stats = [
                *(store.counters() if wanted[0] else ()),
                *(store.gauges() if wanted[1] else ()),
            ]
            found = [row for part in store.numbers(*wanted) for row in part]
            self.assertEqual(sorted((each.name, each.tally) for each in stats), sorted(found))
            self.assertEqual(sorted(name for name, _ in found), [name for name, _ in found])
