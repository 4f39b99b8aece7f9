"""Runtime values in a whole proxy: what changes when an operator sets one."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.mesh import Mesh, address_of
from tcpmesh.values.hosts import HealthFlag

LIMIT = "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
FRONT = "127.0.0.1:1"
OTHER = "127.0.0.1:2"
HOSTS = ("127.0.0.2:80", "127.0.0.3:80", "127.0.0.4:80")


def address(text: str) -> str:
    """An address in YAML."""
    host, port = text.split(":")
    return f"{{socket_address: {{address: {host}, port_value: {port}}}}}"


class RuntimeTestCase(SynchronousTestCase):
    """A proxy with an admin layer, a cluster of three hosts and two listeners."""

    def begin(
        self, *, cluster: str = "", listener: str = "", limit: str = "", values: str = ""
    ) -> None:
        """Further fields of the cluster, of the second listener and of a connection limit of the
        first, and runtime values from the start.
        """
        limits = f'{{name: l, typed_config: {{"@type": {LIMIT}, {limit}}}}}, ' if limit else ""
        proxy = f'{{name: t, typed_config: {{"@type": {PROXY}, stat_prefix: t, cluster: c}}}}'
        hosts = ", ".join(f"{{endpoint: {{address: {address(host)}}}}}" for host in HOSTS)
        self.mesh = Mesh(f"""
layered_runtime:
  layers: [{{name: s, static_layer: {{{values}}}}}, {{name: a, admin_layer: {{}}}}]
static_resources:
  listeners:
  - {{name: l, address: {address(FRONT)}, filter_chains: [{{filters: [{limits}{proxy}]}}]}}
  - {{name: o, address: {address(OTHER)}, filter_chains: [{{filters: [{proxy}]}}] {listener}}}
  clusters:
  - name: c
    load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{hosts}]}}]}}
    {cluster}
