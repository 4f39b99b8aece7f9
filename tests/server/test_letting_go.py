"""What is replaced or removed while the proxy serves is gone at once: nothing of it is left in
reference cycles, in main or in a worker.
"""

from __future__ import annotations

import gc
import json
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.testing.certificates import Authority
from tests.cycles import cycles
from tests.mesh import Mesh
from tests.server.reload.test_reloads import ReloadTestCase, cluster

EXTENSIONS = "type.googleapis.com/envoy.extensions."
HOURS = 20_000.0


def typed(kind: str, fields: str = "") -> str:
    """An extension, in YAML flow style; `kind` is what follows `envoy.extensions.`."""
    return f'{{name: x, typed_config: {{"@type": {EXTENSIONS}{kind}, {fields}}}}}'


def policy(kind: str, fields: str = "") -> str:
    """A `LoadBalancingPolicy`."""
    made = typed(f"load_balancing_policies.{kind}", fields)
    return f"{{policies: [{{typed_extension_config: {made}}}]}}"


def checks(*kinds: str) -> str:
    """Health checks."""
    common = "timeout: 1s, interval: 5s, unhealthy_threshold: 1, healthy_threshold: 1"
    return f"health_checks: [{', '.join(f'{{{common}, {kind}}}' for kind in kinds)}]"


def hosts(*addresses: str) -> str:
    """A `load_assignment`."""
    found = ", ".join(
        f"{{endpoint: {{address: {{socket_address: {{address: {address}, port_value: 81}}}}}}}}"
        for address in addresses
    )
    return f"load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{found}]}}]}}"


HOSTS = hosts("127.0.0.1", "127.0.0.2")
RAW = typed("transport_sockets.raw_buffer.v3.RawBuffer")
ROUND_ROBIN = policy("round_robin.v3.RoundRobin")
HTTP2 = f"""typed_extension_protocol_options: {{
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
    "@type": {EXTENSIONS}upstreams.http.v3.HttpProtocolOptions,
    explicit_http_config: {{http2_protocol_options: {{}}}}}}}}"""
TLS = "transport_sockets.tls.v3.UpstreamTlsContext"
PROXY = "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"

CLUSTERS = {
    "static": "",
    "connect checks": checks("tcp_health_check: {}"),
    "payload checks": checks('tcp_health_check: {send: {text: "61"}, receive: [{text: "61"}]}'),
    "http checks": checks("http_health_check: {path: /}"),
    "http2 checks": checks("http_health_check: {path: /, codec_client_type: HTTP2}"),
    "grpc checks": f"{checks('grpc_health_check: {}')}\n{HTTP2}",
    "two checks": checks("tcp_health_check: {}, name: a", "http_health_check: {path: /}, name: b"),
    "outliers": "outlier_detection: {}",
    "ring": "lb_policy: RING_HASH",
    "maglev": "lb_policy: MAGLEV",
    "bounded": "lb_policy: MAGLEV\ncommon_lb_config: {consistent_hashing_lb_config: "
    "{hash_balance_factor: 150}}",
    "least request": "lb_policy: LEAST_REQUEST",
    "random": "lb_policy: RANDOM",
    "subsets": "lb_subset_config: {fallback_policy: ANY_ENDPOINT, subset_selectors: [{keys: [a]}]}",
    "pools": "preconnect_policy: {per_upstream_preconnect_ratio: 2, "
    "predictive_preconnect_ratio: 2}",
    "breakers": "circuit_breakers: {thresholds: [{max_connections: 9, track_remaining: true}], "
    "per_host_thresholds: [{max_connections: 1}]}",
    "tls": f"transport_socket: {typed(TLS, 'sni: a')}",
    "per endpoint": "track_cluster_stats: {per_endpoint_stats: true}",
    "proxy header": f"transport_socket: {typed(PROXY, f'transport_socket: {RAW}')}",
    "matches": f"transport_socket_matches: [{{name: a, match: {{x: y}}, transport_socket: {RAW}}}]",
    "wrr": "load_balancing_policy: "
    + policy("wrr_locality.v3.WrrLocality", f"endpoint_picking_policy: {ROUND_ROBIN}"),
    "pick first": f"load_balancing_policy: {policy('pick_first.v3.PickFirst')}",
    "override": "load_balancing_policy: "
    + policy(
        "override_host.v3.OverrideHost",
        f"override_host_sources: [{{header: x}}], fallback_policy: {ROUND_ROBIN}",
    ),
}
"""What else a cluster has whose hosts are known."""

