"""Clients and upstreams that do anything at any time: whatever happened, in the end the sums are
right and nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tcpmesh.testing.harness import Server
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HealthFlag
from tests.mesh import MeshTestCase, tcp_proxy

HOSTS = ("127.0.0.2:80", "127.0.0.3:80")
FIELDS = (
    "cluster: c, idle_timeout: 4s, max_connect_attempts: 3",
    "cluster: c, idle_timeout: 5s, max_downstream_connection_duration: 3s,"
    " max_downstream_connection_duration_jitter_percentage: {value: 50}",
    "weighted_clusters: {clusters: [{name: c, weight: 1}, {name: d, weight: 2}]}, "
    "max_connect_attempts: 2, idle_timeout: 2s,"
    " backoff_options: {base_interval: 0.5s}",
    "cluster: e, idle_timeout: 3s, max_connect_attempts: 2, upstream_connect_mode: "
    "ON_DOWNSTREAM_DATA, max_early_data_bytes: 2000",
    "cluster: e, idle_timeout: 6s, max_early_data_bytes: 100",
    "cluster: f, idle_timeout: 4s, max_connect_attempts: 2",
    "cluster: f, idle_timeout: 5s, max_downstream_connection_duration: 3s, "
    "max_early_data_bytes: 100",
)
BUSY = (
    "connect_timeout: 1s\ncircuit_breakers: {thresholds: [{max_pending_requests: 3}], "
    "per_host_thresholds: [{max_connections: 1}]}"
)
AHEAD = """
connect_timeout: 1s
preconnect_policy: {per_upstream_preconnect_ratio: 2.5, predictive_preconnect_ratio: 2}
circuit_breakers: {thresholds: [{max_connections: 12}]}
typed_extension_protocol_options:
  envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions
    idle_timeout: 3s
