"""Clusters: what their message says, their hosts, and what is told of them."""

from __future__ import annotations

from random import Random
from typing import Any

from envoy.config.core.v3 import base_pb2
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.interfaces import ICluster
from tcpmesh.registry import UnknownExtension, WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.balance import PickContext
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.testing.served import ServedCluster
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HealthFlag, HostSpec, Locality
from tcpmesh.values.statuses import HostStatus
from tests.mesh import cluster_message, parse


def spec(number: int, **facts: Any) -> HostSpec:
    """A host 127.0.0.<number>:80."""
    return HostSpec(Address(f"127.0.0.{number}", 80), **facts)


def hosts(*specs: HostSpec) -> Assignment:
    """An assignment of these hosts."""
    return Assignment(specs)


class ClusterTestCase(SynchronousTestCase):
    """A test that makes clusters."""

    def setUp(self) -> None:
        """Nothing counted yet."""
        self.store = Store()
        self.network = MemoryNetwork()
        self.context = WorkerContext(self.network, self.store, lambda name: None, Random(1))

    def cluster(self, more: str = "", name: str = "c") -> Cluster:
        """A cluster with these further fields, as a worker knows it."""
        return Cluster(cluster_message(name, [], more), self.context)

    def serve(self, more: str = "", name: str = "c") -> ServedCluster:
        """The same with what main knows of it: it has no hosts yet."""
        return ServedCluster(cluster_message(name, [], more), self.context)

    def value(self, name: str) -> int:
        """A counter or gauge of the cluster c."""
        return values_of(self.store)[f"cluster.c.{name}"]


class FieldTests(ClusterTestCase):
    """What the fields of the message mean."""

    def test_interface(self) -> None:
        """It is a cluster."""
        verifyObject(ICluster, self.cluster())

    def test_defaults(self) -> None:
        """Without a word: 5 seconds to connect, 1 MiB to buffer, 1024 connections."""
        cluster = self.cluster()
        self.assertEqual(
            (5.0, 1 << 20, 1024),
            (cluster.connect_timeout, cluster.buffer_limit, cluster.breakers.max_connections),
        )

    def test_given(self) -> None:
        """Fields that are given count, also where they are 0."""
        cluster = self.cluster("connect_timeout: 0.25s\nper_connection_buffer_limit_bytes: 0")
        self.assertEqual((0.25, 0), (cluster.connect_timeout, cluster.buffer_limit))

    def test_alt_stat_name(self) -> None:
        """Statistics go by alt_stat_name where there is one; colons are underscores."""
        self.cluster("alt_stat_name: 'a:b'")
        names = {counter.name for counter in self.store.counters()}
        self.assertIn("cluster.a_b.upstream_cx_total", names)
        self.assertFalse(any(name.startswith("cluster.c.") for name in names))

    def test_name_with_colon(self) -> None:
        """Statistics of a name with a colon have an underscore there; the name itself keeps it."""
        cluster = self.cluster(name="outbound|80||a:b")
        self.assertEqual("outbound|80||a:b", cluster.name)
        self.assertIn(
            "cluster.outbound|80||a_b.upstream_cx_total",
            {counter.name for counter in self.store.counters()},
        )

    def test_unknown_policy(self) -> None:
        """A policy that no module has is an UnknownExtension."""
        self.assertRaises(UnknownExtension, self.cluster, "lb_policy: CLUSTER_PROVIDED")

    def test_names(self) -> None:
        """Every statistic that TCP moves in Envoy's cluster scope is there at 0."""
        self.serve()
        expected = (
            "upstream_cx_total upstream_cx_connect_fail upstream_cx_connect_timeout "
            "upstream_cx_connect_attempts_exceeded"
            " upstream_cx_overflow upstream_cx_pool_overflow upstream_cx_none_healthy "
            "upstream_cx_idle_timeout"
            " upstream_cx_destroy upstream_cx_destroy_local upstream_cx_destroy_remote "
            "upstream_cx_destroy_with_active_rq"
            " upstream_cx_destroy_local_with_active_rq "
            "upstream_cx_destroy_remote_with_active_rq upstream_cx_rx_bytes_total"
            " upstream_cx_tx_bytes_total upstream_cx_preconnect_skipped bind_errors "
            "upstream_cx_active"
            " upstream_cx_rx_bytes_buffered upstream_cx_tx_bytes_buffered upstream_rq_total "
            "upstream_rq_active"
            " upstream_rq_pending_total upstream_rq_pending_active upstream_rq_pending_overflow"
            " upstream_rq_pending_failure_eject upstream_rq_cancelled "
            "upstream_flow_control_paused_reading_total"
            " upstream_flow_control_resumed_reading_total upstream_flow_control_backed_up_total"
            " upstream_flow_control_drained_total membership_total membership_healthy "
            "membership_degraded"
            " membership_excluded membership_change"
        )
        self.assertEqual({0}, {self.value(name) for name in expected.split()})


