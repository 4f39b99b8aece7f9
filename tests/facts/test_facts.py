"""Frozen dataclasses that cost little to import."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import field
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class Quick:
    """A fact with all that a field may have."""

    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    hidden: int = field(default=4, repr=False, compare=False)
    named: str = field(default="n", kw_only=True)
    fixed: int = field(default=6, init=False)
    made: list[int] = field(default_factory=lambda: [7], init=False)


@dataclasses.dataclass(frozen=True)
class Usual:
    """The same, of the standard library."""

    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    hidden: int = field(default=4, repr=False, compare=False)
    named: str = field(default="n", kw_only=True)
    fixed: int = field(default=6, init=False)
    made: list[int] = field(default_factory=lambda: [7], init=False)


@dataclass(frozen=True)
class Pair:
    """One that can be hashed."""

    left: int
    right: object = None


@dataclass(frozen=True)
class Single:
    """One field."""

    only: object


@dataclass(frozen=True)
class Nothing:
    """No field."""


@dataclass(frozen=True)
class Derived(Pair):
    """One field more than another fact."""

    more: int = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    """One whose instances have no dictionary."""

    value: object
    other: int = 2


@dataclass(frozen=True, slots=True)
class SlottedDerived(Slotted):
    """One of those with a field more."""

    more: int = 3


@dataclass(frozen=True, order=True)
class Ordered:
    """One that is less or more than another."""

    first: int
    second: str


@dataclass(frozen=True, kw_only=True)
class Named:
    """One whose arguments are all named."""

    value: int
    other: int = 2


@dataclass(frozen=True, eq=False)
class Unequal:
    """Equal to itself alone."""

    value: int


@dataclass(frozen=True)
class Own:
    """One that has written its methods itself."""

    value: int

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "value", len(text))

    def __repr__(self) -> str:
        return "own"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


@dataclass(frozen=True)
class Checked:
    """One that looks at what it was made of."""

    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")


class Plain(Pair):
    """No dataclass, but derived from one."""


def outcome(kind: Any, *args: Any, **kwargs: Any) -> str:
    """What comes of making one: how it is printed, or how it is refused."""
    try:
        return str(kind(*args, **kwargs)).replace(kind.__name__, "X")
    except TypeError as e:
        return str(e).replace(kind.__name__, "X")


class FactsTests(SynchronousTestCase):
    """`dataclass`, beside that of the standard library."""

    def test_arguments(self) -> None:
        """Arguments are taken, defaulted and refused as those of any dataclass, and printed so."""
        for args, kwargs in (
            ((1,), {}),
            ((1, "b", [3], 4), {"named": "m"}),
            ((), {"first": 1, "hidden": 9}),
            ((), {}),
            ((1, "b", [3], 4, "positional"), {}),
            ((1,), {"first": 2}),
            ((1,), {"fixed": 2}),
            ((1,), {"unknown": 2}),
        ):
            self.assertEqual(outcome(Usual, *args, **kwargs), outcome(Quick, *args, **kwargs))

    def test_each_has_its_own_defaults(self) -> None:
        """What a factory makes is made for each instance."""
        self.assertIsNot(Quick(1).third, Quick(1).third)
        self.assertIsNot(Quick(1).made, Quick(1).made)

    def test_equality(self) -> None:
        """Two are equal where they are of one class and the fields that are compared are."""
        self.assertEqual(Quick(1, hidden=1), Quick(1, hidden=2))
        self.assertNotEqual(Quick(1), Quick(2))
        self.assertNotEqual(Pair(1, 2), (1, 2))
        self.assertNotEqual(Pair(1, 2), Plain(1, 2))
        self.assertEqual(Plain(1, 2), Plain(1, 2))
        self.assertEqual(Single("x"), Single("x"))
        self.assertEqual(Nothing(), Nothing())
        self.assertNotEqual(Unequal(1), Unequal(1))

    def test_hash(self) -> None:
        """What is equal has one hash, and none where a field has none."""
        self.assertEqual({Pair(1, 2): "found"}[Pair(1, 2)], "found")
        self.assertEqual(hash(Single("x")), hash(Single("x")))
        self.assertEqual(hash(Nothing()), hash(Nothing()))
        one, other = Unequal(1), Unequal(1)
        self.assertNotEqual(hash(one), hash(other))
        self.assertRaises(TypeError, hash, Pair(1, []))

    def test_frozen(self) -> None:
        """Nothing can be set or deleted; a class derived without the decorator may have more."""
        pair = Pair(1)
        for name in ("left", "unknown"):
            with self.assertRaisesRegex(dataclasses.FrozenInstanceError, f"field '{name}'"):
                setattr(pair, name, 2)
            with self.assertRaisesRegex(dataclasses.FrozenInstanceError, f"field '{name}'"):
                delattr(pair, name)
        plain = Plain(1)
        plain.unknown = 3  # type: ignore[attr-defined]
        del plain.unknown  # type: ignore[attr-defined]
        with self.assertRaises(dataclasses.FrozenInstanceError):
            plain.left = 3  # type: ignore[misc]

    def test_what_is_written_stays(self) -> None:
        """Methods that a class has written itself are its methods."""
        self.assertEqual(
            (3, "own", True, 1), (Own("abc").value, repr(Own("a")), Own("a") == 5, hash(Own("b")))
        )

    def test_post_init(self) -> None:
        """`__post_init__` is called, with the first instance as with any other."""
        for _ in range(2):
            self.assertRaises(ValueError, Checked, -1)
        self.assertEqual(1, Checked(1).value)

    def test_derived(self) -> None:
        """A fact derived from another has the fields of both, under either decorator."""
        by_other: Any = dataclasses.dataclass(frozen=True)(
            type("D", (Pair,), {"__annotations__": {}})
        )

        self.assertEqual("Derived(left=1, right=None, more=2)", repr(Derived(1, more=2)))
        self.assertEqual(by_other(1, 2), by_other(1, 2))

    def test_derived_is_frozen(self) -> None:
        """What is derived is as frozen, equal and hashed as what it is derived from, and that still
        is."""
        derived = Derived(1, 2, 3)

        for fact in (derived, Pair(1)):
            with self.assertRaises(dataclasses.FrozenInstanceError):
                fact.left = 2  # type: ignore[misc]
        with self.assertRaises(dataclasses.FrozenInstanceError):
            derived.more = 2  # type: ignore[misc]
        self.assertEqual({derived: "found"}[Derived(1, 2, 3)], "found")
        self.assertNotEqual(derived, Derived(1, 2, 4))
        self.assertNotEqual(Derived(1, 2), Pair(1, 2))

    def test_only_what_is_frozen_is_derived(self) -> None:
        """The standard library refuses to derive from a fact what is not frozen."""
        with self.assertRaisesRegex(TypeError, "cannot inherit non-frozen"):
            dataclasses.dataclass(type("D", (Derived,), {"__annotations__": {}}))

    def test_slots(self) -> None:
        """One with slots has no dictionary, and can be copied all the same."""
        for fact in (Slotted([1]), SlottedDerived([1], more=4)):
            self.assertFalse(hasattr(fact, "__dict__"))
            copies = [copy.copy(fact), copy.deepcopy(fact)]
            self.assertEqual([fact] * 2, copies)
            self.assertEqual(fact, dataclasses.replace(fact))
            with self.assertRaises(dataclasses.FrozenInstanceError):
                fact.value = 2  # type: ignore[misc]
        self.assertEqual("SlottedDerived(value=1, other=2, more=3)", repr(SlottedDerived(1)))

    def test_order(self) -> None:
        """One with an order is compared by its fields, with its own kind only."""
        ones = [Ordered(0, "b"), Ordered(1, "a"), Ordered(1, "b")]
        for i, left in enumerate(ones):
            for j, right in enumerate(ones):
                self.assertEqual(
                    (i < j, i <= j, i > j, i >= j),
                    (left < right, left <= right, left > right, left >= right),
                )
        self.assertRaises(TypeError, lambda: ones[0] < Pair(1))  # type: ignore[operator]
        self.assertEqual("Ordered.__lt__", Ordered.__lt__.__qualname__)

    def test_arguments_by_name(self) -> None:
        """Where arguments are to be named, a positional one is refused."""
        self.assertEqual("Named(value=1, other=2)", repr(Named(value=1)))
        self.assertRaisesRegex(TypeError, "positional", lambda: Named(1))  # type: ignore[call-arg]

    def test_is_a_dataclass(self) -> None:
        """Whatever works on dataclasses works on it."""
        quick = Quick(1)

        self.assertEqual(
            [each.name for each in dataclasses.fields(Usual)],
            [each.name for each in dataclasses.fields(Quick)],
        )
        self.assertEqual(Usual.__match_args__, Quick.__match_args__)
        self.assertEqual(Quick(2), dataclasses.replace(quick, first=2))
        self.assertEqual(dataclasses.asdict(Usual(1)), dataclasses.asdict(quick))
        self.assertEqual([quick, quick], [copy.copy(quick), copy.deepcopy(quick)])

    def test_repr_of_what_holds_itself(self) -> None:
        """One that holds itself is printed all the same."""
        values: list[object] = []
        values.append(Single(values))

        self.assertEqual("[Single(only=[...])]", repr(values))

    def test_others_are_left_to_the_standard_library(self) -> None:
        """What is not frozen can be changed, and what has other options has them."""

        @dataclass
        class Loose:
            value: int

        @dataclass(frozen=True, repr=False)
        class Silent:
            value: int

        loose = Loose(1)
        loose.value = 2

        self.assertEqual(Loose(2), loose)
        self.assertNotIn("value", repr(Silent(1)))