"""


class Chaos:
    """One run, in which a random number generator decides who does what."""

    def __init__(self, case: MeshTestCase, seed: int) -> None:
        self.random = Random(seed)
        self.mesh = case.make_mesh(seed)
        self.mesh.network.steps._choose = self.random.randrange
        self.ends: list[Any] = []
        self.servers = [self.mesh.upstream(host) for host in HOSTS]
        self.replace_cluster()
        self.mesh.add_cluster(
            "d", HOSTS[1], more="circuit_breakers: {thresholds: [{max_connections: 2}]}"
        )
        self.mesh.add_cluster("e", *HOSTS, more=BUSY)
        self.mesh.add_cluster("f", *HOSTS, more=AHEAD)
        for port, fields in enumerate(FIELDS, 1):
            self.mesh.add_listener(
                f"l{port}",
                f"127.0.0.1:{port}",
                tcp_proxy(fields),
                "per_connection_buffer_limit_bytes: 5000",
            )
        self.mesh.listeners.start()

    def run(self, acts: int) -> None:
        """Do so many things, then let everybody leave."""
        choices = [
            self.dial,
            self.act,
            self.act,
            self.act,
            self.steps,
            self.steps,
            self.wait,
            self.trouble,
            self.replace_cluster,
            self.illness,
        ]
        for _ in range(acts):
            self.random.choice(choices)()
        self.mesh.network.silent.clear()
        for end in self.all_ends():
            end.transport.abortConnection()
        for _ in range(80):
            self.mesh.network.advance(0.25)

    def all_ends(self) -> list[Any]:
        """All protocols that have had a transport."""
        servers = [
            end for server in self.servers if isinstance(server, Server) for end in server.built
        ]
        return [end for end in (*self.ends, *servers) if end.transport is not None]

    def dial(self) -> None:
        """A new client."""
        recorder = self.mesh.dial(f"127.0.0.1:{self.random.randint(1, len(FIELDS))}").given
        self.ends.append(recorder)

    def act(self) -> None:
        """One end of some connection does something."""
        ends = self.all_ends()
        if ends:
            transport = self.random.choice(ends).transport
            acts: list[Callable[[], object]] = [
                lambda: transport.write(b"x" * self.random.choice((1, 100, 70_000, 200_000))),
                lambda: transport.write(b"y" * 300),
                transport.pauseProducing,
                transport.resumeProducing,
                transport.loseWriteConnection,
                transport.loseConnection,
                transport.abortConnection,
            ]
            self.random.choice(acts)()

    def steps(self) -> None:
        """A few of the things that can happen do."""
        for _ in range(self.random.randrange(30)):
            self.mesh.network.step()

    def wait(self) -> None:
        """Time passes."""
        self.mesh.clock.advance(self.random.choice((0.0, 0.1, 0.7)))
        self.mesh.store.collect()

    def trouble(self) -> None:
        """A host begins or ceases to refuse, or to be silent."""
        address = Address(self.random.choice(("127.0.0.2", "127.0.0.3")), 80)
        self.random.choice(
            (self.mesh.network.refused, self.mesh.network.silent)
        ).symmetric_difference_update({address})

    def illness(self) -> None:
        """A host becomes unhealthy, or healthy again."""
        cluster: Any = self.mesh.cluster("f")
        host = self.random.choice(cluster.hosts)
        failed = HealthFlag.failed_active_hc
        if host.flags & failed:
            self.mesh.set_flags("f", str(host.address), remove=failed)
        else:
            self.mesh.set_flags("f", str(host.address), add=failed)

    def replace_cluster(self) -> None:
        """The cluster c gets other hosts."""
        hosts = self.random.sample(HOSTS, self.random.randint(0, 2))
        self.mesh.add_cluster("c", *hosts, more=f"connect_timeout: {self.random.randint(1, 3)}s")


class ChaosTests(MeshTestCase):
    """Many runs, each of which can be repeated by its number."""

    def test_sums(self) -> None:
        """Every connection is destroyed once and by somebody, gauges are 0 again, flags tell why,
        and no timer is left.
        """
        for seed in range(60):
            chaos = Chaos(self, seed)
            chaos.run(150)
            self.check(chaos, f"run {seed}")

    def check(self, chaos: Chaos, run: str) -> None:
        """What must hold once everybody has left."""
        mesh = chaos.mesh
        for name in "cdef":
            stats = mesh.stats(f"cluster.{name}.upstream_")
            total, pending = stats["cx_total"], stats["rq_pending_total"]
            self.assertEqual(total, stats["cx_destroy"], run)
            self.assertEqual(total, stats["cx_destroy_local"] + stats["cx_destroy_remote"], run)
            self.assertEqual(stats["rq_total"], stats["cx_destroy_with_active_rq"], run)
            self.assertEqual(total, mesh.times(f"cluster.{name}.upstream_cx_length_ms")[0], run)
            if name == "f":
                continue  # whose connections are not for one client each
            self.assertEqual(
                pending,
                stats["rq_total"] + stats["rq_pending_failure_eject"] + stats["rq_cancelled"],
                run,
            )
            # Those who wait for their host and leave have had no connection.
            self.assertTrue(total <= pending if name == "e" else total == pending, run)
            ejected, failed = stats["rq_pending_failure_eject"], stats["cx_connect_fail"]
            self.assertTrue(ejected >= failed if name == "e" else ejected == failed, run)
        gauges = {
            gauge.name: gauge.tally
            for gauge in mesh.store.gauges()
            if "active" in gauge.name or "buffered" in gauge.name
        }
        del (
            gauges["cluster_manager.active_clusters"],
            gauges["listener_manager.total_listeners_active"],
        )
        self.assertEqual({}, {name: value for name, value in gauges.items() if value}, run)
        accepted = len(mesh.connections)
        self.assertEqual(accepted, mesh.stat("tcp.t.downstream_cx_total"), run)
        destroyed = sum(
            mesh.stat(f"listener.127.0.0.1_{port}.downstream_cx_destroy")
            for port in range(1, len(FIELDS) + 1)
        )
        self.assertEqual(accepted, destroyed, run)
        flags = [str(connection.stream_info.flags) for connection in mesh.connections]
        self.assertEqual(
            mesh.stat("tcp.t.max_downstream_connection_duration"),
            sum("DT" in each for each in flags),
            run,
        )
        exceeded = sum(
            mesh.stat(f"cluster.{name}.upstream_cx_connect_attempts_exceeded") for name in "cdef"
        )
        self.assertEqual(exceeded, sum("URX" in each for each in flags), run)
        overflows = sum("UO" in each for each in flags)
        mine = mesh.stat("cluster.d.upstream_cx_overflow")
        self.assertTrue(
            mine <= overflows <= mine + mesh.stat("cluster.f.upstream_cx_overflow"), run
        )
        paused = mesh.stat("tcp.t.downstream_flow_control_paused_reading_total")
        self.assertTrue(
            mesh.stat("tcp.t.downstream_flow_control_resumed_reading_total") <= paused, run
        )
        for name in "ef":
            pools: Any = mesh.cluster(name).pools  # type: ignore[union-attr]
            self.assertEqual(
                (0, 0, 0, {}), (pools.waiting, pools.active, pools.provided, pools._pools), run
            )
        self.assertEqual([], mesh.clock.getDelayedCalls(), run)
