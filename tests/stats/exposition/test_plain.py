"""What a process has counted as plain values, and what is no such value."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.exposition import plain
from tcpmesh.stats.exposition.plain import PlainNumbers, merging
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store


class PlainTests(SynchronousTestCase):
    """From one store to another, by JSON."""

    def setUp(self) -> None:
        """Two stores."""
        self.old, self.new = Store(), Store()
        self.numbers = PlainNumbers(self.old)

    def tell(self) -> list[Any]:
        """What is told now, which the other store takes in."""
        parts = [json.loads(json.dumps(each)) for each in self.numbers.telling(False) if each]
        for part in parts:
            for _ in merging(self.new, part):
                pass
        return parts

    def counters(self) -> dict[str, int]:
        """What the other store shows."""
        return {each.name: each.tally for each in self.new.counters() if each.was_used}

    def test_growth(self) -> None:
        """Totals first, then what has happened since; nothing where nothing has."""
        counter = self.old.scope("a").counter("n")
        counter.tally += 3
        self.tell()
        self.assertEqual({"a.n": 3}, self.counters())
        self.assertEqual([], self.tell())
        counter.tally += 2
        self.assertEqual([{"counters": {"a.n": [2, 0]}}], self.tell())
        self.assertEqual({"a.n": 5}, self.counters())

    def test_gauges(self) -> None:
        """Of gauges the sums are told."""
        for merge in Merge:
            self.old.scope("a").gauge(merge.value, merge).set(4)
        (moved,) = [each["gauges"] for each in self.tell() if "gauges" in each]
        self.assertEqual({"a.sum": 4}, moved)

    def test_parts(self) -> None:
        """Many statistics come in several parts, none of which is long."""
        self.patch(plain, "PART", 10)
        counters = [self.old.scope("c").counter(f"n{number}") for number in range(35)]
        for _ in range(2):
            for counter in counters:
                counter.tally += 1
            told = self.tell()
        self.assertEqual([10, 10, 10, 5], [len(each["counters"]) for each in told])
        self.assertEqual({2}, set(self.counters().values()))

    def test_many_clusters(self) -> None:
        """The names of many clusters, which are the same, are told once."""
        for number in range(50):
            self.old.scope(f"cluster.{number}").counter("cx").tally += 1
        shown = [row for each in self.tell() for row in each.get("shown", ())]
        clusters = [row for row in shown if row["counters"] == ["cx"]]
        self.assertEqual(50, sum(len(row["prefixes"]) for row in clusters))
        self.assertEqual(50, len(self.counters()))

    def test_wrong(self) -> None:
        """What is no number, no pair and no name is refused."""
        wrong: tuple[dict[str, Any], ...] = (
            {"counters": []},
            {"counters": {"a": 1}},
            {"counters": {"a": [1]}},
            {"counters": {"a": [1, "x"]}},
            {"gauges": {"a": "x"}},
            {"shown": {}},
            {"shown": [1]},
            {"shown": [{"prefixes": [1]}]},
            {"shown": [{"counters": "names"}]},
        )
        for told in wrong:
            self.assertRaises(ValueError, merging, self.new, told)
