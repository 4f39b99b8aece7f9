"""Readers of runtime values: by key, and as settings."""

from __future__ import annotations

import gc
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.wrappers_pb2 import BoolValue

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.runtime import Entry

VALUES = {
    "five": Entry("5", 5.0, True),
    "half": Entry("0.5", 0.5),
    "below": Entry("-3", -3.0, True),
    "yes": Entry("true", truth=True),
    "no": Entry("false", truth=False),
    "text": Entry("x"),
    "tenth": Entry("", fraction=(1, 10_000)),
}


class KeyTests(SynchronousTestCase):
    """By key, with a default."""

    runtime = Runtime(VALUES)

    def test_feature(self) -> None:
        """A truth, or else the default."""
        for key, value in (("yes", True), ("no", False), ("five", True), ("below", True)):
            self.assertIs(self.runtime.feature(key, not value), value)
        for key in ("half", "text", "tenth", "missing", ""):
            self.assertIs(self.runtime.feature(key, True), True)
            self.assertIs(self.runtime.feature(key, False), False)

    def test_integer(self) -> None:
        """An integer from 0 on, or else the default."""
        for key, value in (("five", 5), ("half", 0)):
            self.assertEqual(self.runtime.integer(key, 7), value)
        for key in ("below", "yes", "text", "tenth", "missing"):
            self.assertEqual(self.runtime.integer(key, 7), 7)

    def test_double(self) -> None:
        """Any number, or else the default."""
        for key, value in (("five", 5.0), ("half", 0.5), ("below", -3.0)):
            self.assertEqual(self.runtime.double(key, 7.5), value)
        for key in ("yes", "text", "tenth", "missing"):
            self.assertEqual(self.runtime.double(key, 7.5), 7.5)

    def test_fraction(self) -> None:
        """A share, an integer as a percentage, or else the default."""
        default = FractionalPercent(numerator=10, denominator=FractionalPercent.MILLION)
        for key, cases, of in (
            *(("tenth", 1, 10_000), ("five", 5, 100), ("half", 0, 100)),
            *(("yes", 10, 1_000_000), ("below", 10, 1_000_000), ("missing", 10, 1_000_000)),
        ):
            counted = sum(self.runtime.fraction(key, default, number) for number in range(of))
            self.assertEqual(counted, cases, key)

    def test_denominators(self) -> None:
        """Of any number what counts is the rest after the denominator."""
        for denominator, of in (("HUNDRED", 100), ("TEN_THOUSAND", 10_000), ("MILLION", 1_000_000)):
            default = FractionalPercent(numerator=1, denominator=denominator)
            for number in (of - 1, of, of + 1):
                for is_case in (self.runtime.fraction, self.runtime.sampled):
                    self.assertIs(is_case("missing", default, number), number == of)

    def test_more_than_all(self) -> None:
        """An integer above 100 is all."""
        runtime = Runtime({"k": Entry("", 101.0)})
        self.assertTrue(runtime.fraction("k", FractionalPercent(), 99))

    def test_sampled(self) -> None:
        """For log filters an integer is of the default's denominator, and a share is nothing."""
        default = FractionalPercent(numerator=10, denominator=FractionalPercent.TEN_THOUSAND)
        for key, cases in (("five", 5), ("tenth", 10), ("missing", 10)):
            counted = sum(self.runtime.sampled(key, default, number) for number in range(10_000))
            self.assertEqual(counted, cases, key)


class SettingTests(SynchronousTestCase):
    """Messages with a key and a default."""

    def setUp(self) -> None:
        """Nothing is set."""
        self.runtime = Runtime()

    def put(self, **values: Entry | None) -> None:
        """Keys have these values now."""
        self.runtime.update(values)

    def follow(self, make: Any, message: Any, *steps: Entry | None) -> list[object]:
        """The values of a setting under the key `k`: at first, and after each of these steps."""
        setting = make(message)
        seen = [setting.value]
        for step in steps:
            self.put(k=step)
            seen.append(setting.value)
        return seen

    def test_feature_flag(self) -> None:
        """A flag follows its key, and is its default again when the key is gone; without a default
        it is true.
        """
        message = base_pb2.RuntimeFeatureFlag(runtime_key="k")
        make = self.runtime.feature_flag
        seen = self.follow(make, message, Entry("false", truth=False), Entry("x"), None)
        self.assertEqual(seen, [True, False, True, True])
        message.default_value.CopyFrom(BoolValue(value=False))
        self.assertEqual(self.follow(make, message), [False])

    def test_uint32(self) -> None:
        """An integer of 32 bits; what is larger wraps, as in Envoy."""
        message = base_pb2.RuntimeUInt32(runtime_key="k", default_value=9)
        seen = self.follow(self.runtime.uint32, message, Entry("", 5.5), Entry("", 2.0**32 + 1))
        self.assertEqual(seen, [9, 5, 1])

    def test_double(self) -> None:
        """Any number."""
        message = base_pb2.RuntimeDouble(runtime_key="k", default_value=1.5)
        seen = self.follow(self.runtime.double_of, message, Entry("", -2.0), Entry("t", truth=True))
        self.assertEqual(seen, [1.5, -2.0, 1.5])

    def test_percent(self) -> None:
        """What is no percentage counts as not there."""
        message = base_pb2.RuntimePercent(runtime_key="k")
        message.default_value.value = 30
        steps = [Entry("", number) for number in (50.5, 101.0, -1.0, float("nan"), 100.0)]
        seen = self.follow(self.runtime.percent, message, *steps)
        self.assertEqual(seen, [30, 50.5, 30, 30, 30, 100])

    def test_fractional_percent(self) -> None:
        """A share follows its key."""
        message = base_pb2.RuntimeFractionalPercent(runtime_key="k")
        message.default_value.numerator = 100
        setting = self.runtime.fractional_percent(message)
        self.assertTrue(setting.value(99))
        self.put(k=Entry("", fraction=(50, 100)))
        self.assertEqual((setting.value(49), setting.value(50)), (True, False))

    def test_no_key(self) -> None:
        """Without a key nothing changes a setting."""
        setting = self.runtime.feature_flag(base_pb2.RuntimeFeatureFlag())
        self.runtime.update({"": Entry("0", 0.0, False)})
        self.assertTrue(setting.value)

    def test_forgotten(self) -> None:
        """A setting that nobody has any more costs nothing."""
        self.runtime.feature_flag(base_pb2.RuntimeFeatureFlag(runtime_key="k"))
        gc.collect()
        self.assertEqual(len(self.runtime._settings), 0)

    def test_watch(self) -> None:
        """Who watches keys that begin so is told which of these change, until it ends."""
        told: list[list[str]] = []
        stop = self.runtime.watch("a.", told.append)
        self.runtime.update({"a.1": Entry("1"), "b": Entry("2"), "a.2": Entry("3")})
        self.put(b=None)
        self.runtime.update({"a.1": None})
        stop()
        self.runtime.update({"a.2": None})
        self.assertEqual(told, [["a.1", "a.2"], ["a.1"]])

    def test_whole(self) -> None:
        """Who is told of one key sees all others as they are now."""
        seen: list[str] = []

        def look(keys: object) -> None:
            seen.extend(entry.text for _, entry in self.runtime.items())

        self.runtime.watch("a", look)
        self.put(a=Entry("1"), b=Entry("2"))
        self.assertEqual((sorted(seen), len(self.runtime)), (["1", "2"], 2))