NAMED = {
    "strict dns": f"type: STRICT_DNS\n{hosts('a.example', 'b.example')}",
    "logical dns": f"type: LOGICAL_DNS\n{hosts('a.example')}",
    "original dst": "type: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED",
    "aggregate": "lb_policy: CLUSTER_PROVIDED\ncluster_type: "
    + typed("clusters.aggregate.v3.ClusterConfig", "clusters: [b]"),
}
"""Clusters whose hosts are found elsewhere."""


def logs(*loggers: str) -> str:
    """Access logs."""
    return f"access_log: [{', '.join(loggers)}]"


def proxies(more: str = "") -> str:
    """Filter chains with a tcp_proxy."""
    return chains(typed("filters.network.tcp_proxy.v3.TcpProxy", f"stat_prefix: t, {more}"))


def chains(*filters: str, more: str = "") -> str:
    """One filter chain."""
    return f"filter_chains: [{{filters: [{', '.join(filters)}], {more}}}]"


def before(kind: str, fields: str = "") -> str:
    """A network filter before a tcp_proxy."""
    return chains(
        typed(f"filters.network.{kind}", fields),
        typed("filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix: t, cluster: c"),
    )


def peeks(kind: str, fields: str = "") -> str:
    """A listener filter, and a tcp_proxy."""
    made = typed(f"filters.listener.{kind}", fields)
    return f"listener_filters: [{made}]\n{proxies('cluster: c')}"


def tls() -> str:
    """A transport socket with a certificate."""
    chain, key = (json.dumps(each.decode()) for each in Authority().issue("server.test"))
    pair = (
        f"{{certificate_chain: {{inline_string: {chain}}}, private_key: {{inline_string: {key}}}}}"
    )
    context = f"common_tls_context: {{tls_certificates: [{pair}]}}"
    return typed("transport_sockets.tls.v3.DownstreamTlsContext", context)


FILE = typed("access_loggers.file.v3.FileAccessLog", "path: /dev/null")
GRPC = "grpc_service: {envoy_grpc: {cluster_name: b}}"
GRPC_LOG = f"common_config: {{log_name: a, {GRPC}}}"

