"""Values of which many change at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.runtime import snapshot
from tcpmesh.runtime.snapshot import Snapshot
from tcpmesh.values.runtime import Entry

Steps = list[tuple[dict[str, "Entry | None"], int]]

KEYS = st.sampled_from("abcdefgh")
CHANGES = st.dictionaries(KEYS, st.none() | st.builds(Entry, st.sampled_from("123")))
STEPS = st.lists(st.tuples(CHANGES, st.integers(0, 9)), max_size=8)


class SnapshotTests(SynchronousTestCase):
    """Large changes and small ones, brought down by and by."""

    @given(STEPS, st.integers(0, 4))
    def test_as_a_dictionary(self, steps: Steps, few: int) -> None:
        """Whatever was brought down, each key has what it was last given."""
        self.patch(snapshot, "FEW", few)
        tried, expected = Snapshot({}), dict[str, Entry]()
        for change, most in steps:
            expected |= {key: entry for key, entry in change.items() if entry is not None}
            for key, entry in change.items():
                if entry is None:
                    expected.pop(key, None)
            tried.put(dict(change))
            tried.settle(most)
            self.assertEqual(
                {key: tried.get(key) for key in "abcdefgh"},
                {key: expected.get(key) for key in "abcdefgh"},
            )
        self.assertEqual((len(tried), dict(tried.items())), (len(expected), expected))
        self.assertEqual(tried.is_empty, not expected)

    def test_few(self) -> None:
        """Of a change of a few values nothing is left to be done."""
        tried = Snapshot({})
        few: dict[str, Entry | None] = {f"k{number}": Entry("2") for number in range(snapshot.FEW)}
        tried.put(dict(few))
        self.assertFalse(tried.settle(1))
        tried.put(dict.fromkeys(few))
        self.assertTrue(tried.is_empty)

    def test_at_once(self) -> None:
        """Many values hold at once, though none has been brought down."""
        tried = Snapshot({"a": Entry("1")})
        many: dict[str, Entry | None] = {f"k{number}": Entry("2") for number in range(2000)}
        tried.put({**many, "a": None})
        self.assertEqual((tried.get("a"), tried.get("k1999")), (None, Entry("2")))
        self.assertEqual((tried.settle(2000), tried.settle(1)), (True, False))
        self.assertEqual(len(tried), 2000)

    def test_few_over_many(self) -> None:
        """A small change that comes before a large one is brought down brings down nothing."""
        tried = Snapshot({})
        tried.put({f"k{number}": Entry("2") for number in range(2000)})
        tried.put({"a": Entry("1"), "k0": None})
        self.assertEqual((tried.get("a"), tried.get("k0")), (Entry("1"), None))
        self.assertTrue(tried.settle(2000))
        self.assertEqual(len(tried), 2000)
