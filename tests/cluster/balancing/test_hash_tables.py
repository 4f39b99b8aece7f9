"""Rings and Maglev tables, apart from any cluster.  That they are Envoy's own is seen in
`tests.differential`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.hash_tables import (
    STEP,
    HashTable,
    Maglev,
    Ring,
    Share,
    _turns,
    hash_key,
    shares_of,
)
from tcpmesh.cluster.hosts.host import Host
from tests.picks import host, hosts

LARGEST = 8 << 20
HASHES = tuple(xxh64_intdigest(str(number).encode()) for number in range(2000))


def shares(*groups: Sequence[Host]) -> list[Share]:
    """Hosts, all of one group."""
    return shares_of([(1.0, group) for group in groups])


def ring(members: Sequence[Host], least: int = 1024) -> Ring:
    """A ring of no more than the usual size."""
    return built_ring(shares(members), least, LARGEST)


def built_ring(*arguments: Any) -> Ring:
    """A ring that is built."""
    made = Ring(*arguments)
    for _ in made.build():
        pass
    return made


def built_maglev(members: Sequence[Share], size: int) -> Maglev:
    """A Maglev table that is built."""
    made = Maglev(members, size)
    for _ in made.build():
        pass
    return made


def choices(table: HashTable) -> list[Host | None]:
    """The host for each of many hashes."""
    return [table.choose(key) for key in HASHES]


def lb(**fields: object) -> base_pb2.Metadata:
    """Metadata under `envoy.lb`."""
    return ParseDict({"filter_metadata": {"envoy.lb": fields}}, base_pb2.Metadata())


class HashKeyTests(SynchronousTestCase):
    """What stands for a host."""

    def test_address(self) -> None:
        """A host is known by its address and port."""
        self.assertEqual("10.0.0.1:80", hash_key(host("10.0.0.1:80", hostname="a.test"), False))
        self.assertEqual("[::1]:80", hash_key(host("::1:80"), False))

    def test_hostname(self) -> None:
        """Or by its name, where that is asked for."""
        self.assertEqual("a.test", hash_key(host("10.0.0.1:80", hostname="a.test"), True))

    def test_metadata(self) -> None:
        """A text hash_key in its metadata goes before both; an empty one, and a number, count for
        nothing.
        """
        self.assertEqual(
            "a", hash_key(host("10.0.0.1:80", hostname="a.test", metadata=lb(hash_key="a")), True)
        )
        for other in (lb(hash_key=""), lb(hash_key=5), lb(other="a"), base_pb2.Metadata()):
            self.assertEqual("10.0.0.1:80", hash_key(host("10.0.0.1:80", metadata=other), False))


class ShareTests(SynchronousTestCase):
    """How much each host gets."""

    def test_weights(self) -> None:
        """A host's part is its share of the weights of its group, times the part of the group."""
        one, three, alone = (
            host("10.0.0.1:80"),
            host("10.0.0.2:80", weight=3),
            host("10.0.0.3:80", weight=9),
        )
        found = shares_of([(0.5, (one, three)), (0.25, (alone,)), (0.25, ())])
        self.assertEqual(
            [(one, 0.125), (three, 0.375), (alone, 0.25)],
            [(each.host, each.part) for each in found],
        )


class RingTests(SynchronousTestCase):
    """RING_HASH's table."""

    def test_nobody(self) -> None:
        """An empty ring has no host."""
        empty = ring(())
        self.assertIsNone(empty.choose(5))
        self.assertEqual((0, (0, 0)), (empty.size, empty.spread))

    def test_places(self) -> None:
        """All hosts have equally many places, rounded up from the smallest size that is asked
        for.
        """
        made = ring(hosts(3))
        self.assertEqual((1026, (342, 342)), (made.size, made.spread))

    def test_size_is_limited(self) -> None:
        """There are never more places than the largest size, though some host then has one less
        than another.
        """
        made = built_ring(shares(hosts(3)), 1024, 100)
        self.assertEqual((100, (33, 34)), (made.size, made.spread))

    def test_every_hash(self) -> None:
        """A hash gets the host of the first place that is not below it; beyond the last place the
        ring begins anew.
        """
        digests = {
            b"10.0.0.0:80_0": 10,
            b"10.0.0.0:80_1": 30,
            b"10.0.0.1:80_0": 20,
            b"10.0.0.1:80_1": 40,
        }
        a, b = hosts(2)
        made = built_ring(shares((a, b)), 4, LARGEST, digests.__getitem__)
        self.assertEqual(
            [a, a, b, b, a, b, b, a, a],
            [made.choose(key) for key in (0, 10, 11, 20, 21, 31, 40, 41, 2**64 - 1)],
        )

    def test_attempts(self) -> None:
        """A further attempt takes the next place, around the ring."""
        digests = {b"10.0.0.0:80_0": 10, b"10.0.0.1:80_0": 20, b"10.0.0.2:80_0": 30}
        a, b, c = hosts(3)
        made = built_ring(shares((a, b, c)), 3, LARGEST, digests.__getitem__)
        self.assertEqual([b, c, a, b], [made.choose(15, attempt) for attempt in range(4)])
        self.assertEqual([a, b], [made.choose(35, attempt) for attempt in range(2)])

    def test_shares(self) -> None:
        """Clients spread as the weights say, as well as so few places can."""
        members = (host("10.0.0.1:80", weight=1), host("10.0.0.2:80", weight=3))
        found = Counter(choices(built_ring(shares(members), 10000, LARGEST)))
        self.assertLess(abs(0.75 - found[members[1]] / len(HASHES)), 0.05)

    def test_steps(self) -> None:
        """It is built in steps of so many places."""
        digests = 0

        def digest(data: bytes) -> int:
            nonlocal digests
            digests += 1
            return xxh64_intdigest(data)

        made = Ring(shares(hosts(3)), 20 * STEP, LARGEST, digest)
        before = most = 0
        for _ in made.build():
            most = max(most, digests - before)
            before = digests
        self.assertEqual((STEP, made.size), (most, digests))

    def test_leaving(self) -> None:
        """A host that leaves moves its own clients and no others."""
        members = hosts(10)
        before, after = choices(ring(members, 1000)), choices(ring(members[1:], 900))
        self.assertEqual(
            {members[0]}, {was for was, now in zip(before, after, strict=True) if was is not now}
        )


