"""Filters that only watch: with `--allow-unsupported` a configuration runs without them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.absent.watchers import WATCHERS, changing_fields, is_watcher
from tcpmesh.config.messages.types import find_type, new_message
from tests.config.texts import changed, load_text, problems_of
from tests.mesh import MeshTestCase, cluster_message, listener_message, tcp_proxy

NETWORK = "type.googleapis.com/envoy.extensions.filters.network."
MONGO = "mongo_proxy.v3.MongoProxy"
POSTGRES = "postgres_proxy.v3alpha.PostgresProxy"


def entry(kind: str, fields: str = "stat_prefix: x") -> str:
    """A filter."""
    return f"{{name: w, typed_config: {{'@type': {NETWORK}{kind}, {fields}}}}}"


def before_tcp_proxy(*entries: str) -> str:
    """A configuration with these filters before its tcp_proxy."""
    lines = "".join(f"\n      - {each}" for each in entries)
    return changed(("    - filters:", f"    - filters:{lines}"))


class WatcherTests(SynchronousTestCase):
    """What is said of them."""

    def refused(self, *entries: str) -> list[tuple[int, str, str]]:
        """What stays an error with the option: line, path and text."""
        problems = problems_of(before_tcp_proxy(*entries), allow_unsupported=True)
        return [
            (each.place.line, each.path.rpartition("filters[")[2], each.text)
            for each in problems
            if each.severity == "error"
        ]

    def test_named(self) -> None:
        """Each is refused as what it is, at its @type; with the option that is a warning."""
        for full_name, watcher in WATCHERS.items():
            kind = full_name.removeprefix("envoy.extensions.filters.network.")
            text = before_tcp_proxy(entry(kind))
            (problem,) = problems_of(text)
            self.assertEqual("error", problem.severity)
            self.assertIn(f"{kind}: it reads {watcher.protocol} as it passes", problem.text)
            self.assertTrue(problem.path.endswith("filters[0].typed_config.@type"), problem.path)
            warnings = load_text(text, allow_unsupported=True).warnings
            self.assertEqual([problem.text + ": it is ignored"], [each.text for each in warnings])

    def test_harmless(self) -> None:
        """The fields that are called harmless are there, and are let through."""
        for full_name, watcher in WATCHERS.items():
            known = {field.name for field in find_type(full_name).fields}
            self.assertLessEqual(watcher.harmless, known)
        fields = "stat_prefix: x, access_log: /x, emit_dynamic_metadata: true, commands: [insert]"
        self.assertEqual([], self.refused(entry(MONGO, fields)))

    def test_more_than_watching(self) -> None:
        """One that ends TLS, rewrites or delays stays an error, at the field that says so."""
        for kind, field in (
            (POSTGRES, "terminate_ssl: true"),
            (POSTGRES, "upstream_ssl: REQUIRE"),
            (POSTGRES, "downstream_ssl: ALLOW"),
            ("kafka_broker.v3.KafkaBroker", "force_response_rewrite: true"),
            (MONGO, "delay: {percentage: {numerator: 1}, fixed_delay: 1s}"),
        ):
            ((_, path, text),) = self.refused(entry(kind, f"stat_prefix: x, {field}"))
            self.assertEqual(f"0].typed_config.{field.partition(':')[0]}", path)
            self.assertIn("does more than watch", text)
            self.assertIn("--allow-unsupported does not cover it", text)

    def test_a_default_is_harmless(self) -> None:
        """A field that is set to its default changes nothing."""
        self.assertEqual([], self.refused(entry(POSTGRES, "stat_prefix: x, upstream_ssl: DISABLE")))
        message = new_message(f"envoy.extensions.filters.network.{POSTGRES}")
        self.assertEqual([], changing_fields(message.DESCRIPTOR.full_name, message))

    def test_metadata_is_read(self) -> None:
        """One whose findings another filter of the chain goes by stays an error, at that filter."""
        rules = (
            "stat_prefix: r, rules: {policies: {p: {permissions: [{metadata: {filter: "
            "envoy.filters.network.postgres_proxy, path: [{key: db}], value: {present_match: "
            "true}}}], principals: [{any: true}]}}}"
        )
        ((line, path, text),) = self.refused(entry(POSTGRES), entry("rbac.v3.RBAC", rules))
        self.assertEqual("1].typed_config", path)
        self.assertIn("reads the dynamic metadata envoy.filters.network.postgres_proxy", text)
        self.assertEqual([], self.refused(entry("rbac.v3.RBAC", rules)))
        self.assertEqual([], self.refused(entry(MONGO), entry("rbac.v3.RBAC", rules)))
        self.assertGreater(line, 0)

    def test_metadata_as_text(self) -> None:
        """So does text with an operator that has it, but not that of an access log."""
        operator = "%DYNAMIC_METADATA(envoy.filters.network.mongo_proxy:x)%"
        state = (
            "on_new_connection: [{object_key: envoy.tcp_proxy.cluster, format_string: "
            f"{{text_format_source: {{inline_string: '{operator}'}}}}}}]"
        )
        self.assertEqual(
            ["1].typed_config"],
            [
                path
                for _, path, _ in self.refused(
                    entry(MONGO), entry("set_filter_state.v3.Config", state)
                )
            ],
        )
        log = (
            "access_log: [{name: l, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, "
            f"log_format: {{text_format_source: {{inline_string: '{operator}'}}}}}}}}]"
        )
        text = before_tcp_proxy(entry(MONGO)).replace(
            "          idle_timeout: 5s", f"          idle_timeout: 5s\n          {log}"
        )
        self.assertEqual([], list(problems_of(text, allow_unsupported=True)))


class ServingTests(MeshTestCase):
    """A configuration that was let through."""

    def test_without_it(self) -> None:
        """Its clients are served as if the filter were not there."""
        self.mesh.upstream("127.0.0.2:80")
        self.mesh.clusters.add_or_update(cluster_message("c", ["127.0.0.2:80"]))
        new_message(f"envoy.extensions.filters.network.{MONGO}")
        filters = f"[{entry(MONGO)}, {tcp_proxy()[1:-1]}]"
        message = listener_message("l", "127.0.0.1:1", filters)
        self.assertTrue(is_watcher(message.filter_chains[0].filters[0]))
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.pump()
        connection = self.mesh.connections[-1]
        self.assertIs(connection.read_source, connection.transport)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))
