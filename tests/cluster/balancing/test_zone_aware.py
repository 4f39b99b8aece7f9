"""Zone-aware routing, as arithmetic."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.zone_aware import NoZones, ZoneOptions, Zones, overridden, zones
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet, host_sets
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HostSpec, Locality
from tcpmesh.values.runtime import Entry

SMALL = ZoneOptions(min_cluster_size=1)
HERE = Locality(zone="a")


def members(zones: str, status: str = "HEALTHY", weights: str = "") -> HostSet:
    """Hosts by their zones, one letter each; a capital letter is an unhealthy host."""
    specs = [
        HostSpec(
            Address("127.0.0.1", port + 1),
            locality=Locality(zone=zone.lower()),
            health_status="UNHEALTHY" if zone.isupper() else status,
            weight=int(weights[port]) if weights else 1,
        )
        for port, zone in enumerate(zones)
    ]
    return host_sets([Host(spec) for spec in specs], Assignment()).sets[0]


def route(
    upstream: str, proxies: str, options: ZoneOptions = SMALL, here: Locality | None = HERE
) -> Zones:
    """How proxies in these zones reach hosts in those."""
    return zones(members(upstream), members(proxies), here, options)


class RuntimeTests(SynchronousTestCase):
    """Options of the runtime."""

    def test_overridden(self) -> None:
        """What the runtime has goes before what is configured; a zone is not forced by it."""
        prefix = "upstream.zone_routing."
        names = ("enabled", "min_cluster_size", "force_local_zone.min_size")
        runtime = Runtime({f"{prefix}{name}": Entry("", 3.0) for name in names})
        expected = ZoneOptions(3, 3, force_local=3)
        self.assertEqual(overridden(ZoneOptions(force_local=1), runtime), expected)
        self.assertIsNone(overridden(SMALL, runtime).force_local)
        self.assertIs(overridden(SMALL, Runtime()), SMALL)


class ZonesTests(SynchronousTestCase):
    """How much stays, and where the rest goes."""

    def test_enough_at_home(self) -> None:
        """With at least as large a share of the hosts as of the proxies, all stays."""
        self.assertTrue(route("aabb", "ab").direct)
        self.assertTrue(route("aaab", "aabb").direct)

    def test_too_few_at_home(self) -> None:
        """Half the share that would be needed: half stays, and the rest goes where there is
        room.
        """
        found = route("abbb", "ab")
        self.assertEqual((False, 5000, (0, 2500)), (found.direct, found.stay, found.residual))

    def test_published_example(self) -> None:
        """The example of Envoy's documentation: 40, 40, 20 % of the proxies and 25, 50, 25 % of the
        hosts.
        """
        found = route("abbc", "aabbc")
        self.assertEqual((6250, (0, 1000, 1500)), (found.stay, found.residual))
        self.assertEqual({1, 2}, {found.elsewhere(Random(seed)) for seed in range(40)})

    def test_in_proportion(self) -> None:
        """What does not stay is shared out by the room that localities have."""
        found = route("abbc", "aabbc")
        random = Random(1)
        counted = Counter(found.elsewhere(random) for _ in range(3000))
        self.assertTrue(1900 < counted[1] < 2100, counted)

    def test_none_at_home(self) -> None:
        """Without hosts at home nothing stays."""
        found = route("bbcc", "ab")
        self.assertEqual((None, 0, (0, 5000)), (found.home, found.stay, found.residual))

    def test_only_healthy_hosts(self) -> None:
        """Shares are those of healthy hosts and healthy proxies."""
        self.assertEqual(route("abbb", "ab").residual, route("aAAbbb", "abB").residual)
        self.assertFalse(route("Abbb", "ab").direct)

    def test_no_room(self) -> None:
        """Where rounding leaves no room anywhere there is no answer."""
        self.assertIsNone(Zones(0, False, 9999, (0, 0)).elsewhere(Random(1)))

    def test_by_weight(self) -> None:
        """With the basis HEALTHY_HOSTS_WEIGHT a host counts as much as it weighs."""
        options = ZoneOptions(min_cluster_size=1, by_weight=True)
        found = zones(members("abb", weights="322"), members("ab"), HERE, options)
        self.assertEqual(3 * 10000 // 7 * 2, found.stay)

    def test_forced(self) -> None:
        """force_local_zone keeps all at home while enough hosts are healthy there."""
        self.assertTrue(route("abbb", "ab", ZoneOptions(min_cluster_size=1, force_local=1)).direct)
        self.assertFalse(route("abbb", "ab", ZoneOptions(min_cluster_size=1, force_local=2)).direct)


class NoZonesTests(SynchronousTestCase):
    """When zones are not looked at."""

    def assert_none(self, reason: tuple[str, ...], *args: object) -> None:
        """There is no routing by zone, and this statistic says so."""
        with self.assertRaises(NoZones) as caught:
            route(*args)  # type: ignore[arg-type]
        self.assertEqual(reason, caught.exception.args)

    def test_one_locality(self) -> None:
        """With one locality of hosts or of proxies there is nothing to choose."""
        self.assert_none((), "aaa", "ab")
        self.assert_none((), "ab", "aa")

    def test_one_locality_of_proxies_forced(self) -> None:
        """Unless the own zone is forced."""
        self.assertTrue(route("abbb", "aa", ZoneOptions(min_cluster_size=1, force_local=1)).direct)

    def test_unknown_home(self) -> None:
        """A proxy that does not say where it is, or is not where any of its kind is, does not route
        by zone.
        """
        self.assert_none(("lb_local_cluster_not_ok",), "ab", "ab", SMALL, None)
        self.assert_none(("lb_local_cluster_not_ok",), "ab", "bc")

    def test_small_cluster(self) -> None:
        """By default six healthy hosts are needed."""
        self.assert_none(("lb_zone_cluster_too_small",), "aabbb", "ab", ZoneOptions())
        self.assert_none(("lb_zone_cluster_too_small",), "aabbbB", "ab", ZoneOptions())
        self.assertTrue(route("aaabbb", "ab", ZoneOptions()).direct)
