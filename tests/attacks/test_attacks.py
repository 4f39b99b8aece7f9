"""The attacks themselves: what they say of a proxy follows from what was measured."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tests.attacks.__main__ import SCENES, row
from tests.attacks.attack import MIB, Attack, Bootstrap, Figures, Limits
from tests.attacks.texts import flaws_of

GOOD = Figures(
    echoes=100,
    longest=3.0,
    longest_fresh=5.0,
    longest_wall=9.0,
    lost=0,
    is_busy=False,
    peak=MIB,
    kept=0,
    descriptors=0,
)
ATTACK = Attack("a", "Does something.", lambda target, seconds: None)


class VerdictTests(SynchronousTestCase):
    """Whether an attack was withstood."""

    def flaws(self, attack: Attack = ATTACK, **seen: object) -> list[str]:
        """What was wrong with these figures."""
        return replace(GOOD, **seen).flaws(attack)  # type: ignore[arg-type]

    def test_withstood(self) -> None:
        """A proxy that kept all limits has no flaw."""
        self.assertEqual([], self.flaws())

    def test_limits(self) -> None:
        """Each figure has a limit, and is named where it was not kept."""
        for seen, flaw in (
            ({"longest": 20.1}, "an echo waited 20.1 ms"),
            ({"longest_fresh": 40.1}, "a new connection waited 40.1 ms"),
            ({"lost": 2}, "2 echoes lost"),
            ({"echoes": 0}, "no echo"),
            ({"peak": 65 * MIB}, "memory grew by 65 MiB"),
            ({"kept": 17 * MIB}, "17 MiB are left"),
            ({"descriptors": 65}, "65 descriptors are left"),
            ({"told": ("a traceback",)}, "a traceback"),
        ):
            self.assertEqual([flaw], self.flaws(**seen))

    def test_busy(self) -> None:
        """On a machine with other work an echo may wait for longer, unless the attack says how
        long.
        """
        self.assertEqual([], self.flaws(longest=30.0, is_busy=True))
        large = replace(ATTACK, limits=Limits(wait=100, busy_wait=100))
        self.assertEqual([], self.flaws(large, longest=100.0))

    def test_new_connections(self) -> None:
        """Where an attack takes what new connections need, they need not be served."""
        attack = replace(ATTACK, fresh=False)
        self.assertEqual([], self.flaws(attack, longest_fresh=5000.0, lost=9))

    def test_row(self) -> None:
        """A line has the figures, and the flaws or ok."""
        self.assertRegex(row("s/a", GOOD, []), r"^s/a +3\.0 +5\.0 +9\.0 +100 +1\.0 +0\.0 +0  ok$")
        self.assertTrue(row("s/a", GOOD, ["x", "y"]).endswith("x; y"))

    def test_texts(self) -> None:
        """A text is to be judged in a few lines, in memory that is in proportion to it."""
        self.assertEqual([], list(flaws_of(1, 100 * MIB, MIB, "a.json:1:1: wrong")))
        for arguments in (
            (1, 0, MIB, "Traceback (most recent call last):\n  x\nValueError: y"),
            (1, 0, MIB, ""),
            (124, 0, MIB, "late"),
            (1, 0, MIB, "x" * 5000),
            (1, 500 * MIB, MIB, "a.json:1:1: wrong"),
        ):
            self.assertEqual(1, len(list(flaws_of(*arguments))), arguments)


class SceneTests(SynchronousTestCase):
    """What the attacks are played against."""

    def test_scenes(self) -> None:
        """Each scene has a configuration that is valid, and attacks with names of their own that
        say in a sentence what they do.
        """
        for name, scene in SCENES.items():
            with ExitStack() as stack:
                bootstrap = Bootstrap(9)
                attacks = list(scene(stack, bootstrap))
                load(config_yaml=bootstrap.text())
            names = [attack.name for attack in attacks]
            self.assertEqual(sorted(set(names)), sorted(names), name)
            for attack in attacks:
                self.assertTrue(re.fullmatch(r"[A-Z0-9.].*\.", attack.what), attack.what)
