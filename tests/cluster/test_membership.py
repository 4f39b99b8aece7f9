"""The hosts of a cluster as main knows them, and what workers are told of them."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.membership import Membership
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HealthFlag, HostSpec
from tcpmesh.values.link import Flags, Hosts, Rebalance, ToWorker
from tcpmesh.values.statuses import NO_RATES
from tests.mesh import cluster_message

FAILED = HealthFlag.failed_active_hc
OUT = HealthFlag.failed_outlier_check


def spec(number: int, **facts: Any) -> HostSpec:
    """A host 127.0.0.<number>:80."""
    return HostSpec(Address(f"127.0.0.{number}", 80), **facts)


class MembershipTests(SynchronousTestCase):
    """One cluster."""

    def setUp(self) -> None:
        """Without a health check."""
        self.network = MemoryNetwork()
        self.store = Store()
        self.told: list[ToWorker] = []
        self.make()

    def make(self, more: str = "") -> None:
        """With these further fields."""
        context = MainContext(self.network, self.store, Random(1))
        self.membership = Membership(7, cluster_message("c", [], more), context, self.told.append)

    def update(self, *specs: HostSpec) -> tuple[int, ...]:
        """Discovery has found these; their keys."""
        found, _ = self.membership.match(specs)
        self.membership.update(found, Assignment(specs))
        return tuple(self.membership.hosts)

    def take(self) -> list[ToWorker]:
        """What was told since this was last asked."""
        told, self.told[:] = list(self.told), []
        return told

    def test_told(self) -> None:
        """Workers are told all hosts with keys and flags, and then that they are to go by it; of
        what has not changed they hear nothing.
        """
        specs = (spec(1), spec(2))
        self.update(*specs)
        told = [Hosts(7, (1, 2), (0, 0), Assignment(specs)), Rebalance(7)]
        self.assertEqual(told, self.take())
        self.update(*specs)
        self.assertEqual([], self.take())

    def test_identity(self) -> None:
        """A host keeps its key while its endpoint and addresses stay, whatever else is said of
        it.
        """
        self.assertEqual((1, 2), self.update(spec(1), spec(2)))
        self.assertEqual((2, 1), self.update(spec(2, weight=5), spec(1, health_status="DEGRADED")))
        self.assertEqual((3,), self.update(spec(1, endpoint=1)))
        self.assertEqual((4,), self.update(spec(1, additional_addresses=(spec(2).address,))))
        self.assertEqual((5,), self.update(spec(1)))

    def test_same_address(self) -> None:
        """Hosts at one address have keys of their own, and keep them in their order."""
        self.assertEqual((1, 2, 3), self.update(spec(1), spec(1), spec(1)))
        self.assertEqual((1, 4, 2, 3), self.update(spec(1), spec(2), spec(1), spec(1)))
        self.membership.set_flags(2, add=FAILED)
        flags = [
            host.health_flags for host in self.membership.status(None, lambda key: NO_RATES).hosts
        ]
        self.assertEqual([(), (), ("failed_active_hc",), ()], flags)

    def test_flags(self) -> None:
        """Workers are told of flags that picks go by, and only of changes; the others are shown."""
        self.update(spec(1))
        self.take()
        self.membership.set_flags(1, add=HealthFlag.active_hc_timeout)
        self.assertEqual([], self.take())
        self.membership.set_flags(1, add=OUT)
        self.membership.set_flags(1, add=OUT)
        self.membership.set_flags(9, add=OUT)
        flags = int(OUT | HealthFlag.active_hc_timeout)
        self.assertEqual([Flags(7, 1, flags), Rebalance(7)], self.take())
        self.update(spec(1), spec(2))
        self.assertEqual(Hosts(7, (1, 2), (flags, 0), Assignment((spec(1), spec(2)))), self.told[0])

    def test_merged(self) -> None:
        """Once the cluster is warm flags are told at once, and that picks are to go by them at most
        once in a window.
        """
        self.update(spec(1), spec(2))
        self.membership.warmed()
        self.network.advance(60)
        self.take()
        for key in (1, 2):
            self.membership.set_flags(key, add=FAILED)
        self.assertEqual([Flags(7, 1, 1), Rebalance(7), Flags(7, 2, 1)], self.take())
        self.network.advance(1)
        self.assertEqual([Rebalance(7)], self.take())
        self.membership.set_flags(2, remove=FAILED)
        self.membership.stop()
        self.network.advance(10)
        self.assertEqual([Flags(7, 2, 0)], self.take())

    def test_unchecked(self) -> None:
        """A host that is to be checked begins as failed, also in what is counted."""
        check = "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1}"
        self.make(f"health_checks: [{check}]")
        self.update(spec(1))
        self.assertEqual((int(FAILED),), self.told[0].flags)  # type: ignore[union-attr]
        stats = values_of(self.store)
        self.assertEqual(
            (1, 0), tuple(stats[f"cluster.c.membership_{each}"] for each in ("total", "healthy"))
        )

    def test_none(self) -> None:
        """That discovery has found no hosts is something that is known, as for Envoy: the numbers
        of hosts count as used from then on, and not before.
        """
        gauges = [each for each in self.store.gauges() if ".membership_" in each.name]
        self.assertEqual([False] * 4, [each.was_used for each in gauges])
        self.update()
        self.assertEqual([True] * 4, [each.was_used for each in gauges])
        self.assertEqual([], self.told)

    def test_release(self) -> None:
        """When it goes its statistics go."""
        self.membership.release()
        self.assertEqual({}, {n: v for n, v in values_of(self.store).items() if ".c." in n})