class HostsTests(ClusterTestCase):
    """Hosts that come, stay and go."""

    def test_counted(self) -> None:
        """Membership is counted, all of it healthy; a change counts once, however many hosts it
        has.
        """
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2), spec(3)))
        self.assertEqual(
            (3, 3, 1),
            tuple(map(self.value, ("membership_total", "membership_healthy", "membership_change"))),
        )
        cluster.update_hosts(hosts(spec(3)))
        self.assertEqual(
            (1, 1, 2),
            tuple(map(self.value, ("membership_total", "membership_healthy", "membership_change"))),
        )

    def test_further_addresses(self) -> None:
        """A host whose further addresses have changed is another one."""
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1)))
        (before,) = cluster.hosts
        cluster.update_hosts(hosts(spec(1, additional_addresses=(Address("127.0.0.9", 80),))))
        self.assertIsNot(before, cluster.hosts[0])
        self.assertEqual(2, self.value("membership_change"))

    def test_panic_without_hosts(self) -> None:
        """A cluster that has not found a host yet is in panic."""
        cluster = self.serve()
        self.assertIsNone(cluster.pick(None))
        self.assertEqual(1, self.value("lb_healthy_panic"))

    def test_changes_by_priority(self) -> None:
        """A change counts for each priority that hosts have come to or gone from."""
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2, priority=3)))
        self.assertEqual(2, self.value("membership_change"))
        cluster.update_hosts(hosts(spec(1), spec(3), spec(2, priority=3)))
        self.assertEqual(3, self.value("membership_change"))
        cluster.update_hosts(hosts(spec(1, priority=3), spec(3), spec(2, priority=3)))
        self.assertEqual(5, self.value("membership_change"))

    def test_match_count(self) -> None:
        """Each new host is counted as matched by the default transport socket."""
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2)))
        cluster.update_hosts(hosts(spec(2), spec(3)))
        self.assertEqual(3, self.value("default.total_match_count"))

    def test_no_change(self) -> None:
        """Hosts that are told again as they were are no change."""
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2)))
        before = cluster.hosts
        cluster.update_hosts(hosts(spec(1), spec(2)))
        self.assertIs(before, cluster.hosts)
        self.assertEqual(1, self.value("membership_change"))

    def test_twice(self) -> None:
        """Two hosts of one address are two, and stay the same two."""
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2), spec(1)))
        before = cluster.hosts
        cluster.update_hosts(hosts(spec(1), spec(2), spec(1), spec(3)))
        self.assertEqual(before, cluster.hosts[:3])
        self.assertIsNot(before[0], before[2])

    def test_kept_with_its_counters(self) -> None:
        """A host that stays keeps its counters, wherever it now stands in the list."""
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2)))
        first = cluster.hosts[0]
        first.cx_total = first.cx_active = 5
        cluster.update_hosts(hosts(spec(3), spec(1)))
        self.assertIs(first, cluster.hosts[1])
        self.assertEqual(5, cluster.status().hosts[1].counters["cx_total"])

    def test_kept_when_its_weight_changes(self) -> None:
        """A host of which discovery says something new is still the same host, with the new facts;
        no member has changed.
        """
        cluster = self.serve()
        cluster.update_hosts(hosts(spec(1), spec(2)))
        first = cluster.hosts[0]
        first.cx_total = 5
        cluster.update_hosts(hosts(spec(1, weight=7), spec(2)))
        self.assertIs(first, cluster.hosts[0])
        self.assertEqual((7, 5), (cluster.status().hosts[0].weight, first.cx_total))
        self.assertEqual(1, self.value("membership_change"))

    def test_picks_follow(self) -> None:
        """Picks are made among the hosts told last."""
        cluster = self.serve()
        self.assertIsNone(cluster.pick(None))
        cluster.update_hosts(hosts(spec(1), spec(2)))
        self.assertEqual(set(cluster.hosts), {cluster.pick(None) for _ in range(2)})
        cluster.update_hosts(hosts(spec(2)))
        self.assertEqual({cluster.hosts[0]}, {cluster.pick(None) for _ in range(3)})
        cluster.update_hosts(hosts())
        self.assertIsNone(cluster.pick(None))


