"""Metadata as plain values."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.hosts.metadata import content, criteria, members, plain, plain_of


def value(anything: Any) -> Value:
    """Anything of JSON as a message."""
    return ParseDict(anything, Value())


class PlainTests(SynchronousTestCase):
    """When two values are equal."""

    def test_equal(self) -> None:
        """Equal values are equal and can be keys, whatever the order of their fields."""
        for anything in (None, True, 1, "1", [1, [2]], {"a": 1, "b": {"c": []}}):
            self.assertEqual(1, len({plain(value(anything)), plain(value(anything))}))
        self.assertEqual(plain(value({"a": 1, "b": 2})), plain(value({"b": 2, "a": 1})))

    def test_kinds(self) -> None:
        """Values of different kinds are never equal: a text is no number, and true is not 1."""
        kinds = [None, True, False, 1, 0, "1", "", [], {}, [1], {"a": 1}]
        self.assertEqual(len(kinds), len({plain(value(each)) for each in kinds}))

    def test_order_of_lists(self) -> None:
        """Lists are equal only in the same order."""
        self.assertNotEqual(plain(value([1, 2])), plain(value([2, 1])))

    def test_value_of_no_kind(self) -> None:
        """A value that says nothing is a value too."""
        self.assertEqual(plain(Value()), plain(Value()))

    def test_of_json(self) -> None:
        """A value that a filter found out equals the same value of a message, and no other."""
        kinds = [None, True, False, 1, 0, 1.5, "1", "", [], {}, [1, [None]], {"a": {"b": [True]}}]
        self.assertEqual([plain(value(each)) for each in kinds], [plain_of(each) for each in kinds])
        self.assertEqual(len(kinds), len({plain_of(each) for each in kinds}))

    def test_members(self) -> None:
        """A list can be taken apart, anything else has no members."""
        self.assertEqual((plain(value(1)), plain(value("a"))), members(plain(value([1, "a"]))))
        self.assertIsNone(members(plain(value("list_value"))))

    def test_content(self) -> None:
        """A struct can be taken apart, anything else has no content."""
        self.assertEqual({"a": plain(value(1))}, content(plain(value({"a": 1}))))
        self.assertEqual({}, content(plain(value([1]))))


class CriteriaTests(SynchronousTestCase):
    """What a message says under `envoy.lb`."""

    def test_namespace(self) -> None:
        """Only what stands under `envoy.lb` counts."""
        message = ParseDict(
            {"filter_metadata": {"envoy.lb": {"a": 1}, "other": {"b": 2}}}, base_pb2.Metadata()
        )
        self.assertEqual({"a": plain(value(1))}, criteria(message))

    def test_nothing(self) -> None:
        """No metadata is no criteria; asking leaves the message as it is."""
        message = base_pb2.Metadata()
        self.assertEqual(({}, {}), (criteria(None), criteria(message)))
        self.assertEqual(base_pb2.Metadata(), message)
        self.assertEqual({}, criteria(base_pb2.Metadata(filter_metadata={"envoy.lb": Struct()})))