def places(made: Maglev, size: int) -> list[Host | None]:
    """The host of each place."""
    return [made.choose(place) for place in range(size)]


class MaglevTests(SynchronousTestCase):
    """MAGLEV's table."""

    def test_nobody(self) -> None:
        """A table of no hosts has none."""
        self.assertIsNone(built_maglev([], 13).choose(5))

    def test_steps(self) -> None:
        """It is built in steps of so many places that are looked at, found free or not."""
        made = Maglev(shares(hosts(3)), 65537)
        steps = sum(1 for _ in made.build())
        self.assertGreater(steps, 65537 // STEP)

    def test_one(self) -> None:
        """One host needs no table: it has all of one place."""
        made = built_maglev(shares(hosts(1)), 65537)
        self.assertEqual((1, 1), made.spread)
        self.assertEqual(1, len(set(choices(made))))

    def test_even(self) -> None:
        """Hosts of the same weight have as many places as each other, or one more."""
        members = hosts(7)
        made = built_maglev(shares(members), 1009)
        self.assertEqual((144, 145), made.spread)
        self.assertEqual({144, 145}, set(Counter(places(made, 1009)).values()))

    def test_weights(self) -> None:
        """Heavier hosts have more places, to the place."""
        members = (
            host("10.0.0.1:80", weight=1),
            host("10.0.0.2:80", weight=3),
            host("10.0.0.3:80", weight=6),
        )
        self.assertEqual(
            [101, 303, 605],
            [Counter(places(built_maglev(shares(members), 1009), 1009))[each] for each in members],
        )

    def test_order(self) -> None:
        """In which order the hosts are configured does not matter."""
        members = hosts(9)
        self.assertEqual(
            choices(built_maglev(shares(members), 1009)),
            choices(built_maglev(shares(members[::-1]), 1009)),
        )

    def test_more_hosts_than_places(self) -> None:
        """Where there are more hosts than places, each place has a host and some hosts have
        none.
        """
        made = built_maglev(shares(hosts(9)), 5)
        self.assertEqual((0, 1), made.spread)
        self.assertEqual(5, len(set(places(made, 5))))

    def test_leaving(self) -> None:
        """Few clients of other hosts move when a host leaves."""
        members = hosts(10)
        pairs = list(
            zip(
                choices(built_maglev(shares(members), 65537)),
                choices(built_maglev(shares(members[1:]), 65537)),
                strict=True,
            )
        )
        kept = [was is now for was, now in pairs if was is not members[0]]
        self.assertGreater(sum(kept) / len(kept), 0.85)

    def test_attempts(self) -> None:
        """A further attempt gets a place of its own, so that all hosts are found in a few of
        them.
        """
        made = built_maglev(shares(hosts(3)), 1009)
        self.assertEqual(made.choose(77), made.choose(77, 0))
        self.assertEqual(3, len({made.choose(77, attempt) for attempt in range(20)}))

    def test_memory(self) -> None:
        """A table has two bytes a place, whatever the number of hosts."""
        made = built_maglev(shares(hosts(500)), 65537)
        self.assertEqual(2 * 65537, len(made._table) * made._table.itemsize)


class TurnTests(SynchronousTestCase):
    """Who takes a place when."""

    @given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
    @settings(max_examples=60, deadline=None)
    def test_asking_everybody(self, weights: list[int]) -> None:
        """Turns that are worked out ahead are those that come of asking everybody in each turn."""
        parts = [weight / sum(weights) for weight in weights]
        self.assertEqual(
            list(islice(asked(parts), 200)), [list(turn) for turn in islice(_turns(parts), 200)]
        )


def asked(parts: list[float]) -> Iterator[list[int]]:
    """Turns in which everybody is asked whether its part adds up to what it had so far."""
    targets = [0.0] * len(parts)
    for turn in count(1):
        takers = [i for i, part in enumerate(parts) if turn * part >= targets[i]]
        for i in takers:
            targets[i] += max(parts)
        yield takers
