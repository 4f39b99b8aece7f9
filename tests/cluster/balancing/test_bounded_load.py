"""Bounded loads, apart from any cluster.  That the other hosts are those of Envoy is seen in
`tests.differential`.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.bounded_load import BoundedTable, _mersenne_twister, shuffled
from tcpmesh.cluster.balancing.hash_tables import Share, shares_of
from tcpmesh.cluster.hosts.host import Host
from tests.picks import hosts


class Always:
    """A table with one answer."""

    def __init__(self, answer: Host | None) -> None:
        self.answer = answer

    def choose(self, key: int, attempt: int = 0) -> Host | None:
        """The same."""
        return self.answer


def bounded(shares: list[Share], factor: int = 150) -> BoundedTable:
    """A table in which every client belongs to the first host."""
    return BoundedTable(
        Always(shares[0].host),
        shares,
        factor,
        lambda: sum(share.host.rq_active for share in shares),
    )


class BoundedTests(SynchronousTestCase):
    """A table of four equal hosts that may have 150 % of their share."""

    def setUp(self) -> None:
        """Nobody is busy."""
        self.hosts = hosts(4)
        self.table = bounded(shares_of([(1.0, self.hosts)]))

    def busy(self, *active: int) -> None:
        """So many connections at each host."""
        for each, number in zip(self.hosts, active, strict=True):
            each.rq_active = number

    def test_room(self) -> None:
        """A host with room gets its clients."""
        self.assertIs(self.hosts[0], self.table.choose(1))

    def test_at_the_bound(self) -> None:
        """Of 11 connections with the new one each host may have 5 at 150 %: who has 5 gets another,
        who has 6 does not.
        """
        self.busy(5, 2, 2, 1)
        self.assertIs(self.hosts[0], self.table.choose(1))
        self.busy(6, 2, 1, 1)
        self.assertIsNot(self.hosts[0], self.table.choose(1))

    def test_same_other_host(self) -> None:
        """A client whose host is full goes to another one that depends on its hash alone; other
        clients go elsewhere.
        """
        self.busy(9, 0, 0, 0)
        found = {key: self.table.choose(key) for key in range(50)}
        self.assertEqual(found, {key: self.table.choose(key) for key in range(50)})
        self.assertEqual(set(self.hosts[1:]), set(found.values()))

    def test_full_hosts_are_passed_over(self) -> None:
        """Nobody is sent to another full host while there is one with room."""
        table = bounded(shares_of([(1.0, self.hosts)]), 100)
        self.busy(9, 9, 9, 0)
        self.assertEqual({self.hosts[3]}, {table.choose(key) for key in range(20)})

    def test_nobody_has_room(self) -> None:
        """Where all are full, which takes connections that others count, the least loaded one gets
        it.
        """
        shares = shares_of([(1.0, self.hosts)])
        table = BoundedTable(Always(self.hosts[0]), shares, 100, lambda: 0)
        self.busy(9, 4, 3, 5)
        self.assertEqual({self.hosts[2]}, {table.choose(key) for key in range(20)})

    def test_weights(self) -> None:
        """A heavier host may have more."""
        light, heavy = hosts(2)
        heavy.weight = 3
        light.rq_active, heavy.rq_active = 2, 7
        shares = shares_of([(1.0, (heavy, light))])
        self.assertIs(heavy, bounded(shares, 100).choose(1))

    def test_nobody(self) -> None:
        """Where the table has no host, there is none."""
        self.assertIsNone(BoundedTable(Always(None), [], 150, lambda: 0).choose(1))


class ShuffleTests(SynchronousTestCase):
    """The order in which other hosts are asked."""

    def test_twister(self) -> None:
        """The generator is that of the C++ standard, whose 10000th number for the usual seed is
        laid down there.
        """
        random = _mersenne_twister(5489)
        self.assertEqual(4123659995, [random.getrandbits(32) for _ in range(10000)][-1])

    def test_everybody_once(self) -> None:
        """Each number comes once, in an order that depends on the seed."""
        self.assertEqual(list(range(20)), sorted(shuffled(20, 7)))
        self.assertEqual(list(shuffled(20, 7)), list(shuffled(20, 7)))
        self.assertNotEqual(list(shuffled(20, 7)), list(shuffled(20, 8)))
