"""Hosts sorted into subsets, apart from any policy."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.subsets import (
    HostValues,
    Key,
    LocalityWeights,
    Members,
    Selector,
    matches,
    sort,
)
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import host_sets
from tcpmesh.cluster.hosts.metadata import plain
from tcpmesh.values.hosts import Assignment, Locality
from tests.picks import host, hosts

STAGE = Selector(frozenset({"stage"}))
BOTH = Selector(frozenset({"stage", "v"}))


def lb(fields: dict[str, Any]) -> base_pb2.Metadata:
    """Metadata under `envoy.lb`."""
    return ParseDict({"filter_metadata": {"envoy.lb": fields}}, base_pb2.Metadata())


def labelled(*labels: dict[str, Any], priority: int = 0) -> list[Host]:
    """A host for each of these labels."""
    numbered = enumerate(labels, 1)
    return [
        host(f"10.0.{priority}.{number}:80", metadata=lb(fields), priority=priority)
        for number, fields in numbered
    ]


def key(**fields: Any) -> Key:
    """The subset of these values."""
    return frozenset((name, plain(ParseDict(each, Value()))) for name, each in fields.items())


def sorted_out(
    members: list[Host], *selectors: Selector, list_as_any: bool = False
) -> tuple[dict[Key, Members], int]:
    """The subsets of hosts and the number of duplicates."""
    values = HostValues()
    values.update(members)
    return sort(members, values, selectors, list_as_any)


class SortTests(SynchronousTestCase):
    """Which host belongs where."""

    def test_values(self) -> None:
        """There is a subset for each value that a host has under the key."""
        a, b, c = members = labelled({"stage": "prod"}, {"stage": "dev"}, {"stage": "prod"})
        found, _ = sorted_out(members, STAGE)
        self.assertEqual(
            {key(stage="prod"): [a, c], key(stage="dev"): [b]},
            {name: each.hosts for name, each in found.items()},
        )

    def test_all_keys_are_needed(self) -> None:
        """A host that lacks one key of a selector is in none of its subsets."""
        members = labelled({"stage": "prod"}, {"stage": "prod", "v": 1}, {"v": 1}, {})
        found, _ = sorted_out(members, BOTH)
        self.assertEqual(
            {key(stage="prod", v=1): [members[1]]},
            {name: each.hosts for name, each in found.items()},
        )

    def test_no_metadata(self) -> None:
        """A host without metadata is in no subset, nor is any in one of a selector without keys."""
        self.assertEqual({}, sorted_out(list(hosts(2)), STAGE, Selector(frozenset()))[0])

    def test_same_selector_twice(self) -> None:
        """A selector that is given twice does not put a host twice into its subset."""
        members = labelled({"stage": "prod"})
        self.assertEqual(
            [members], [each.hosts for each in sorted_out(members, STAGE, STAGE)[0].values()]
        )

    def test_lists(self) -> None:
        """A list is a value like any other, unless each of its members is to count: then a host is
        in several subsets.
        """
        (a,) = members = labelled({"stage": ["x", "y"], "v": [1, 2]})
        self.assertEqual({key(stage=["x", "y"])}, sorted_out(members, STAGE)[0].keys())
        found, _ = sorted_out(members, BOTH, list_as_any=True)
        self.assertEqual({key(stage=stage, v=v) for stage in "xy" for v in (1, 2)}, found.keys())
        self.assertEqual([[a]] * 4, [each.hosts for each in found.values()])

    def test_empty_list(self) -> None:
        """With no member to count, a host has no value."""
        self.assertEqual(
            {}, sorted_out(labelled({"stage": "prod", "v": []}), BOTH, list_as_any=True)[0]
        )

    def test_single(self) -> None:
        """Where a subset has one host, it is the first of the first priority, and the others of
        that priority are duplicates.
        """
        first = labelled({"stage": "prod"}, {"stage": "prod"}, {"stage": "dev"})
        found, duplicates = sorted_out(
            first + labelled({"stage": "prod"}, priority=1), Selector(STAGE.keys, is_single=True)
        )
        self.assertEqual([first[:1], first[2:]], [each.hosts for each in found.values()])
        self.assertEqual(1, duplicates)

    def test_values_are_kept(self) -> None:
        """Metadata is read again only where it has changed."""
        values = HostValues()
        (one,) = members = labelled({"v": 1})
        values.update(members)
        before = values.of(one)
        values.update(members)
        self.assertIs(before, values.of(one))
        (one.spec,) = (each.spec for each in labelled({"v": 2}))
        values.update(members)
        self.assertEqual(dict(key(v=2)), values.of(one))


class MatchTests(SynchronousTestCase):
    """What makes a host one of the default subset."""

    def test_matches(self) -> None:
        """A host needs each value that is wanted; wanting none, any host will do."""
        self.assertTrue(matches(dict(key(v=1)), dict(key(v=1, stage="x")), False))
        self.assertFalse(matches(dict(key(v=1, stage="x")), dict(key(v=1)), False))
        self.assertTrue(matches({}, {}, False))

    def test_lists(self) -> None:
        """One member of a host's list is enough where lists are taken for alternatives."""
        self.assertTrue(matches(dict(key(v=1)), dict(key(v=[1, 2])), True))
        self.assertFalse(matches(dict(key(v=1)), dict(key(v=[1, 2])), False))


class LocalityTests(SynchronousTestCase):
    """How the weights of localities come through to a subset."""

    def setUp(self) -> None:
        """Two zones of weight 3, of four hosts and of two."""
        zones = [Locality(zone="a")] * 4 + [Locality(zone="b")] * 2
        self.hosts = [
            host(f"10.0.0.{number}:80", locality=zone) for number, zone in enumerate(zones)
        ]
        self.sets = host_sets(
            self.hosts,
            Assignment(locality_weights=tuple((0, zone, 3) for zone in dict.fromkeys(zones))),
        )

    def weights(self, part: list[Host], count: bool, scale: bool) -> list[int | None]:
        """Of the localities of a subset."""
        (found,) = LocalityWeights(count, scale).part(self.sets, part).sets
        self.assertEqual(tuple(part), found.hosts)
        return [each.weight for each in found.localities]

    def test_not_counted(self) -> None:
        """By default localities have no weight in a subset."""
        self.assertEqual([None, None], self.weights(self.hosts[3:], False, False))

    def test_counted(self) -> None:
        """Their weights may count, also that of a locality of which nobody is in the subset."""
        self.assertEqual([3, 3], self.weights(self.hosts[:1], True, False))

    def test_scaled(self) -> None:
        """And may be scaled by the share of the locality's hosts that is in the subset, to the
        nearest whole number.
        """
        self.assertEqual([1, 2], self.weights([self.hosts[0], self.hosts[5]], True, True))
        self.assertEqual([2, 0], self.weights(self.hosts[:2], True, True))
