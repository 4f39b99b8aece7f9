"""Pools: connections made ahead of their clients, what becomes of them, and who gets them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.cluster.upstream.pool import wants
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.hosts import Assignment, HealthFlag
from tests.mesh import MeshTestCase, cluster_message, tcp_proxy

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"
THIRD = "127.0.0.4:80"
OPTIONS = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions"


def ratio(per_upstream: float, more: str = "") -> str:
    """A cluster that connects ahead, in YAML."""
    return f"preconnect_policy: {{per_upstream_preconnect_ratio: {per_upstream}}}\n{more}"


def idle(seconds: int) -> str:
    """An idle timeout of connections without a client, in YAML."""
    options = f'{OPTIONS}: {{"@type": type.googleapis.com/{OPTIONS}, idle_timeout: {seconds}s}}'
    return f"typed_extension_protocol_options: {{{options}}}"


class PoolTestCase(MeshTestCase):
    """A listener in front of a cluster `c` that has pools."""

    def make(self, more: str, *hosts: str, filter: str = "cluster: c") -> Any:
        """Serve by such a cluster; what the first of its hosts has built is known by
        `self.server`.
        """
        self.message = (more, hosts or (HOST,))
        self.mesh.add_cluster("c", *self.message[1], more=more)
        self.servers = [self.mesh.upstream(host) for host in self.message[1]]
        self.server = self.servers[0]
        self.mesh.serve(filter)

    @property
    def cluster(self) -> Any:
        """The cluster."""
        return self.mesh.cluster("c")

    def cx(self, *names: str) -> tuple[int, ...]:
        """Statistics of the cluster's connections."""
        return tuple(self.mesh.stat(f"cluster.c.upstream_cx_{name}") for name in names)

    def rq(self, *names: str) -> tuple[int, ...]:
        """Statistics of those that are in use, or waited for."""
        return tuple(self.mesh.stat(f"cluster.c.upstream_rq_{name}") for name in names)

    def leave(self, clients: Iterable[Any]) -> None:
        """These clients close, and their upstreams with them."""
        for client in clients:
            client.transport.abortConnection()
        self.mesh.network.pump()

    def spare(self) -> Any:
        """The upstream's end of the connection that is to be given away next."""
        return self.server.built[-1]