LISTENERS = {
    "plain": proxies("cluster: c"),
    "weighted": proxies("weighted_clusters: {clusters: [{name: c, weight: 1}]}"),
    "hashing": proxies("cluster: c, hash_policy: [{source_ip: {}}]"),
    "timeouts": proxies("cluster: c, idle_timeout: 5s, max_downstream_connection_duration: 9s"),
    "file log": proxies(f"cluster: c, {logs(FILE)}"),
    "listener log": f"{logs(FILE)}\n{proxies('cluster: c')}",
    "standard output": proxies(
        "cluster: c, " + logs(typed("access_loggers.stream.v3.StderrAccessLog"))
    ),
    "grpc log": proxies(
        "cluster: c, " + logs(typed("access_loggers.grpc.v3.TcpGrpcAccessLogConfig", GRPC_LOG))
    ),
    "otlp log": proxies(
        "cluster: c, "
        + logs(typed("access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig", GRPC_LOG))
    ),
    "fluentd": proxies(
        "cluster: c, "
        + logs(
            typed(
                "access_loggers.fluentd.v3.FluentdAccessLogConfig",
                "cluster: b, tag: a, stat_prefix: f, record: {a: b}",
            )
        )
    ),
    "echo": chains(typed("filters.network.echo.v3.Echo")),
    "direct response": chains(
        typed("filters.network.direct_response.v3.Config", "response: {inline_string: a}")
    ),
    "connection limit": before(
        "connection_limit.v3.ConnectionLimit", "stat_prefix: l, max_connections: 9, delay: 1s"
    ),
    "local rate limit": before(
        "local_ratelimit.v3.LocalRateLimit",
        "stat_prefix: l, token_bucket: {max_tokens: 9, fill_interval: 1s}",
    ),
    "rate limit": before(
        "ratelimit.v3.RateLimit",
        "stat_prefix: l, domain: d, descriptors: [{entries: [{key: a, value: b}]}], "
        f"rate_limit_service: {{{GRPC}, transport_api_version: V3}}",
    ),
    "ext_authz": before("ext_authz.v3.ExtAuthz", f"stat_prefix: l, {GRPC}"),
    "rbac": before(
        "rbac.v3.RBAC",
        "stat_prefix: l, rules: {policies: {a: {permissions: [{any: true}], "
        "principals: [{any: true}]}}}",
    ),
    "filter state": before(
        "set_filter_state.v3.Config",
        "on_new_connection: [{object_key: envoy.tcp_proxy.cluster, format_string: "
        "{text_format_source: {inline_string: c}}}]",
    ),
    "sni cluster": before("sni_cluster.v3.SniCluster"),
    "tls inspector": peeks("tls_inspector.v3.TlsInspector"),
    "http inspector": peeks("http_inspector.v3.HttpInspector"),
    "proxy protocol": peeks("proxy_protocol.v3.ProxyProtocol"),
    "original dst": peeks("original_dst.v3.OriginalDst"),
    "listener rate limit": peeks(
        "local_ratelimit.v3.LocalRateLimit",
        "stat_prefix: l, token_bucket: {max_tokens: 9, fill_interval: 1s}",
    ),
    "tls": chains(
        typed("filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix: t, cluster: c"),
        more=f"transport_socket: {tls()}",
    ),
    "tcp stats": chains(
        typed("filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix: t, cluster: c"),
        more="transport_socket: "
        + typed("transport_sockets.tcp_stats.v3.Config", f"transport_socket: {RAW}"),
    ),
    "client limit": chains(
        "{name: x, typed_config: {'@type': "
        "type.googleapis.com/tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit, "
        "stat_prefix: l, max_connections: 5}}",
        typed("filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix: t, cluster: c"),
    ),
    "matcher": f"""filter_chain_matcher: {{matcher_tree: {{
  input: {{name: p, typed_config: {{
    "@type": {EXTENSIONS}matching.common_inputs.network.v3.SourcePortInput}}}},
  exact_match_map: {{map: {{"1": {{action: {{name: x, typed_config: {{
    "@type": type.googleapis.com/google.protobuf.StringValue, value: x}}}}}}}}}}}},
  on_no_match: {{action: {{name: x, typed_config: {{
    "@type": type.googleapis.com/google.protobuf.StringValue, value: x}}}}}}}}
{proxies("cluster: c").replace("[{", "[{name: x, ", 1)}""",
}
"""Listeners of all kinds."""


class Unanswered:
    """Names that nobody resolves."""

    def resolve(self, name: str, family: Any) -> Deferred[Any]:
        """Later."""
        return Deferred()


class Base(SynchronousTestCase):
    """A proxy that serves, and one resource of it that is replaced or removed."""

    def setUp(self) -> None:
        """With upstreams."""
        self.mesh = mesh = Mesh(seed=1)
        mesh.resolve_with(Unanswered())  # type: ignore[arg-type]
        for host in ("127.0.0.1:81", "127.0.0.2:81"):
            mesh.upstream(host)
        mesh.add_cluster("b", "127.0.0.1:81")
        # What there is already need not be looked at each time.
        gc.freeze()
        self.addCleanup(gc.unfreeze)

    def leave(self, client: Any) -> None:
        """A client leaves."""
        client.transport.abortConnection()
        self.mesh.pump()


