"""How far an action is active, by the pressure of resources."""

from __future__ import annotations

from envoy.config.overload.v3.overload_pb2 import OverloadAction, Trigger

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.overload.triggers import Triggered, level_of, single
from tests.mesh import parse


class LevelTests(SynchronousTestCase):
    """One trigger."""

    def levels(self, text: str, *pressures: float) -> list[float]:
        """The level at each of these pressures."""
        level = level_of(parse(Trigger, text))
        return [level(each) for each in pressures]

    def test_threshold(self) -> None:
        """From the threshold on all of it is active, below nothing."""
        text = "threshold: {value: 0.5}"
        self.assertEqual([0, 0, 1, 1, 1], self.levels(text, 0, 0.499, 0.5, 0.501, 7))

    def test_threshold_of_nothing(self) -> None:
        """A threshold of 0 is always reached."""
        self.assertEqual([1], self.levels("threshold: {value: 0}", 0))

    def test_scaled(self) -> None:
        """Between the two thresholds it is active to the share that is behind it."""
        text = "scaled: {scaling_threshold: 0.25, saturation_threshold: 0.75}"
        self.assertEqual([0, 0, 0.25, 0.5, 1, 1], self.levels(text, 0, 0.25, 0.375, 0.5, 0.75, 1.5))

    def test_precision(self) -> None:
        """Shares are reckoned in single precision, so what is nearly a quarter is one."""
        text = "scaled: {scaling_threshold: 0.1, saturation_threshold: 0.9}"
        self.assertEqual([0.25], self.levels(text, 0.3))
        self.assertNotEqual(0.1, single(0.1))


class TriggeredTests(SynchronousTestCase):
    """What several triggers come to."""

    def setUp(self) -> None:
        """An action with a trigger for each of two resources."""
        self.shown: list[float] = []
        self.action = Triggered(
            parse(
                OverloadAction,
                """
                name: x
                triggers:
                - {name: a, threshold: {value: 0.5}}
                - {name: b, scaled: {scaling_threshold: 0, saturation_threshold: 1}}
                """,
            ),
            self.shown.append,
        )

    def test_highest(self) -> None:
        """It is as active as the trigger says that says most, and that is shown at each update."""
        changes = [
            self.action.update(name, pressure)
            for name, pressure in (("b", 0.5), ("a", 0.4), ("a", 0.5), ("b", 0.75), ("a", 0))
        ]
        self.assertEqual([0, 0.5, 0.5, 1, 1, 0.75], self.shown)
        self.assertEqual([True, False, True, False, True], changes)
        self.assertEqual(0.75, self.action.level)

    def test_others(self) -> None:
        """A resource that no trigger goes by changes nothing."""
        self.assertFalse(self.action.update("c", 1))
        self.assertEqual([0], self.shown)

    def test_states(self) -> None:
        """It is inactive, scaled or active, and says when that is another one."""
        found = []
        for pressure in (0, 0.2, 0.3, 1, 1, 0):
            self.action.update("b", pressure)
            found.append((self.action.state, self.action.turned))
        self.assertEqual(
            [
                ("inactive", False),
                ("scaled", True),
                ("scaled", False),
                ("active", True),
                ("active", False),
                ("inactive", True),
            ],
            found,
        )