class RatioTests(PoolTestCase):
    """How many connections there are."""

    def totals(self, per_upstream: float) -> list[int]:
        """What is in cx_total as four clients come, two go and another comes."""
        self.mesh = self.make_mesh(1)
        self.make(ratio(per_upstream))
        seen: list[int] = []
        clients = []
        for _ in range(4):
            clients.append(self.mesh.connect())
            seen += self.cx("total")
        self.leave(clients[:2])
        self.mesh.connect()
        return [*seen, *self.cx("total")]

    def test_ratios(self) -> None:
        """Clients, times the ratio, are provided for: the numbers are those that Envoy was seen to
        have.
        """
        self.assertEqual([2, 3, 5, 6, 7], self.totals(1.5))
        self.assertEqual([2, 4, 6, 8, 8], self.totals(2))
        self.assertEqual([3, 6, 9, 12, 12], self.totals(3))

    def test_at_most_three(self) -> None:
        """One client makes for three connections at the most, whatever is missing."""
        self.make(ratio(3))
        self.cluster.pools.ratio = 10.0
        self.mesh.connect()
        self.assertEqual((3,), self.cx("total"))

    def test_single_precision(self) -> None:
        """A ratio is reckoned with as Envoy does, in single precision: fifty times 1.1 is not more
        than 55.
        """
        self.assertTrue(50 * 1.1 > 55)
        self.assertFalse(wants(50, 1.1, 55))
        self.assertTrue(wants(50, 1.1, 54))

    def test_no_pools(self) -> None:
        """A cluster with ratios of 1, and one that says nothing, have no pools, and are served
        without.
        """
        for more in ("", ratio(1), "preconnect_policy: {predictive_preconnect_ratio: 1}", idle(5)):
            self.mesh.add_cluster("c", HOST, more=more)
            self.assertIsNone(self.cluster.pools)

    def test_no_client_waits(self) -> None:
        """A client that finds a connection ready has not waited, as the statistics show, and is
        served at once.
        """
        self.make(ratio(2))
        first, second = self.mesh.connect(), self.mesh.connect()
        self.assertEqual(
            (2, 2, 1, 0), self.rq("total", "active", "pending_total", "pending_active")
        )
        self.assertEqual((4, 4), self.cx("total", "active"))
        second.transport.write(b"x")
        self.mesh.network.pump()
        self.assertEqual([b"", b"x"], [bytes(end.received) for end in self.server.built[:2]])
        self.assertEqual(4, self.mesh.times("cluster.c.upstream_cx_connect_ms")[0])
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual({"cx_active": 4, "rq_active": 2, "rq_pending_active": 0}, host.gauges)
        self.assertFalse(first.ended)

    def test_youngest_first(self) -> None:
        """Of several connections that are ready the youngest is taken."""
        self.make(ratio(3))
        self.mesh.connect()
        self.mesh.connect().transport.write(b"x")
        self.mesh.network.pump()
        self.assertEqual(b"x", bytes(self.server.built[2].received))

    def test_not_for_the_unhealthy(self) -> None:
        """For a host that is not healthy nothing is made ahead; what a client needs is."""
        self.make(ratio(3) + "\ncommon_lb_config: {healthy_panic_threshold: {value: 100}}")
        self.mesh.set_flags("c", HOST, add=HealthFlag.degraded_active_hc)
        self.mesh.connect()
        self.assertEqual((1,), self.cx("total"))

    def test_limit_of_connections(self) -> None:
        """What is made ahead counts against max_connections: one overflow for each that is not, and
        no client is closed for it.
        """
        self.make(ratio(3, "circuit_breakers: {thresholds: [{max_connections: 2}]}"))
        self.assertFalse(self.mesh.connect().ended)
        self.assertEqual((2, 1), self.cx("total", "overflow"))
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual((2, 2), self.cx("total", "overflow"))

    def test_limit_of_each_host(self) -> None:
        """With a limit for each host the same; beyond it a client waits until a connection ends."""
        self.make(ratio(3, "circuit_breakers: {per_host_thresholds: [{max_connections: 2}]}"))
        clients = [self.mesh.connect() for _ in range(3)]
        self.assertEqual((2, 3), self.cx("total", "overflow"))
        self.assertEqual((2, 1), self.rq("active", "pending_active"))
        self.leave(clients[:1])
        self.assertEqual((3, 2, 4), self.cx("total", "active", "overflow"))
        self.assertEqual((2, 0), self.rq("active", "pending_active"))

    def test_each_client_its_own(self) -> None:
        """With connection_pool_per_downstream_connection what is made ahead of one client is not
        for another.
        """
        self.make(ratio(2, "connection_pool_per_downstream_connection: true"))
        clients = [self.mesh.connect(), self.mesh.connect()]
        self.assertEqual((4, 4), self.cx("total", "active"))
        self.assertEqual((2,), self.rq("pending_total"))
        self.leave(clients)
        self.assertEqual((2,), self.cx("active"))


class OnceTests(PoolTestCase):
    """`max_requests_per_connection`."""

    def test_one(self) -> None:
        """A limit of 1 is reached by each connection that gets a client, which is counted and
        changes nothing; 2 never is.
        """
        for limit, expected in ((1, 1), (2, 0)):
            self.mesh = self.make_mesh(1)
            self.make(f"max_requests_per_connection: {limit}")
            client = self.mesh.connect()
            self.assertEqual((expected, 1), self.cx("max_requests", "total"))
            self.leave([client])
            self.assertEqual((0,), self.cx("active"))