class ClusterTests(Base):
    """Clusters."""

    def setUp(self) -> None:
        """With a listener before the cluster."""
        super().setUp()
        self.mesh.serve()

    def change(self, message: Any, client: Any) -> None:
        """Replace it, remove it, and let its client leave."""
        self.mesh.clusters.add_or_update(message)
        self.mesh.advance(20)
        self.mesh.clusters.remove("c")
        self.mesh.advance(20)
        if client is not None:
            self.leave(client)
        self.mesh.stats()

    def left(self, more: str, is_used: bool) -> list[str]:
        """What a cluster of this kind leaves behind."""
        first, second = (self.cluster(timeout, more) for timeout in (1, 2))
        self.mesh.clusters.add_or_update(first)
        self.mesh.advance(10)
        client = self.mesh.connect() if is_used else None
        self.mesh.advance(10)
        return cycles(partial(self.change, second, client))

    def cluster(self, timeout: int, more: str) -> Any:
        """A `cluster.v3.Cluster`."""
        lines = ["- name: c", f"connect_timeout: {timeout}s", *more.splitlines()]
        text = "static_resources:\n  clusters:\n  " + "\n    ".join(lines)
        return load(config_yaml=text).bootstrap.static_resources.clusters[0]

    def test_known_hosts(self) -> None:
        """A cluster of any kind, used or not, leaves nothing behind."""
        for name, more in CLUSTERS.items():
            self.assertEqual([], self.left(f"{HOSTS}\n{more}", True), name)

    def test_hosts_found(self) -> None:
        """Nor does one whose hosts are named elsewhere, nor one that nobody has found any of."""
        for name, more in NAMED.items():
            self.assertEqual([], self.left(more, False), name)


class ListenerTests(Base):
    """Listeners."""

    def setUp(self) -> None:
        """With a cluster behind the listener."""
        super().setUp()
        self.mesh.add_cluster("c", "127.0.0.2:81")
        self.mesh.listeners.start()

    def listener(self, port: int, more: str) -> Any:
        """A `listener.v3.Listener`."""
        lines = [
            "- name: l",
            f"address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}",
            *more.splitlines(),
        ]
        text = "static_resources:\n  clusters: [{name: b}, {name: c}]\n  listeners:\n  "
        text += "\n    ".join(lines)
        return load(config_yaml=text).bootstrap.static_resources.listeners[0]

    def change(self, messages: list[Any], client: Any) -> None:
        """Update it, replace it and remove it."""
        for message in messages:
            self.mesh.listeners.add_or_update(message)
            self.mesh.advance(HOURS)
        self.leave(client)
        self.mesh.listeners.remove("l")
        self.mesh.advance(HOURS)
        self.mesh.stats()

    def left(self, more: str) -> list[str]:
        """What a listener of this kind leaves behind."""
        first, other = (self.listener(port, more) for port in (1, 2))
        in_place = type(first)()
        in_place.CopyFrom(first)
        in_place.filter_chains[0].transport_socket_connect_timeout.seconds = 3
        self.mesh.listeners.add_or_update(first)
        self.mesh.advance(1)
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.advance(1)
        return cycles(partial(self.change, [in_place, other], client))

    def test_listeners(self) -> None:
        """A listener of any kind leaves nothing behind, be it updated, replaced or removed."""
        for name, more in LISTENERS.items():
            self.assertEqual([], self.left(more), name)


class ReloadTests(ReloadTestCase):
    """Whole configurations."""

    def test_reload(self) -> None:
        """A reload that is applied leaves nothing behind of how it could have been taken back."""
        self.put(clusters=[cluster("a"), cluster("b")])
        server = self.start()
        left = cycles(partial(self.reload, server, clusters=[cluster("a", "127.0.0.2:2")]))
        self.assertEqual([], [each for each in left if "reload" in each])
