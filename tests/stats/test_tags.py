"""Tags of names: `tcpmesh.stats.tags`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.tags import Tagger, TagRule

SEEN = {
    "cluster.c.upstream_cx_total": ("cluster.upstream_cx_total", {"cluster_name": "c"}),
    "cluster.a.b.upstream_cx_total": ("cluster.b.upstream_cx_total", {"cluster_name": "a"}),
    "cluster.c.endpoint.127.0.0.1_80.cx_total": (
        "cluster.endpoint.cx_total",
        {"cluster_name": "c", "endpoint_address": "127.0.0.1:80"},
    ),
    "cluster.c.endpoint.[__1]_80.cx_total": (
        "cluster.endpoint.cx_total",
        {"cluster_name": "c", "endpoint_address": "[::1]:80"},
    ),
    "cluster.c.ssl.curves.X25519": (
        "cluster.ssl.curves",
        {"ssl_curve": "X25519", "cluster_name": "c"},
    ),
    "cluster.c.ssl.certificate.x.expiration_unix_time_seconds": (
        "cluster.ssl.certificate.expiration_unix_time_seconds",
        {"tls_certificate": "x", "cluster_name": "c"},
    ),
    "listener.127.0.0.1_80.downstream_cx_total": (
        "listener.downstream_cx_total",
        {"listener_address": "127.0.0.1_80"},
    ),
    "listener.[__1]_80.worker_1.downstream_cx_total": (
        "listener.worker_downstream_cx_total",
        {"worker_id": "1", "listener_address": "[__1]_80"},
    ),
    "listener.my.prefix.worker_0.downstream_cx_total": (
        "listener.prefix.worker_0.downstream_cx_total",
        {"listener_address": "my"},
    ),
    "listener./run/x.sock.downstream_cx_total": (
        "listener.sock.downstream_cx_total",
        {"listener_address": "/run/x"},
    ),
    "listener.127.0.0.1_80.ssl.versions.TLSv1.3": (
        "listener.ssl.versions",
        {"ssl_version": "TLSv1.3", "listener_address": "127.0.0.1_80"},
    ),
    "listener.127.0.0.1_80.ssl.no_certificate": (
        "listener.ssl.no_certificate",
        {"listener_address": "127.0.0.1_80"},
    ),
    "listener.admin.main_thread.downstream_cx_total": (
        "listener.admin.main_thread.downstream_cx_total",
        {},
    ),
    "listener_manager.worker_0.dispatcher.loop_duration_us": (
        "listener_manager.worker_dispatcher.loop_duration_us",
        {"worker_id": "0"},
    ),
    "server.worker_1.watchdog_miss": ("server.worker_watchdog_miss", {"worker_id": "1"}),
    "server.main_thread.watchdog_miss": ("server.main_thread.watchdog_miss", {}),
    "http.admin.downstream_rq_2xx": (
        "http.downstream_rq_xx",
        {"response_code_class": "2", "http_conn_manager_prefix": "admin"},
    ),
    "http.x.user_rq_503": (
        "http.user_rq",
        {"response_code": "503", "http_conn_manager_prefix": "x"},
    ),
    "tcp.p_q.downstream_cx_total": ("tcp.downstream_cx_total", {"tcp_prefix": "p_q"}),
    "tcp.a.b.downstream_cx_total": ("tcp.b.downstream_cx_total", {"tcp_prefix": "a"}),
    "proxy_proto.versions.v1.found": ("proxy_proto.found", {"proxy_protocol_version": "1"}),
    "proxy_proto.p.versions.v2.error": (
        "proxy_proto.error",
        {"proxy_protocol_prefix": "p", "proxy_protocol_version": "2"},
    ),
    "proxy_proto.p.not_found_allowed": (
        "proxy_proto.not_found_allowed",
        {"proxy_protocol_prefix": "p"},
    ),
    "proxy_proto.not_found_allowed": ("proxy_proto.not_found_allowed", {}),
    "p.rbac.shadow.shadow_denied": ("rbac.shadow.shadow_denied", {"rbac_prefix": "p"}),
    "connection_limit.p.active_connections": (
        "connection_limit.active_connections",
        {"connection_limit_prefix": "p"},
    ),
    "local_rate_limit.p.rate_limited": (
        "local_rate_limit.rate_limited",
        {"local_network_ratelimit_prefix": "p"},
    ),
    "listener_local_ratelimit.p.rate_limited": (
        "listener_local_ratelimit.rate_limited",
        {"local_listener_ratelimit_prefix": "p"},
    ),
    "ratelimit.p.total": ("ratelimit.total", {"ratelimit_prefix": "p"}),
    "sds.my.secret.update_success": ("sds.secret.update_success", {"xds_resource_name": "my"}),
    "ext_authz.p.ok": ("ext_authz.p.ok", {}),
    "cluster_manager.cluster_added": ("cluster_manager.cluster_added", {}),
    "runtime.load_error": ("runtime.load_error", {}),
}
"""Names, what is left of them, and their tags (without `envoy.`), as the real Envoy exposes
them.
"""


class DefaultTagTests(SynchronousTestCase):
    """The rules that are on by default."""

    def test_as_envoy(self) -> None:
        """Names of all rooms of an L4 proxy are split as Envoy splits them, the order of tags
        included.
        """
        tagger = Tagger()
        for name, (left, tags) in SEEN.items():
            found = tagger.tag(name)
            want = [(f"envoy.{tag}", value) for tag, value in tags.items()]
            self.assertEqual((left, want), (found[0], list(found[1])), name)
            self.assertIs(found, tagger.tag(name))

    def test_cipher_of_a_cluster(self) -> None:
        """The cipher of a cluster has a tag without the prefix that all others have."""
        self.assertEqual(
            ("cipher_suite", "ECDHE-RSA-AES128-GCM-SHA256"),
            Tagger().tag("cluster.c.ssl.ciphers.ECDHE-RSA-AES128-GCM-SHA256")[1][0],
        )

    @given(st.text())
    def test_any_name(self, name: str) -> None:
        """Any text can be asked, and no more than its tags is cut out of it."""
        left, tags = Tagger().tag(name)
        self.assertLessEqual(
            len(left) + sum(len(value) for tag, value in tags if tag != "envoy.endpoint_address"),
            len(name),
        )


class RuleTests(SynchronousTestCase):
    """Rules of one's own."""

    def test_one_group(self) -> None:
        """An expression with one group cuts out its value."""
        self.assertEqual(
            ("tcp..total", (("zone", "b"),)),
            Tagger([TagRule("zone", r"^tcp\.(\w+)\.")]).tag("tcp.b.total"),
        )

    def test_first_of_a_tag_counts(self) -> None:
        """Of two rules for one tag the first that finds something decides, and overlapping cuts are
        no trouble.
        """
        rules = [TagRule("t", r"^(a\.(b)\.)"), TagRule("t", r"(\.c)"), TagRule("u", r"a(\.b\.(c))")]
        self.assertEqual(("", (("t", "b"), ("u", "c"))), Tagger(rules).tag("a.b.c"))

    def test_rules_with_a_word(self) -> None:
        """Rules that want names to begin with a word are asked after all others."""
        rules = [TagRule("t", r"^a\.(b)", "a"), TagRule("t", r"(c)")]
        self.assertEqual(("a.b", (("t", "c"),)), Tagger(rules).tag("a.b.c"))
        self.assertEqual(("a", (("t", "b"),)), Tagger(rules).tag("a.b"))