class UnassignedTests(PoolTestCase):
    """What becomes of a connection before it has a client."""

    def setUp(self) -> None:
        """One client, and one connection more."""
        super().setUp()
        self.make(ratio(2, idle(5)))
        self.first = self.mesh.connect()

    def test_server_speaks_first(self) -> None:
        """What the server says before there is a client reaches the client first, and is counted
        when it does.
        """
        self.spare().transport.write(b"hello")
        self.mesh.network.pump()
        self.assertEqual((0,), self.cx("rx_bytes_total"))
        spare = self.spare()
        client = self.mesh.connect()
        spare.transport.write(b" again")
        self.mesh.network.pump()
        self.assertEqual(b"hello again", bytes(client.received))
        self.assertEqual((11,), self.cx("rx_bytes_total"))

    def test_server_that_says_much(self) -> None:
        """No more is read ahead than an upstream connection may buffer, and nothing of it is
        lost.
        """
        self.mesh = self.make_mesh(1)
        self.make(ratio(2, "per_connection_buffer_limit_bytes: 5000"))
        self.mesh.connect()
        said = bytes(range(256)) * 4000
        self.spare().transport.write(said)
        self.mesh.network.pump()
        self.assertGreater(self.spare().transport.buffered, 0)
        client = self.mesh.connect()
        self.assertEqual(said, bytes(client.received))

    def test_end(self) -> None:
        """A connection that the server ends before there is a client is dropped, as closed by the
        other side and not in use.
        """
        spare = self.spare()
        spare.transport.write(b"too late")
        spare.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertTrue(spare.ended)
        expected = {"active": 1, "total": 2, "destroy": 1, "destroy_remote": 1}
        self.assertEqual(expected, self.mesh.moved("cluster.c.upstream_cx_"))
        self.assertFalse(self.mesh.connect().ended)
        self.assertEqual((5, 4), self.cx("total", "active"))

    def test_reset(self) -> None:
        """One that the server resets too."""
        self.spare().transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual((1, 1, 1), self.cx("active", "destroy", "destroy_remote"))
        self.assertFalse(self.mesh.connect().ended)

    def test_idle(self) -> None:
        """One that has no client for the idle timeout is closed from this side; one in use is
        not.
        """
        self.mesh.network.advance(5)
        self.assertTrue(self.spare().ended)
        expected = {"active": 1, "total": 2, "idle_timeout": 1, "destroy": 1, "destroy_local": 1}
        self.assertEqual(expected, self.mesh.moved("cluster.c.upstream_cx_"))
        self.mesh.network.advance(60)
        self.assertFalse(self.first.ended)

    def test_in_use(self) -> None:
        """The idle timeout ends when a client comes."""
        self.mesh.network.advance(4)
        self.leave([self.first])
        client = self.mesh.connect()
        self.mesh.network.advance(4)
        self.assertFalse(client.ended)

    def test_idle_unless_said(self) -> None:
        """Unless an idle timeout is given it is ten minutes; 0 is for none."""
        for more, lasts in (("", 600), (idle(0), None)):
            self.mesh = self.make_mesh(1)
            self.make(ratio(2, more))
            self.mesh.connect()
            self.mesh.network.advance(599)
            self.assertEqual((2,), self.cx("active"))
            self.mesh.network.advance(2)
            self.assertEqual((1,) if lasts else (2,), self.cx("active"))

    def test_unhealthy_host(self) -> None:
        """When the host becomes unhealthy connections without a client are closed, and those in use
        stay.
        """
        self.mesh.set_flags("c", HOST, add=HealthFlag.failed_active_hc)
        self.mesh.network.pump()
        self.assertEqual((1, 1), self.cx("active", "destroy_local"))
        self.assertEqual((False, True), (self.first.ended, self.spare().ended))

    def test_unhealthy_host_closes_all(self) -> None:
        """With close_connections_on_host_health_failure those in use go too."""
        self.mesh = self.make_mesh(1)
        self.make(ratio(3, "close_connections_on_host_health_failure: true"))
        clients = [self.mesh.connect(), self.mesh.connect()]
        self.mesh.set_flags("c", HOST, add=HealthFlag.failed_active_hc)
        self.mesh.network.pump()
        self.assertEqual([True, True], [client.ended for client in clients])
        self.assertEqual(
            (0, 6, 6, 2),
            self.cx("active", "destroy", "destroy_local", "destroy_local_with_active_rq"),
        )

    def update(self, *hosts: str) -> None:
        """The cluster has other hosts."""
        self.mesh.tell_hosts("c", assignment(cluster_message("c", hosts).load_assignment))
        self.mesh.network.pump()

    def test_host_removed(self) -> None:
        """When the host is removed the same as when it becomes unhealthy; others that come change
        nothing.
        """
        self.update(HOST, OTHER)
        self.assertEqual((2,), self.cx("active"))
        self.update(OTHER)
        self.assertEqual((1, 1), self.cx("active", "destroy_local"))
        self.assertFalse(self.first.ended)

    def test_hosts_change(self) -> None:
        """With close_connections_on_host_set_change those without a client go whatever host comes
        or leaves.
        """
        self.mesh = self.make_mesh(1)
        self.make(ratio(2, "common_lb_config: {close_connections_on_host_set_change: true}"))
        first = self.mesh.connect()
        self.update(HOST, OTHER)
        self.assertEqual((1, 1), self.cx("active", "destroy_local"))
        self.leave([first])
        self.assertEqual((0,), self.cx("active"))

    def test_cluster_removed(self) -> None:
        """When the cluster is removed too, and its statistics stay until the last client has
        gone.
        """
        self.mesh.clusters.remove("c")
        self.mesh.network.pump()
        self.assertEqual((1, 1, 2), self.cx("active", "destroy_local", "total"))
        self.leave([self.first])
        self.assertEqual({}, self.mesh.stats("cluster.c."))

    def test_cluster_replaced(self) -> None:
        """What a cluster made ahead is not for its successor."""
        self.mesh.add_cluster("c", HOST, more=ratio(3))
        self.mesh.network.pump()
        self.assertEqual((1, 1), self.cx("active", "destroy_local"))
        self.mesh.connect()
        self.assertEqual((4,), self.cx("active"))