""")
        self.backends = [self.mesh.upstream(host) for host in HOSTS]

    def put(self, **values: str) -> None:
        """Set values; `__` in a key is a dot."""
        self.mesh.main.layers.modify({key.replace("__", "."): text for key, text in values.items()})

    def connects(self, where: str = FRONT) -> bool:
        """Whether a client is served."""
        self.client: Any = self.mesh.connect(where)
        return not self.client.ended


class LimitTests(RuntimeTestCase):
    """How many clients there may be."""

    def test_connection_limit(self) -> None:
        """The filter connection_limit follows its runtime_enabled."""
        self.begin(
            limit="stat_prefix: p, max_connections: 1, runtime_enabled: {runtime_key: key, "
            "default_value: false}"
        )
        self.assertEqual([self.connects(), self.connects()], [True, True])
        self.put(key="true")
        self.assertEqual([self.connects(), self.connects()], [True, False])
        self.put(key="0")
        self.assertTrue(self.connects())
        self.put(key="")
        self.assertTrue(self.connects())
        self.assertEqual(self.mesh.stat("connection_limit.p.active_connections"), 1)

    def test_circuit_breakers(self) -> None:
        """The limits of a cluster are those of the runtime, and are shown so."""
        self.begin(
            cluster="circuit_breakers: {thresholds: [{max_connections: 5, track_remaining: true}, "
            "{priority: HIGH, track_remaining: true}]}"
        )
        remaining = "cluster.c.circuit_breakers.default.remaining_cx"
        self.assertTrue(self.connects())
        self.assertEqual(self.mesh.stat(remaining), 4)
        self.put(circuit_breakers__c__default__max_connections="2")
        self.put(circuit_breakers__other__default__max_connections="0")
        self.assertEqual([self.connects(), self.connects()], [True, False])
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_overflow"), 1)
        self.assertEqual(self.mesh.stat(remaining), 0)
        status = self.mesh.main.cluster_statuses()[0]
        self.assertEqual(status.default_priority.max_connections, 2)
        self.put(circuit_breakers__c__high__max_retries="7")
        status = self.mesh.main.cluster_statuses()[0]
        self.assertEqual(status.high_priority.max_retries, 7)
        self.assertEqual(self.mesh.stat("cluster.c.circuit_breakers.high.remaining_retries"), 7)
        self.put(circuit_breakers__c__default__max_connections="")
        self.assertTrue(self.connects())

    def test_circuit_breakers_from_the_start(self) -> None:
        """So are those that a layer has from the start."""
        self.begin(values="circuit_breakers.c.default.max_connections: 0")
        self.assertFalse(self.connects())

    def test_listener(self) -> None:
        """A listener has so many clients at most as its key says, also those that came before."""
        self.begin()
        self.assertTrue(self.connects())
        self.put(envoy__resource_limits__listener__l__connection_limit="2")
        self.assertEqual([self.connects(), self.connects()], [True, False])
        self.assertTrue(self.connects(OTHER))
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_overflow"), 1)
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_total"), 2)
        self.put(envoy__resource_limits__listener__l__connection_limit="")
        self.assertTrue(self.connects())

    def test_listener_room(self) -> None:
        """Who leaves makes room."""
        self.begin(values="envoy.resource_limits.listener.l.connection_limit: 1")
        self.assertTrue(self.connects())
        self.client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual([self.connects(), self.connects()], [True, False])

    def test_all(self) -> None:
        """All listeners together have so many clients at most, but for those that are exempt."""
        self.begin(listener=", ignore_global_conn_limit: true")
        self.put(overload__global_downstream_max_connections="2")
        self.assertEqual(
            [self.connects(OTHER), self.connects(), self.connects()], [True, True, False]
        )
        self.assertTrue(self.connects(OTHER))
        name = "listener.127.0.0.1_1.downstream_global_cx_overflow"
        self.assertEqual(self.mesh.stat(name), 1)
        self.put(overload__global_downstream_max_connections="no number")
        self.assertTrue(self.connects())


class BalancingTests(RuntimeTestCase):
    """Which hosts are picked."""

    def served(self) -> set[int]:
        """The hosts that get the next clients, by their places."""
        before = [len(each.built) for each in self.backends]
        for _ in range(9):
            self.connects()
        after = [len(each.built) for each in self.backends]
        return {
            place for place, (old, new) in enumerate(zip(before, after, strict=True)) if new > old
        }

    def test_panic(self) -> None:
        """The panic threshold is the runtime's, from one connection to the next."""
        self.begin(cluster="common_lb_config: {healthy_panic_threshold: {value: 0}}")
        entry = self.mesh.clusters.get("c")
        assert entry is not None
        for key in list(entry.membership.hosts)[:2]:
            entry.membership.set_flags(key, add=HealthFlag.failed_active_hc)
        self.mesh.advance(2)
        self.assertEqual(self.served(), {2})
        self.put(upstream__healthy_panic_threshold="50")
        self.assertEqual(self.served(), {0, 1, 2})
        self.put(upstream__healthy_panic_threshold="20")
        self.assertEqual(self.served(), {2})
        self.put(upstream__healthy_panic_threshold="")
        self.assertEqual(self.served(), {2})

    def test_outliers(self) -> None:
        """Outlier detection goes by the runtime."""
        self.begin(
            cluster="outlier_detection: {consecutive_5xx: 5, max_ejection_percent: 100}\n"
            "    common_lb_config: {healthy_panic_threshold: {value: 0}}"
        )
        self.mesh.network.refused = {address_of(HOSTS[0])}
        for _ in range(9):
            self.connects()
        self.assertEqual(self.mesh.stat("cluster.c.outlier_detection.ejections_active"), 0)
        self.put(outlier_detection__consecutive_5xx="4", outlier_detection__interval_ms="500")
        self.put(outlier_detection__base_ejection_time_ms="1500")
        for _ in range(3):
            self.connects()
        self.mesh.advance(0.1)
        self.assertEqual(self.mesh.stat("cluster.c.outlier_detection.ejections_active"), 1)
        self.mesh.network.refused = set()
        self.mesh.advance(10.0)
        self.assertEqual(self.mesh.stat("cluster.c.outlier_detection.ejections_active"), 0)
