"""Names that were looked up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats import lookups
from tcpmesh.stats.store import Store


class LookupTests(SynchronousTestCase):
    """What is remembered of them."""

    def test_counted(self) -> None:
        """They are counted in any case, and remembered while that is on, the most frequent first,
        and no more than fit.
        """
        store = Store()
        scope = store.scope("cluster.c")
        scope.counter("a")
        self.assertEqual((1, []), (store.lookups.count, store.lookups.rows()))
        store.lookups.enable()
        for name in ("a", "b", "b"):
            scope.counter(name)
        self.assertEqual([(2, "cluster.c.b"), (1, "cluster.c.a")], store.lookups.rows())
        for number in range(lookups.CAPACITY):
            scope.counter(f"x{number}")
        self.assertNotIn("cluster.c.b", [name for _, name in store.lookups.rows()])
        store.lookups.disable()
        scope.counter("a")
        self.assertEqual((105, []), (store.lookups.count, store.lookups.rows()))
        store.lookups.clear()
        self.assertEqual(0, store.lookups.count)