class HealthTests(ClusterTestCase):
    """Hosts that change their health, and when the load balancer learns of it."""

    def setUp(self) -> None:
        """A cluster of two hosts that has been serving for a while."""
        super().setUp()
        self.clock = self.network
        self.served = self.serve("common_lb_config: {healthy_panic_threshold: {value: 0}}")
        self.served.update_hosts(hosts(spec(1), spec(2)))
        self.served.warmed()
        self.clock.advance(60)

    def set_health(self, number: int, healthy: bool) -> None:
        """Say that a host passes or fails its health checks."""
        flag = HealthFlag.failed_active_hc
        address = Address(f"127.0.0.{number}", 80)
        self.served.set_flags(address, remove=flag) if healthy else self.served.set_flags(
            address, add=flag
        )

    def picked(self) -> set[str]:
        """The hosts of some picks."""
        found = (self.served.pick(None) for _ in range(4))
        return {host.address.host for host in found if host is not None}

    def test_first_change_at_once(self) -> None:
        """After a quiet time a change reaches the next pick."""
        self.set_health(1, False)
        self.assertEqual({"127.0.0.2"}, self.picked())
        self.store.collect()
        self.assertEqual(1, self.value("membership_healthy"))

    def test_second_change_waits(self) -> None:
        """A change within the merge window is shown at once, and reaches picks when the window is
        over.
        """
        self.set_health(1, False)
        self.picked()
        self.set_health(1, True)
        self.store.collect()
        self.assertEqual(2, self.value("membership_healthy"))
        self.assertEqual({"127.0.0.2"}, self.picked())
        self.clock.advance(1.0)
        self.assertEqual({"127.0.0.1", "127.0.0.2"}, self.picked())
        stats = values_of(self.store)
        names = (
            "cluster_updated",
            "cluster_updated_via_merge",
            "update_out_of_merge_window",
            "update_merge_cancelled",
        )
        self.assertEqual([1, 1, 1, 0], [stats[f"cluster_manager.{name}"] for name in names])

    def test_new_hosts_do_not_wait(self) -> None:
        """Hosts that come or go reach the next pick, and with them all that waited."""
        self.set_health(1, False)
        self.picked()
        self.set_health(1, True)
        self.served.update_hosts(hosts(spec(1), spec(3)))
        self.assertEqual({"127.0.0.1", "127.0.0.3"}, self.picked())
        self.assertEqual(1, values_of(self.store)["cluster_manager.update_merge_cancelled"])

    def test_not_before_it_is_warm(self) -> None:
        """First results of health checks are all known to the first pick."""
        self.served = self.serve("common_lb_config: {healthy_panic_threshold: {value: 0}}")
        self.served.update_hosts(hosts(spec(1), spec(2)))
        self.set_health(1, False)
        self.set_health(2, False)
        self.set_health(1, True)
        self.assertEqual({"127.0.0.1"}, self.picked())

    def test_slow_start_begins_with_health(self) -> None:
        """A host that becomes healthy is new again for slow start."""
        self.set_health(1, False)
        self.clock.advance(5)
        self.set_health(1, True)
        self.assertEqual([65.0, 0.0], [host.created for host in self.served.hosts])

    def test_closed(self) -> None:
        """A cluster that is removed has nothing more under way."""
        self.set_health(1, False)
        self.picked()
        self.set_health(1, True)
        self.served.close()
        self.assertEqual([], self.clock.clock.getDelayedCalls())


class AttemptedTests(ClusterTestCase):
    """Hosts that were tried already."""

    def assert_all_tried_first(self, more: str, specs: tuple[HostSpec, ...]) -> None:
        """As many picks as hosts are all different, then some host is picked again."""
        cluster = self.serve(more)
        cluster.update_hosts(Assignment(specs))
        for _ in range(20):
            attempted: tuple[Host, ...] = ()
            for _ in specs:
                host = cluster.pick(PickContext(attempted=attempted))
                assert host is not None
                self.assertNotIn(host, attempted)
                attempted += (host,)
            self.assertIn(cluster.pick(PickContext(attempted=attempted)), attempted)

    def test_all_policies(self) -> None:
        """Whatever the policy, a host that was tried is not picked while another is left."""
        specs = tuple(spec(number, weight=number) for number in range(1, 20))
        for policy in ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"):
            self.assert_all_tried_first(f"lb_policy: {policy}", specs)

    def test_unlikely_hosts(self) -> None:
        """Also a host that a pick would name one time in a million, or never while others are
        healthy, is found.
        """
        specs = (
            spec(1, weight=1000000),
            spec(2),
            spec(3, health_status="DEGRADED"),
            spec(4, priority=1),
        )
        self.assert_all_tried_first("", specs)


