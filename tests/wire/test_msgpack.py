"""Values of JSON in MessagePack."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.msgpack import MOST_DEPTH, array_head, packed
from tests.wire.unpacking import unpacked

#: As the specification draws them, each in the smallest form.
KNOWN: tuple[tuple[Any, str], ...] = (
    (None, "c0"),
    (False, "c2"),
    (True, "c3"),
    (0, "00"),
    (127, "7f"),
    (128, "cc80"),
    (255, "ccff"),
    (256, "cd0100"),
    (65536, "ce00010000"),
    (1 << 32, "cf0000000100000000"),
    ((1 << 64) - 1, "cf" + "ff" * 8),
    (1 << 64, "c0"),
    (-1, "ff"),
    (-32, "e0"),
    (-33, "d0df"),
    (-128, "d080"),
    (-129, "d1ff7f"),
    (-32769, "d2ffff7fff"),
    (-(1 << 31) - 1, "d3ffffffff7fffffff"),
    (-(1 << 63), "d38000000000000000"),
    (-(1 << 63) - 1, "c0"),
    (1.5, "cb3ff8000000000000"),
    ("", "a0"),
    ("é", "a2c3a9"),
    ("\udc80", "a13f"),
    ([], "90"),
    ([1, "a"], "9201a161"),
    ({}, "80"),
    ({"a": {"b": [True]}}, "81a16181a16291c3"),
    (b"bytes", "c0"),
)


class PackedTests(SynchronousTestCase):
    """What is written."""

    def test_known_values(self) -> None:
        """Each kind of value is written as the specification says, in its smallest form."""
        for value, written in KNOWN:
            self.assertEqual(packed(value).hex(), written, repr(value))

    def test_long_ones(self) -> None:
        """Lengths that a byte does not hold get two bytes or four."""
        self.assertEqual(packed("x" * 31)[:1], b"\xbf")
        self.assertEqual(packed("x" * 32)[:2], b"\xd9\x20")
        self.assertEqual(packed("x" * 256)[:3], b"\xda\x01\x00")
        self.assertEqual(packed("x" * 65536)[:5], b"\xdb\x00\x01\x00\x00")
        self.assertEqual(array_head(15), b"\x9f")
        self.assertEqual(array_head(16), b"\xdc\x00\x10")
        self.assertEqual(array_head(65536), b"\xdd\x00\x01\x00\x00")
        self.assertEqual(packed(dict.fromkeys("abcdefghijklmnop"))[:3], b"\xde\x00\x10")

    def test_what_is_too_deep_is_nil(self) -> None:
        """A value that never ends is cut off."""
        value: list[Any] = []
        value.append(value)
        self.assertEqual(packed(value), b"\x91" * MOST_DEPTH + b"\xc0")

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(1 << 63), (1 << 64) - 1)
            | st.floats(allow_nan=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé"), inner),
            max_leaves=30,
        )
    )
    def test_any_value_of_json_comes_back(self, value: Any) -> None:
        """What is written says just what it was written of."""
        self.assertEqual(unpacked(packed(value)), [value])