class AttemptTests(PoolTestCase):
    """Attempts that come to nothing."""

    def test_refused(self) -> None:
        """When one attempt fails those who wait have failed; what was made ahead fails on its
        own.
        """
        self.make(ratio(3), filter="cluster: c, max_connect_attempts: 2")
        self.mesh.network.refused.add(address_of(HOST))
        self.assertTrue(self.mesh.connect().ended)
        expected = {
            "connect_attempts_exceeded": 1,
            "connect_fail": 6,
            "destroy": 6,
            "destroy_remote": 6,
            "total": 6,
        }
        self.assertEqual(expected, self.mesh.moved("cluster.c.upstream_cx_"))
        self.assertEqual((2, 2), self.rq("pending_failure_eject", "pending_total"))
        self.assertEqual("UF,URX", self.flags())

    def test_timeout(self) -> None:
        """What was made ahead times out like any other."""
        self.make(ratio(2, "connect_timeout: 1s"))
        self.mesh.network.silent.add(address_of(HOST))
        client = self.mesh.connect()
        self.assertEqual((2, 0), self.cx("active", "connect_fail"))
        self.mesh.network.advance(1)
        self.assertTrue(client.ended)
        self.assertEqual(
            (2, 2, 2, 0), self.cx("connect_timeout", "connect_fail", "destroy_local", "active")
        )

    def test_not_again_at_once(self) -> None:
        """What was made ahead and failed is not made again before the next client comes."""
        self.make(ratio(2))
        self.mesh.connect()
        self.leave([])
        self.mesh.network.refused.add(address_of(HOST))
        self.mesh.connect()
        self.assertEqual((4, 2), self.cx("total", "connect_fail"))

    def test_cancelled(self) -> None:
        """A client who gives up takes one attempt along, and those made ahead for others go on."""
        self.make(
            ratio(2, "connect_timeout: 3s"),
            filter="cluster: c, max_downstream_connection_duration: 1s",
        )
        self.mesh.network.silent.add(address_of(HOST))
        self.assertFalse(self.mesh.connect().ended)
        self.mesh.network.advance(1)
        self.assertEqual((1, 1, 0), self.cx("active", "destroy_local", "connect_fail"))
        self.assertEqual((1, 0), self.rq("cancelled", "pending_active"))
        self.mesh.network.advance(2)
        self.assertEqual((0, 2, 1), self.cx("active", "destroy_local", "connect_timeout"))

    def test_host_removed_meanwhile(self) -> None:
        """Attempts to a host that is removed go on where somebody waits, and else have failed."""
        for duration, expected in (("1s", (0, 1, 2)), ("60s", (2, 0, 0))):
            self.mesh = self.make_mesh(1)
            self.make(
                ratio(2, "connect_timeout: 9s"),
                filter=f"cluster: c, max_downstream_connection_duration: {duration}",
            )
            self.mesh.network.silent.add(address_of(HOST))
            self.mesh.connect()
            self.mesh.network.advance(2)
            self.mesh.tell_hosts("c", Assignment())
            self.assertEqual(expected, self.cx("active", "connect_fail", "destroy_local"))

    def test_drained_while_connecting(self) -> None:
        """A client who waits for a host that is removed gets its connection; what else was under
        way is given up.
        """
        self.make(ratio(2))
        self.mesh.dial("127.0.0.1:1")
        while not self.rq("pending_active")[0]:
            self.mesh.network.step()
        self.mesh.tell_hosts("c", Assignment())
        self.mesh.network.pump()
        self.assertEqual((1, 1), (*self.rq("active"), *self.cx("active")))

    def test_failing_while_connecting(self) -> None:
        """With close_connections_on_host_health_failure attempts have failed with their host, for
        those who wait as well.
        """
        self.make(ratio(2, "close_connections_on_host_health_failure: true"))
        self.mesh.network.silent.add(address_of(HOST))
        client = self.mesh.connect()
        self.mesh.set_flags("c", HOST, add=HealthFlag.failed_active_hc)
        self.mesh.network.pump()
        self.assertTrue(client.ended)
        self.assertEqual((0, 2, 2), self.cx("active", "connect_fail", "destroy_local"))


