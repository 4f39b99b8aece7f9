"""From which hosts picks are made: priorities, panic, localities and zones, over many picks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.balance import Balance, SimHost

PICKS = 20000
NO_PANIC = "common_lb_config: {healthy_panic_threshold: {value: 0}}"
WEIGHTED = "common_lb_config: {locality_weighted_lb_config: {}}"


def hosts(names: str, **facts: object) -> list[SimHost]:
    """A host for each letter; capital letters are unhealthy, and a lower-case d is degraded."""
    statuses = {
        name: "UNHEALTHY" if name.isupper() else "DEGRADED" if name == "d" else "HEALTHY"
        for name in names
    }
    return [SimHost(name, status=status, **facts) for name, status in statuses.items()]  # type: ignore[arg-type]


class PriorityTests(SynchronousTestCase):
    """Shares of priorities and of degraded hosts."""

    def test_overprovisioning(self) -> None:
        """Half of the first priority is down: it still gets 70 % (1.4 times 50), the next one the
        rest.
        """
        shares = Balance(NO_PANIC, hosts("aB") + hosts("z", priority=1)).shares(PICKS)
        self.assertApproximates(0.7, shares["a"], 0.015)
        self.assertNotIn("B", shares)

    def test_factor(self) -> None:
        """The overprovisioning factor of the assignment counts."""
        shares = Balance(
            NO_PANIC, hosts("aB") + hosts("z", priority=1), overprovisioning_factor=100
        ).shares(PICKS)
        self.assertApproximates(0.5, shares["a"], 0.015)

    def test_degraded(self) -> None:
        """A degraded host takes what the healthy ones cannot."""
        shares = Balance("", hosts("abd")).shares(PICKS)
        self.assertApproximates(0.07, shares["d"], 0.01)

    def test_failover(self) -> None:
        """Nothing goes to the second priority until the first fails, and nothing to the first while
        it is down.
        """
        balance = Balance("", hosts("abc") + hosts("xyz", priority=1))
        self.assertEqual({"a", "b", "c"}, set(balance.shares(300)))
        balance.fail("a", "b", "c")
        self.assertEqual({"x", "y", "z"}, set(balance.shares(300)))
        balance.advance(2)
        balance.recover("a", "b", "c")
        balance.advance(2)
        self.assertEqual({"a", "b", "c"}, set(balance.shares(300)))

    def test_panic(self) -> None:
        """Below half all hosts are used, and each pick is counted."""
        balance = Balance("", hosts("aBC"))
        self.assertEqual({"a": 100, "B": 100, "C": 100}, dict(balance.picks(300)))
        self.assertEqual(300, balance.stat("lb_healthy_panic"))

    def test_panic_without_hosts(self) -> None:
        """A pick of a cluster without hosts is one in panic."""
        balance = Balance("", [])
        self.assertIsNone(balance.pick())
        self.assertEqual(1, balance.stat("lb_healthy_panic"))

    def test_fail_on_panic(self) -> None:
        """fail_traffic_on_panic: no host at all instead of any."""
        balance = Balance(
            "common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}}", hosts("aBC")
        )
        self.assertEqual({None: 10}, dict(balance.picks(10)))
        self.assertEqual(10, balance.stat("lb_healthy_panic"))

    def test_threshold_is_rounded(self) -> None:
        """The panic threshold counts as a whole percentage."""
        threshold = "common_lb_config: {healthy_panic_threshold: {value: %s}}"
        self.assertEqual({"a"}, set(Balance(threshold % 33.4, hosts("aBC")).shares(30)))
        self.assertEqual({"a", "B", "C"}, set(Balance(threshold % 33.5, hosts("aBC")).shares(30)))


class LocalityTests(SynchronousTestCase):
    """Localities by weight."""

    def test_exact(self) -> None:
        """Localities take turns by weight, whatever the number of their hosts; one without a weight
        gets nothing.
        """
        everyone = hosts("a", zone="z1") + hosts("bc", zone="z2") + hosts("e", zone="z3")
        balance = Balance(WEIGHTED, everyone, zone_weights={"z1": 1, "z2": 3})
        self.assertEqual({"a": 100, "b": 150, "c": 150}, dict(balance.picks(400)))

    def test_half_down(self) -> None:
        """A locality of which half is down keeps 70 % of its weight."""
        everyone = hosts("aB", zone="z1") + hosts("c", zone="z2")
        self.assertEqual(
            {"a": 70, "c": 100},
            dict(Balance(WEIGHTED, everyone, zone_weights={"z1": 1, "z2": 1}).picks(170)),
        )

    def test_excluded_hosts_are_not_missing(self) -> None:
        """Hosts that are draining are not counted as missing."""
        everyone = [
            *hosts("a", zone="z1"),
            SimHost("x", zone="z1", status="DRAINING"),
            *hosts("c", zone="z2"),
        ]
        self.assertEqual(
            {"a": 50, "c": 50},
            dict(Balance(WEIGHTED, everyone, zone_weights={"z1": 1, "z2": 1}).picks(100)),
        )

    def test_no_weights(self) -> None:
        """Where no locality has a weight, all hosts are picked alike."""
        everyone = hosts("a", zone="z1") + hosts("bc", zone="z2")
        self.assertEqual({"a": 20, "b": 20, "c": 20}, dict(Balance(WEIGHTED, everyone).picks(60)))

    def test_not_asked_for(self) -> None:
        """Without locality_weighted_lb_config weights of localities do not count."""
        everyone = hosts("a", zone="z1") + hosts("bc", zone="z2")
        self.assertEqual(
            {"a": 20, "b": 20, "c": 20},
            dict(Balance("", everyone, zone_weights={"z1": 9, "z2": 1}).picks(60)),
        )


class ZoneTests(SynchronousTestCase):
    """Routing by zone."""

    def balance(self, here: str, more: str = "min_cluster_size: 1", proxies: str = "ab") -> Balance:
        """One host in the zone a and three in b; the proxies are one in each of these zones."""
        return Balance(
            f"common_lb_config: {{zone_aware_lb_config: {{{more}}}}}",
            hosts("x", zone="a") + hosts("efg", zone="b"),
            zone=here,
            proxies=[SimHost(f"proxy {zone}", zone=zone) for zone in proxies],
        )

    def stats(self, balance: Balance) -> list[int]:
        """Picks that all stayed, that stayed by chance, and that left."""
        names = ("all_directly", "sampled", "cross_zone")
        return [balance.stat(f"lb_zone_routing_{name}") for name in names]

    def test_stays(self) -> None:
        """With hosts enough at home all picks stay there."""
        balance = self.balance("b")
        self.assertEqual({"e", "f", "g"}, set(balance.shares(30)))
        self.assertEqual([30, 0, 0], self.stats(balance))
        self.assertEqual(1, balance.stat("lb_recalculate_zone_structures"))

    def test_half_leaves(self) -> None:
        """With half of the hosts that would be needed, half of the picks stay."""
        balance = self.balance("a")
        self.assertApproximates(0.5, balance.shares(PICKS)["x"], 0.02)
        directly, stayed, left = self.stats(balance)
        self.assertEqual((0, PICKS), (directly, stayed + left))

    def test_both_together_are_even(self) -> None:
        """So every host gets the same from all proxies together."""
        counted = self.balance("a").picks(PICKS) + self.balance("b").picks(PICKS)
        for times in counted.values():
            self.assertApproximates(0.25, times / (2 * PICKS), 0.01)

    def test_too_small(self) -> None:
        """With fewer healthy hosts than min_cluster_size, 6 by default, zones do not count."""
        balance = self.balance("b", "")
        self.assertEqual(dict.fromkeys("xefg", 10), dict(balance.picks(40)))
        self.assertEqual(1, balance.stat("lb_zone_cluster_too_small"))

    def test_enabled_in_part(self) -> None:
        """routing_enabled is the part of the picks that zones count for."""
        shares = self.balance("b", "min_cluster_size: 1, routing_enabled: {value: 40}").shares(
            PICKS
        )
        self.assertApproximates(0.6 / 4, shares["x"], 0.015)

    def test_proxies_move(self) -> None:
        """When proxies come or go, the part that stays changes."""
        balance = self.balance("a")
        balance.set_proxies(
            [SimHost("proxy a", zone="a"), *(SimHost(f"proxy {n}", zone="b") for n in "123")]
        )
        self.assertEqual({"x": 100}, dict(balance.picks(100)))

    def test_proxies_in_panic(self) -> None:
        """While most proxies are down the proxy does not trust its picture of them."""
        balance = self.balance("b")
        balance.set_proxies(
            [
                SimHost("proxy a", zone="a"),
                *(SimHost(f"proxy {n}", zone="b", status="UNHEALTHY") for n in "123"),
            ]
        )
        self.assertEqual({"x": 10, "e": 10, "f": 10, "g": 10}, dict(balance.picks(40)))
        self.assertEqual(40, balance.stat("lb_local_cluster_not_ok"))

    def test_only_the_first_priority(self) -> None:
        """Zones count in the first priority alone."""
        balance = self.balance("b")
        balance.set_hosts(
            [
                *hosts("X", zone="b"),
                *(SimHost(n, zone=z, priority=1) for n, z in zip("yz", "ab", strict=True)),
            ]
        )
        self.assertEqual({"y": 10, "z": 10}, dict(balance.picks(20)))
