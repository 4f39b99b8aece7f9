"""JSON that is written as it is made: `tcpmesh.admin.answers.json_stream`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.json_stream import LazyList, json_stream


class WrittenTests(SynchronousTestCase):
    """The text of an object."""

    def test_layout(self) -> None:
        """It is laid out as the standard library lays it out, at every depth."""
        values: list[Any] = [
            {},
            {"a": 1, "b": {"c": [1, {"d": "\\n\\u00fc"}], "e": {}}, "f": [], "g": None},
            {"a": {"b": {"c": True, "d": [[], {}]}}},
        ]
        for value in values:
            self.assertEqual(json.dumps(value, indent=1), "".join(json_stream(value)))

    def test_later(self) -> None:
        """A list that is made later looks like any other; elements may hold such lists too."""
        inner = {"x": LazyList([1, 2]), "y": 3}
        expected = {"a": 0, "list": [{"x": [1, 2], "y": 3}, {"z": {}}], "b": 1}
        value = {"a": 0, "list": LazyList([inner, {"z": {}}]), "b": 1}
        self.assertEqual(json.dumps(expected, indent=1), "".join(json_stream(value)))

    def test_empty(self) -> None:
        """Without elements it is left out, unless it is to be shown."""
        self.assertEqual({"b": 1}, json.loads("".join(json_stream({"a": LazyList([]), "b": 1}))))
        self.assertEqual("{}", "".join(json_stream({"a": LazyList([None])})))
        self.assertEqual(
            {"a": []}, json.loads("".join(json_stream({"a": LazyList([None], shown_empty=True)})))
        )

    def test_made_in_its_turn(self) -> None:
        """No element is made before those ahead of it have been written; what took a while and is
        none is an empty piece.
        """
        made: list[int] = []

        def items() -> Any:
            for number in range(3):
                made.append(number)
                yield None if number == 1 else number

        pieces = json_stream({"a": LazyList(items())})
        self.assertIn("0", next(pieces) + next(pieces))
        self.assertEqual([0], made)
        self.assertEqual("", next(pieces))
        self.assertEqual({"a": [0, 2]}, json.loads('{"a": [0' + "".join(pieces)))
