"""The tree of a text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.source import Mapping, Sequence, taking_apart
from tcpmesh.config.text.yaml_text import parse_yaml


class TakingApartTests(SynchronousTestCase):
    """Letting go of a tree."""

    def test_steps(self) -> None:
        """Nothing that has others in it keeps them, and each list takes a step."""
        text = "a:\n- {b: [1, 2], c: {d: 1}}\n- {b: [3, 4], c: {d: 1}}\n"
        root = parse_yaml(text, "f").root
        assert isinstance(root, Mapping)
        outer = root.items["a"]
        assert isinstance(outer, Sequence)
        inner = outer.items[0]
        assert isinstance(inner, Mapping)
        steps = sum(1 for _ in taking_apart(root))
        self.assertEqual(6, steps)
        self.assertEqual(({}, [], {}), (root.items, outer.items, inner.items))

    def test_scalar(self) -> None:
        """Of a scalar nothing is to be let go."""
        self.assertEqual([], list(taking_apart(parse_yaml("1", "f").root)))