class StatusTests(ClusterTestCase):
    """What the admin interface is told."""

    def status(self, told: HostSpec) -> HostStatus:
        """A host of a cluster."""
        served = self.serve()
        served.update_hosts(hosts(told))
        (status,) = served.status().hosts
        return status

    def test_host(self) -> None:
        """A host is told with its facts and all numbers that Envoy shows."""
        told = spec(1, hostname="one", weight=3, priority=1, locality=Locality("r", "z", "s"))
        status = self.status(told)
        self.assertEqual("127.0.0.1:80", status.address)
        facts = (
            status.hostname,
            status.weight,
            status.priority,
            status.region,
            status.zone,
            status.sub_zone,
        )
        self.assertEqual(("one", 3, 1, "r", "z", "s"), facts)
        self.assertEqual(
            {"cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total"},
            set(status.counters),
        )
        self.assertEqual({"cx_active", "rq_active", "rq_pending_active"}, set(status.gauges))

    def test_canary(self) -> None:
        """A host is a canary where its metadata for load balancers says so."""
        for value, expected in ((True, True), (False, False), ("true", False)):
            metadata = base_pb2.Metadata()
            metadata.filter_metadata["envoy.lb"].update({"canary": value})
            self.assertIs(expected, self.status(spec(1, metadata=metadata)).canary)
            self.assertNotIn("other", metadata.filter_metadata)
        empty = base_pb2.Metadata()
        self.assertFalse(self.status(spec(1, metadata=empty)).canary)
        self.assertFalse(empty.filter_metadata)

    def test_locality_weight(self) -> None:
        """A host is told with the weight of its locality, and with what its flags come to."""
        cluster = self.serve()
        near = Locality("r", "near")
        specs = (spec(1, locality=near), spec(2, health_status="DRAINING"))
        cluster.update_hosts(Assignment(specs, locality_weights=((0, near, 3), (1, Locality(), 9))))
        self.assertEqual(
            [(3, "HEALTHY"), (0, "UNHEALTHY")],
            [(h.locality_weight, h.health) for h in cluster.status().hosts],
        )

    def test_cluster(self) -> None:
        """A cluster is told by its name, and by the name that its statistics have."""
        status = self.serve("alt_stat_name: 'x:y'").status()
        self.assertEqual(("c", "x_y"), (status.name, status.observability_name))


class EndpointsTests(SynchronousTestCase):
    """Assignments as hosts."""

    def specs(self, text: str) -> tuple[HostSpec, ...]:
        """The hosts of a load_assignment in YAML."""
        message = cluster_message("c", [])
        return assignment(
            parse(
                type(message), f"load_assignment: {{cluster_name: c, endpoints: {text}}}"
            ).load_assignment
        ).hosts

    def test_facts(self) -> None:
        """Locality and priority are those of the group, hostname and weight those of the
        endpoint.
        """
        address = "address: {socket_address: {address: 127.0.0.1, port_value: 80}}"
        (found,) = self.specs(
            "[{priority: 2, locality: {region: r, zone: z, sub_zone: s},"
            f" lb_endpoints: [{{endpoint: {{{address}, hostname: h}}, load_balancing_weight: "
            f"4}}]}}]"
        )
        self.assertEqual(
            spec(1, hostname="h", weight=4, priority=2, locality=Locality("r", "z", "s")), found
        )

    def test_order(self) -> None:
        """Hosts come in the order given, over all groups; IPv6 and unix sockets are hosts like
        others.
        """
        found = self.specs(
            "[{lb_endpoints: [{endpoint: {address: {socket_address: {address: '::1', "
            "port_value: 1}}}}]},"
            " {lb_endpoints: [{endpoint: {address: {pipe: {path: /run/x}}}}, {endpoint: "
            "{address: {pipe: {path: '@y'}}}}]}]"
        )
        self.assertEqual(
            (Address("::1", 1), Address("/run/x"), Address("@y")),
            tuple(each.address for each in found),
        )
        self.assertEqual({1}, {each.weight for each in found})

    def test_none(self) -> None:
        """An assignment without endpoints has no hosts."""
        self.assertEqual((), self.specs("[]"))
