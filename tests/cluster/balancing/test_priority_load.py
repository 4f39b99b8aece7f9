"""The load of priorities: what Envoy's documentation publishes, and what holds of every set of
hosts.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.priority_load import Kind, PriorityLoad, hosts_of, in_panic
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets, host_sets
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HostSpec

STATUSES = {"h": "HEALTHY", "d": "DEGRADED", "u": "UNHEALTHY", "x": "DRAINING"}


def sets(
    *levels: str, factor: int = 140, weighted: bool = False, weights: tuple[int, ...] = ()
) -> HostSets:
    """Priorities written as letters: healthy, degraded, unhealthy and excluded hosts, in one
    locality.
    """
    letters = [(priority, letter) for priority, level in enumerate(levels) for letter in level]
    specs = tuple(
        HostSpec(
            Address("127.0.0.1", port + 1),
            priority=priority,
            health_status=STATUSES[letter],
            weight=weights[port] if weights else 1,
        )
        for port, (priority, letter) in enumerate(letters)
    )
    return host_sets([Host(spec) for spec in specs], Assignment(specs, (), factor, weighted))


def loads(
    *levels: str, threshold: int = 50, **more: object
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The percentages for healthy and degraded hosts."""
    load = PriorityLoad(sets(*levels, **more), threshold)  # type: ignore[arg-type]
    return load.healthy, load.degraded


class PublishedTests(SynchronousTestCase):
    """The tables of Envoy's documentation (intro/arch_overview/upstream/load_balancing/priority and
    degraded).
    """

    def test_two_priorities(self) -> None:
        """72 % healthy take all; below that the next priority gets the rest."""
        for healthy, share in ((100, 100), (72, 100), (71, 99), (50, 70), (25, 35), (0, 0)):
            first = "h" * healthy + "u" * (100 - healthy)
            self.assertEqual(((share, 100 - share), (0, 0)), loads(first, "hhhh"), healthy)

    def test_both_short(self) -> None:
        """Where both priorities together fall short, their percentages are scaled up to the
        whole.
        """
        self.assertEqual((50, 50), loads("h" + "u" * 3, "h" + "u" * 3)[0])

    def test_degraded_last(self) -> None:
        """Degraded hosts of the first priority get only what the healthy ones of all priorities
        leave.
        """
        self.assertEqual(((35, 65), (0, 0)), loads("hddd", "hhhh"))
        self.assertEqual(((70,), (30,)), loads("hd"))
        self.assertEqual(((93,), (7,)), loads("hhd"))

    def test_rounding_goes_to_the_first(self) -> None:
        """10, 20 and 10 percent healthy, 20, 10 and 0 degraded: 16, 28, 14 and 28, 14, 0."""
        levels = ("h" + "dd" + "u" * 7, "hh" + "d" + "u" * 7, "h" + "u" * 9)
        self.assertEqual(((16, 28, 14), (28, 14, 0)), loads(*levels, factor=100, threshold=0))

    def test_only_degraded(self) -> None:
        """Without a healthy host the degraded ones take all of the load, and of its rounding."""
        self.assertEqual(
            ((0, 0, 0), (34, 33, 33)), loads("duu", "duu", "duu", factor=100, threshold=0)
        )


class PanicTests(SynchronousTestCase):
    """When all hosts of a priority are used."""

    def test_below_the_threshold(self) -> None:
        """Panic begins below the threshold, not at it."""
        self.assertFalse(PriorityLoad(sets("hu")).panic[0])
        self.assertTrue(PriorityLoad(sets("huu")).panic[0])
        self.assertFalse(PriorityLoad(sets("hhu")).panic[0])
        self.assertTrue(PriorityLoad(sets("hhu", factor=100), 80).panic[0])

    def test_not_while_there_is_enough(self) -> None:
        """As long as all priorities together reach 100 %, none is in panic."""
        self.assertEqual((False, False), PriorityLoad(sets("huuu", "hhhh")).panic)
        self.assertEqual((True, True), PriorityLoad(sets("huuu", "huuu")).panic)

    def test_by_size(self) -> None:
        """All in panic share by their number of hosts; the rest of the division goes to the first
        that has any.
        """
        self.assertEqual((17, 33, 50), loads("u", "uu", "uuu")[0])
        self.assertEqual((0, 34, 66), loads("", "u", "uu")[0])

    def test_switched_off(self) -> None:
        """Threshold 0: never panic; without a usable host the first priority is asked, and has
        none.
        """
        load = PriorityLoad(sets("uuu", "u"), 0)
        self.assertEqual((False, False), load.panic)
        chosen = load.choose(7)
        assert chosen is not None
        self.assertEqual((load.sets[0], Kind.HEALTHY), chosen)
        self.assertEqual((), hosts_of(*chosen))

    def test_all_hosts(self) -> None:
        """In panic the hosts are all of them."""
        load = PriorityLoad(sets("uud"))
        chosen = load.choose(0)
        assert chosen is not None
        self.assertEqual(load.sets[0].hosts, hosts_of(*chosen))

    def test_excluded(self) -> None:
        """Excluded hosts do not count as missing."""
        self.assertEqual(((100,), (0,)), loads("hxxx"))
        self.assertFalse(PriorityLoad(sets("hxxx")).panic[0])
        self.assertTrue(in_panic(sets("xx").sets[0], 1))


class WeightedHealthTests(SynchronousTestCase):
    """`weighted_priority_health`."""

    def test_by_weight(self) -> None:
        """The health of a priority is the weight of its healthy hosts, where that is asked for."""
        self.assertEqual((70, 30), loads("hu", "h", weights=(3, 1, 1))[0])
        self.assertEqual((100, 0), loads("hu", "h", weights=(3, 1, 1), weighted=True)[0])
        self.assertEqual((35, 65), loads("uh", "h", weights=(3, 1, 1), weighted=True)[0])


class ChoiceTests(SynchronousTestCase):
    """What a hash is answered with."""

    def test_table(self) -> None:
        """Of 100 numbers in a row each priority and kind gets its percentage, healthy ones
        first.
        """
        load = PriorityLoad(sets("hdu", "hduu", "duu"))
        chosen = [load.choose(number) for number in range(1000, 1100)]
        expected = Counter(
            dict(zip(((0, Kind.HEALTHY), (1, Kind.HEALTHY)), load.healthy, strict=False))
        )
        expected += Counter(
            {(priority, Kind.DEGRADED): part for priority, part in enumerate(load.degraded)}
        )
        self.assertEqual(expected, Counter((each[0].priority, each[1]) for each in chosen if each))
        self.assertIs(Kind.HEALTHY, (chosen[0] or [None, None])[1])
        self.assertIs(Kind.DEGRADED, (chosen[99] or [None, None])[1])

    def test_no_priorities(self) -> None:
        """Without any priority there is no answer."""
        self.assertIsNone(PriorityLoad(HostSets()).choose(5))

    @settings(max_examples=300, deadline=None)
    @given(
        levels=st.lists(st.text("hdux", max_size=8), min_size=1, max_size=4),
        threshold=st.integers(0, 100),
        factor=st.integers(100, 300),
    )
    def test_always_the_whole(self, levels: list[str], threshold: int, factor: int) -> None:
        """The percentages add up to 100, and as long as there is a usable host the load never goes
        where there is none.
        """
        load = PriorityLoad(sets(*levels, factor=factor), threshold)
        self.assertEqual(100, sum(load.healthy) + sum(load.degraded))
        if any("h" in level or "d" in level for level in levels):
            for number in range(100):
                chosen = load.choose(number)
                assert chosen is not None
                self.assertTrue(hosts_of(*chosen))
