"""What a configuration comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster import cluster, membership
from tcpmesh.cluster.balancing.priority_load import PANIC_THRESHOLD
from tcpmesh.cluster.hosts import load_assignment as endpoints
from tcpmesh.config.explain import Group, Setting, as_dict, explain
from tcpmesh.config.explain.defaults import DEFAULTS
from tcpmesh.config.explain.no_effect import REASONS
from tcpmesh.config.explain.rows import Inside
from tcpmesh.config.explain.text import as_text
from tcpmesh.config.load import load
from tcpmesh.config.messages.types import find_type
from tcpmesh.config.text.problems import Place
from tcpmesh.extensions.clusters import original_dst
from tcpmesh.extensions.filters.listener import tls_inspector
from tcpmesh.extensions.filters.network.tcp_proxy import settings
from tcpmesh.extensions.load_balancing_policies import least_request, maglev, ring_hash
from tcpmesh.listener import handshakes, listener, listener_filters
from tcpmesh.server.settings import STATS_FLUSH_INTERVAL
from tests.config.texts import GOOD, changed, load_text

CLUSTER = "envoy.config.cluster.v3.Cluster"
PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def groups_of(text: str, kind: str, **options: Any) -> list[Group]:
    """The groups of a kind, wherever they are."""

    def below(groups: tuple[Group, ...]) -> list[Group]:
        return [found for group in groups for found in (group, *below(group.groups))]

    return [group for group in below(explain(load_text(text, **options))) if group.kind == kind]


def setting(group: Group, name: str) -> Setting:
    """The setting of a name."""
    return next(each for each in group.settings if each.name == name)


def shown(group: Group, name: str) -> tuple[Any, int]:
    """Value and line of a setting; line 0 for a default."""
    found = setting(group, name)
    return found.value, found.place.line if found.place is not None else 0


class ExplainTests(SynchronousTestCase):
    """Effective values and where they come from."""

    def test_what_is_written(self) -> None:
        """A value that is written has its line; durations and addresses are short."""
        (front,), (proxy,), (web,) = (
            groups_of(GOOD, kind) for kind in ("listener", "filter", "cluster")
        )

        self.assertEqual(("127.0.0.1:10000", 4), shown(front, "address"))
        self.assertEqual(("5s", 15), shown(proxy, "idle_timeout"))
        self.assertEqual(("web", 14), shown(proxy, "cluster"))
        self.assertEqual(("0.25s", 18), shown(web, "connect_timeout"))

    def test_defaults(self) -> None:
        """What is not written is there with Envoy's default, also where it is deep inside of
        messages that are not written.
        """
        (front,), (proxy,), (web,) = (
            groups_of(GOOD, kind) for kind in ("listener", "filter", "cluster")
        )

        self.assertEqual((1048576, 0), shown(front, "per_connection_buffer_limit_bytes"))
        self.assertEqual((1, 0), shown(proxy, "max_connect_attempts"))
        self.assertEqual(("ROUND_ROBIN", 0), shown(web, "lb_policy"))
        self.assertEqual((1024, 0), shown(web, "circuit_breakers.thresholds.max_connections"))

    def test_defaults_that_follow(self) -> None:
        """A default that follows from another field does so, and one that has no place here is left
        out.
        """
        (proxy,) = groups_of(
            changed(
                (
                    "idle_timeout: 5s",
                    "max_connect_attempts: 2\n          backoff_options: {base_interval: 0.2s}",
                )
            ),
            "filter",
        )
        self.assertEqual(("2s", 0), shown(proxy, "backoff_options.max_interval"))

        names = {each.name for each in groups_of(GOOD, "cluster")[0].settings}
        self.assertNotIn("dns_refresh_rate", names)
        self.assertNotIn("cleanup_interval", names)
        original = GOOD.partition("    load_assignment:")[0].replace(
            "type: STATIC", "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED"
        )
        (web,) = groups_of(original, "cluster")
        self.assertEqual((f"{original_dst.CLEANUP_INTERVAL:g}s", 0), shown(web, "cleanup_interval"))
        self.assertNotIn(
            "listener_filters_timeout",
            {each.name for each in groups_of(GOOD, "listener")[0].settings},
        )
        (front,) = groups_of(
            changed(("  - name: front", "  - name: front\n    use_original_dst: true")), "listener"
        )
        self.assertEqual(
            (f"{listener_filters.TIMEOUT:g}s", 0), shown(front, "listener_filters_timeout")
        )
        (web,) = groups_of(changed(("type: STATIC", "type: STRICT_DNS")), "cluster")
        self.assertEqual(("5s", 0), shown(web, "dns_refresh_rate"))

    def test_hosts(self) -> None:
        """Each host is there with its weight, and the priority and place of its locality."""
        (host,) = groups_of(
            changed(
                (
                    "      - lb_endpoints:",
                    "      - priority: 2\n        locality: {region: r, zone: z}\n        "
                    "lb_endpoints:",
                ),
                ("        - endpoint:", "        - load_balancing_weight: 7\n          endpoint:"),
            ).replace("priority: 2", "priority: 0"),
            "host",
        )

        self.assertEqual("127.0.0.2:8080", host.name)
        self.assertEqual((7, 26), shown(host, "load_balancing_weight"))
        self.assertEqual(("r/z", 24), shown(host, "locality"))
        self.assertEqual((0, 23), shown(host, "priority"))

    def test_places_of_extensions(self) -> None:
        """A filter is named with its type, and stands where its entry is."""
        (proxy,) = groups_of(GOOD, "filter")

        self.assertEqual((f"proxy ({PROXY})", 10), (proxy.name, proxy.place.line))

    def test_inside_of_extensions(self) -> None:
        """What an extension inside of another one is told is shown too, and one that is told
        nothing by its type.
        """
        loggers = "type.googleapis.com/envoy.extensions.access_loggers."
        (proxy,) = groups_of(
            changed(
                (
                    "idle_timeout: 5s",
                    f"access_log:\n"
                    f"          - {{name: a, typed_config: {{path: /dev/stdout, "
                    f"'@type': {loggers}file.v3.FileAccessLog}}}}\n"
                    f"          - {{name: b, typed_config: {{'@type': "
                    f"{loggers}stream.v3.StdoutAccessLog}}}}",
                )
            ),
            "filter",
        )
        self.assertEqual(("/dev/stdout", 16), shown(proxy, "access_log[0].typed_config.path"))
        self.assertEqual(
            ("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", 17),
            shown(proxy, "access_log[1].typed_config"),
        )

    def test_zero(self) -> None:
        """A zero that stands for something is told with it."""
        (proxy,) = groups_of(changed(("idle_timeout: 5s", "idle_timeout: 0s")), "filter")

        self.assertEqual(
            ("0s", "never"),
            (setting(proxy, "idle_timeout").value, setting(proxy, "idle_timeout").note),
        )

    def test_ignored(self) -> None:
        """What has no effect, and what is ignored because it is not supported yet, is shown with
        the reason.
        """
        text = changed(
            ("  - name: front", "  - name: front\n    reuse_port: true"),
            ("type: STATIC", "lrs_server: {self: {}}"),
        )
        (front,), (web,) = (
            groups_of(text, kind, allow_unsupported=True) for kind in ("listener", "cluster")
        )

        self.assertEqual(True, setting(front, "reuse_port").value)
        self.assertTrue(setting(front, "reuse_port").ignored)
        self.assertEqual("not supported yet", setting(web, "lrs_server").ignored)


class WritingTests(SynchronousTestCase):
    """The two forms."""

    def test_text(self) -> None:
        """People get a block for each listener and cluster, with the file and line, or the word
        default, in each line.
        """
        text = as_text(explain(load_text(GOOD)))

        self.assertIn("\n\nlistener front [--config-yaml:3]\n", text)
        self.assertIn("\n\ncluster web [--config-yaml:17]\n", text)
        self.assertRegex(
            text, r"\n +idle_timeout +5s +--config-yaml:15 +# a connection without a byte"
        )
        self.assertRegex(
            text, r"\n +per_connection_buffer_limit_bytes +1048576 \(1 MiB\) +Envoy's default "
        )
        self.assertRegex(
            text,
            r"\n +host 127.0.0.2:8080 \[--config-yaml:\d+\]: load_balancing_weight 1, priority "
            r"0\n?",
        )

    def test_line_ends(self) -> None:
        """A value with line ends, as most formats are, is shown on one line."""
        text = changed(("stat_prefix: tcp", 'stat_prefix: "a\\n\\té"'))

        self.assertIn(r" a\n\té ", as_text(explain(load_text(text))))

    def test_machine_form(self) -> None:
        """Machines get the same as JSON: a source is a place, or the word default."""
        explained = json.loads(json.dumps(as_dict(explain(load_text(GOOD)))))
        (front,), (web,) = explained["listeners"], explained["clusters"]

        self.assertEqual(["filter chain"], [group["kind"] for group in front["groups"]])
        settings = {each["name"]: each for each in web["settings"]}
        self.assertEqual(
            {"file": "--config-yaml", "line": 18, "column": 22},
            settings["connect_timeout"]["source"],
        )
        self.assertEqual("default", settings["lb_policy"]["source"])
        self.assertEqual(["127.0.0.2:8080"], [group["name"] for group in web["groups"]])


class DefaultsTests(SynchronousTestCase):
    """The table of defaults."""

    def test_fields_exist(self) -> None:
        """Every row names a field of a message type that exists, and one that is looked into is a
        message.
        """
        for full_name, rows in DEFAULTS.items():
            known = find_type(full_name).fields_by_name
            self.assertLessEqual(set(rows), set(known), full_name)
            for name, row in rows.items():
                self.assertTrue(
                    not isinstance(row.value, Inside) or known[name].message_type is not None,
                    f"{full_name}.{name}",
                )

    def test_limit_of_our_own(self) -> None:
        """A handshake has a limit where Envoy has none, which is said to be that of tcpmesh."""
        row = DEFAULTS["envoy.config.listener.v3.FilterChain"]["transport_socket_connect_timeout"]
        chain = FilterChain()
        value: Any = row.value
        self.assertIsNone(value(chain))
        chain.transport_socket.name = "tls"
        self.assertEqual((f"{handshakes.TIMEOUT:g}s", True), (value(chain), row.is_ours))
        group = Group("x", "", Place("f"), (Setting("t", "15s", None, is_ours=True),))
        self.assertIn("t  15s  tcpmesh's default", as_text([group]))

    def test_belief(self) -> None:
        """TLS that verifies nobody is said to."""
        sockets = "envoy.extensions.transport_sockets.tls.v3"
        value: Any = DEFAULTS[f"{sockets}.CommonTlsContext"]["validation_context"].value
        common = CommonTlsContext()
        self.assertEqual(value(common), "everybody: nothing is verified")
        common.validation_context_sds_secret_config.name = "x"
        self.assertIsNone(value(common))

    def test_same_as_served(self) -> None:
        """What is explained is what the other rooms do."""
        served = {
            (CLUSTER, "connect_timeout"): f"{cluster.CONNECT_TIMEOUT:g}s",
            (CLUSTER, "per_connection_buffer_limit_bytes"): cluster.BUFFER_LIMIT,
            (f"{CLUSTER}.CommonLbConfig", "update_merge_window"): f"{membership.MERGE_WINDOW:g}s",
            (f"{CLUSTER}.CommonLbConfig", "healthy_panic_threshold"): f"{PANIC_THRESHOLD}%",
            (f"{CLUSTER}.LeastRequestLbConfig", "choice_count"): least_request.CHOICE_COUNT,
            (f"{CLUSTER}.MaglevLbConfig", "table_size"): maglev.TABLE_SIZE,
            (f"{CLUSTER}.RingHashLbConfig", "minimum_ring_size"): ring_hash.MINIMUM_RING_SIZE,
            (f"{CLUSTER}.RingHashLbConfig", "maximum_ring_size"): ring_hash.MAXIMUM_RING_SIZE,
            (
                "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
                "overprovisioning_factor",
            ): endpoints.OVERPROVISIONING_FACTOR,
            (
                "envoy.config.listener.v3.Listener",
                "per_connection_buffer_limit_bytes",
            ): listener.BUFFER_LIMIT,
            (
                "envoy.config.bootstrap.v3.Bootstrap",
                "stats_flush_interval",
            ): f"{STATS_FLUSH_INTERVAL:g}s",
            (PROXY, "idle_timeout"): f"{settings.IDLE_TIMEOUT:g}s",
            (
                "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                "max_client_hello_size",
            ): tls_inspector.LARGEST,
        }

        for (full_name, name), value in served.items():
            self.assertEqual(value, DEFAULTS[full_name][name].value, f"{full_name}.{name}")


class WrittenTests(SynchronousTestCase):
    """What somebody wrote is told with its line, whatever it says."""

    def test_zero(self) -> None:
        """The zero of a field is no default where it is written."""
        text = changed(("    type: STATIC\n", "    type: STATIC\n    lb_policy: ROUND_ROBIN\n"))
        (group,) = groups_of(text, "cluster")
        found = setting(group, "lb_policy")

        self.assertEqual("ROUND_ROBIN", found.value)
        self.assertEqual(20, found.place.line if found.place else 0)
        self.assertIsNone(setting(groups_of(GOOD, "cluster")[0], "lb_policy").place)

    def test_null(self) -> None:
        """A field that is null is not written."""
        text = changed(("    type: STATIC\n", "    type: STATIC\n    lb_policy: null\n"))

        self.assertIsNone(setting(groups_of(text, "cluster")[0], "lb_policy").place)

    def test_filter_without_fields(self) -> None:
        """A filter that has no fields is shown by its name."""
        listener_filter = (
            "    listener_filters:\n    - name: dst\n      typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}\n"
        )
        text = changed(("    filter_chains:\n", f"{listener_filter}    filter_chains:\n"))

        self.assertIn("listener filter dst (envoy.extensions", as_text(explain(load_text(text))))

    def test_no_socket(self) -> None:
        """A listener without a socket is not said to accept clients at its address."""
        for binds, wanted in (("true", "clients are accepted here"), ("false", "nobody can")):
            text = changed(("  - name: front\n", f"  - name: front\n    bind_to_port: {binds}\n"))
            found = setting(groups_of(text, "listener")[0], "address")
            self.assertTrue(found.meaning.startswith(wanted), found.meaning)

    def test_second_source(self) -> None:
        """Of two sources the one counts whose value it is: a zero, or null, takes nothing back."""
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        file = path / "envoy.yaml"
        file.write_text(
            "node: {id: x, cluster: k}\nuse_tcp_for_dns_lookups: true\nstats_flush_interval: 7s\n"
        )
        text = (
            "{node: {id: '', cluster: '0'}, use_tcp_for_dns_lookups: false, "
            "stats_flush_interval: null}"
        )
        (process,) = explain(load(str(file), text))
        found = {each.name: each for each in process.settings}
        for name, value, place in (
            ("node.id", "x", str(file)),
            ("node.cluster", "0", "--config-yaml"),
            ("use_tcp_for_dns_lookups", True, str(file)),
            ("stats_flush_interval", "7s", str(file)),
        ):
            at = found[name].place
            self.assertEqual((value, place), (found[name].value, at.file if at else ""), name)


class NoEffectTests(SynchronousTestCase):
    """What nothing acts on, because of what stands elsewhere."""

    def said(self, text: str, kind: str) -> dict[str, str]:
        """The reasons by the names of the settings that have one."""
        (group,) = groups_of(text, kind)
        return {each.name: each.ignored for each in group.settings if each.ignored}

    def test_fields_exist(self) -> None:
        """Every row names a field of a message type that exists."""
        for full_name, rows in REASONS.items():
            self.assertLessEqual(set(rows), set(find_type(full_name).fields_by_name))

    def cluster(self, fields: str) -> dict[str, str]:
        """What is said of these fields of a cluster."""
        return self.said(changed(("    type: STATIC\n", fields)), "cluster")

    def test_names(self) -> None:
        """Times of DNS, where no names are resolved."""
        self.assertEqual(
            {"dns_jitter": "only clusters of type STRICT_DNS and LOGICAL_DNS resolve names"},
            self.cluster("    type: STATIC\n    dns_jitter: 1s\n"),
        )
        self.assertEqual({}, self.cluster("    type: STRICT_DNS\n    dns_jitter: 1s\n"))
        self.assertEqual(
            {"cleanup_interval": "only clusters of type ORIGINAL_DST have it"},
            self.cluster("    type: STATIC\n    cleanup_interval: 1s\n"),
        )

    def test_policies(self) -> None:
        """Settings of a policy that is not chosen."""
        settings = "    maglev_lb_config: {table_size: 7}\n"
        self.assertEqual({}, self.cluster(f"    lb_policy: MAGLEV\n{settings}"))
        self.assertEqual(
            {"maglev_lb_config": "it is for MAGLEV, and lb_policy is RANDOM"},
            self.cluster(f"    lb_policy: RANDOM\n{settings}"),
        )

    def test_outliers(self) -> None:
        """Rows of failures that are only counted, or that never come."""
        self.assertEqual(
            {
                "outlier_detection.consecutive_gateway_failure": "it is only counted: "
                "enforcing_consecutive_gateway_failure is 0",
                "outlier_detection.consecutive_local_origin_failure": "failures of the network are "
                "not counted apart: see split_external_local_origin_errors",
            },
            self.cluster(
                "    outlier_detection: {consecutive_gateway_failure: 3, consecutive_5xx: 3, "
                "consecutive_local_origin_failure: 3}\n"
            ),
        )

    def test_listeners(self) -> None:
        """A limit of filters that there are not, and the queue of a socket that there is not."""
        text = changed(
            (
                "  - name: front\n",
                "  - name: front\n    bind_to_port: false\n    tcp_backlog_size: 5\n"
                "    listener_filters_timeout: 1s\n",
            )
        )
        self.assertEqual(
            {
                "tcp_backlog_size": "bind_to_port is false: it has no socket",
                "listener_filters_timeout": "there are no listener filters",
            },
            self.said(text, "listener"),
        )


class DiscoveryTests(SynchronousTestCase):
    """Files of discovery."""

    def test_when_it_is_read(self) -> None:
        """What is said of a file is when it is read again."""
        for more, wanted in (
            ("", "is read again when another file is moved to its place"),
            (
                "watched_directory: {path: /tmp, watch_modify: true}",
                "is read again when anything is moved into watched_directory",
            ),
        ):
            source = f"path_config_source: {{path: /dev/null, {more}}}"
            layer = f"{{name: r, rtds_layer: {{name: r, rtds_config: {{{source}}}}}}}"
            text = f"node: {{id: a, cluster: b}}\nlayered_runtime: {{layers: [{layer}]}}\n"
            (process,) = groups_of(text, "process")
            place = "layered_runtime.layers[0].rtds_layer.rtds_config.path_config_source."
            self.assertEqual(wanted, setting(process, place + "path").meaning)
            if more:
                written = setting(process, place + "watched_directory.watch_modify")
                self.assertIn("also when", written.meaning)