class PredictiveTests(PoolTestCase):
    """Connections to the hosts that will be picked next."""

    def totals(self, policy: str, predictive: float, clients: int = 6) -> list[int]:
        """What is in cx_total as clients come."""
        self.mesh = self.make_mesh(1)
        more = (
            f"lb_policy: {policy}\npreconnect_policy: {{predictive_preconnect_ratio: {predictive}}}"
        )
        self.make(more, HOST, OTHER, THIRD)
        seen: list[int] = []
        for _ in range(clients):
            self.mesh.connect()
            seen += self.cx("total")
        return seen

    def test_round_robin(self) -> None:
        """Round robin knows its next hosts: the numbers are those that Envoy was seen to have."""
        self.assertEqual([3, 3, 5, 6, 8, 9], self.totals("ROUND_ROBIN", 1.5))
        self.assertEqual([3, 4, 6, 7, 8, 9], self.totals("ROUND_ROBIN", 2))
        self.assertEqual([3, 4, 5, 6, 7, 8], self.totals("ROUND_ROBIN", 3))
        self.assertEqual(
            [3, 3, 2], sorted((len(server.built) for server in self.servers), reverse=True)
        )

    def test_random(self) -> None:
        """A random choice is made beforehand and kept."""
        totals = self.totals("RANDOM", 3)
        self.assertGreater(totals[0], 1)
        self.assertEqual((6,), self.rq("active"))

    def test_unforeseen(self) -> None:
        """What goes by the client, or by the hosts' load at that moment, cannot be foreseen: then
        nothing is made ahead.
        """
        for policy in ("RING_HASH", "MAGLEV", "LEAST_REQUEST"):
            self.assertEqual([1, 2, 3, 4, 5, 6], self.totals(policy, 3))

    def test_least_request_by_weight(self) -> None:
        """Hosts of different weight take turns, which can be foreseen, with LEAST_REQUEST too."""
        message = cluster_message(
            "c",
            (HOST, OTHER),
            "lb_policy: LEAST_REQUEST\npreconnect_policy: {predictive_preconnect_ratio: 2}",
        )
        message.load_assignment.endpoints[0].lb_endpoints[1].load_balancing_weight.value = 2
        for host in (HOST, OTHER):
            self.mesh.upstream(host)
        self.mesh.clusters.add_or_update(message)
        self.mesh.serve()
        self.mesh.connect()
        self.assertGreater(self.cx("total")[0], 1)

    def test_hosts_change(self) -> None:
        """What was foreseen of hosts that are gone is forgotten."""
        self.totals("ROUND_ROBIN", 3, clients=1)
        self.mesh.tell_hosts("c", assignment(cluster_message("c", (OTHER,)).load_assignment))
        for _ in range(3):
            self.assertFalse(self.mesh.connect().ended)
        self.assertEqual(
            {OTHER}, {str(host.address) for host in self.cluster.hosts if host.rq_total}
        )
        self.assertEqual((4,), self.rq("total"))

    def test_both(self) -> None:
        """Both ratios count together."""
        more = (
            "preconnect_policy: {predictive_preconnect_ratio: 2, per_upstream_preconnect_ratio: 2}"
        )
        self.make(more, HOST, OTHER, THIRD)
        self.mesh.connect()
        self.assertEqual((4,), self.cx("total"))

    def test_second_listener(self) -> None:
        """A client of another filter gets what was made ahead, for the cluster is the same."""
        self.make("preconnect_policy: {per_upstream_preconnect_ratio: 2}")
        self.mesh.connect()
        self.mesh.add_listener("m", "127.0.0.1:2", tcp_proxy("cluster: c"))
        self.mesh.connect("127.0.0.1:2")
        self.assertEqual((1, 2), self.rq("pending_total", "total"))
