"""Nodes become messages."""

from __future__ import annotations

from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.text.yaml_text import parse_yaml
from tests.config.texts import GOOD, TCP_PROXY, changed, load_text, problems_of, said


def read(text: str) -> tuple[Any, list[str]]:
    """The message of a text, and what could not be read."""
    reading, message = Reading(parse_yaml(text, "t.yaml")), Bootstrap()
    reading.into(message)
    return message, [str(problem) for problem in reading.problems]


def cluster(text: str) -> Any:
    """The first cluster with these fields in flow style; nothing may be wrong."""
    message, problems = read(f"static_resources: {{clusters: [{{{text}}}]}}")
    assert not problems, problems
    return message.static_resources.clusters[0]


def with_typed_config(text: str) -> str:
    """The good bootstrap with this typed_config, in flow style, of its filter."""
    before, after = GOOD[: GOOD.index("        typed_config:")], GOOD[GOOD.index("  clusters:") :]
    return f"{before}        typed_config: {text}\n{after}"


class FieldTests(SynchronousTestCase):
    """Fields of all shapes."""

    def test_both_spellings(self) -> None:
        """Names may be snake_case or lowerCamelCase."""
        self.assertEqual(cluster("connect_timeout: 1s"), cluster("connectTimeout: 1s"))

    def test_one_value_for_a_list(self) -> None:
        """A single value serves for a list, and a list in a list is no level."""
        expected = cluster("health_checks: [{}, {}]")

        self.assertEqual(1, len(cluster("health_checks: {}").health_checks))
        self.assertEqual(expected, cluster("health_checks: [[{}], [[{}]]]"))

    def test_null(self) -> None:
        """Null leaves a field unset, and is an empty element of a list."""
        self.assertEqual(cluster(""), cluster("connect_timeout: null, health_checks: null"))
        self.assertEqual(cluster("health_checks: [{}]"), cluster("health_checks: [null]"))

    def test_wrappers(self) -> None:
        """A wrapper is its value, or a mapping of it."""
        limit = cluster("per_connection_buffer_limit_bytes: 7").per_connection_buffer_limit_bytes

        self.assertEqual(7, limit.value)
        self.assertEqual(
            limit,
            cluster(
                "per_connection_buffer_limit_bytes: {value: '7'}"
            ).per_connection_buffer_limit_bytes,
        )
        self.assertTrue(
            cluster("per_connection_buffer_limit_bytes: {}").HasField(
                "per_connection_buffer_limit_bytes"
            )
        )

    def test_durations(self) -> None:
        """A duration is text, or a mapping of seconds and nanos."""
        self.assertEqual(
            cluster("connect_timeout: 1.5s"),
            cluster("connect_timeout: {seconds: 1, nanos: 500000000}"),
        )

    def test_struct(self) -> None:
        """A Struct takes anything, and keeps the kinds of values."""
        message, problems = read("node: {metadata: {a: [1, null, {b: '2'}], c: yes, d: 1.5}}")

        self.assertEqual([], problems)
        metadata = message.node.metadata
        self.assertEqual(
            [1.0, None, {"b": "2"}],
            [v if not hasattr(v, "keys") else dict(v) for v in metadata["a"]],
        )
        self.assertEqual((True, "1.5"), (metadata["c"], metadata["d"]))

    def test_map(self) -> None:
        """A map takes a mapping; a null value is an empty message."""
        metadata = cluster("metadata: {filter_metadata: {envoy.lb: {a: x}, other: null}}").metadata

        self.assertEqual({"envoy.lb", "other"}, set(metadata.filter_metadata))
        self.assertEqual("x", metadata.filter_metadata["envoy.lb"]["a"])


class AnyTests(SynchronousTestCase):
    """Values whose type is written beside them."""

    def proxy_of(self, typed_config: str) -> Any:
        """The TcpProxy that a typed_config in flow style gives."""
        text = with_typed_config(typed_config)
        packed = (
            load_text(text)
            .bootstrap.static_resources.listeners[0]
            .filter_chains[0]
            .filters[0]
            .typed_config
        )
        message = TcpProxy()
        self.assertTrue(packed.Unpack(message))
        return message

    def test_type(self) -> None:
        """:type may stand anywhere in the mapping, and behind any host."""
        expected = TcpProxy(stat_prefix="s", cluster="web")

        self.assertEqual(
            expected, self.proxy_of(f"{{stat_prefix: s, cluster: web, '@type': {TCP_PROXY}}}")
        )
        other_host = TCP_PROXY.replace("type.googleapis.com", "example.com/x")
        self.assertEqual(
            expected, self.proxy_of(f"{{'@type': {other_host}, stat_prefix: s, cluster: web}}")
        )

    def test_typed_struct(self) -> None:
        """A TypedStruct of either kind is the message that it stands for."""
        for kind in ("xds.type.v3", "udpa.type.v1"):
            text = (
                f"{{'@type': a.b/{kind}.TypedStruct, type_url: {TCP_PROXY}, value: "
                f"{{stat_prefix: s, cluster: web}}}}"
            )
            self.assertEqual(TcpProxy(stat_prefix="s", cluster="web"), self.proxy_of(text))

    def test_typed_struct_place(self) -> None:
        """What is wrong inside of a TypedStruct has its line, too."""
        typed = f"""{{"@type": a.b/xds.type.v3.TypedStruct, type_url: {TCP_PROXY}, value: {{
            nonsense: 1}}}}"""
        text = (
            GOOD[: GOOD.index("        typed_config:")]
            + f"        typed_config: {typed}\n"
            + GOOD[GOOD.index("  clusters:") :]
        )

        self.assertIn("12:13: ", "\n".join(said(text)))

    def nested(self, depth: int, typed: str) -> list[str]:
        """What is said of a format of JSON with so many mappings inside each other."""
        inner = "{in: " * depth + "x" + "}" * depth
        kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        log = f"path: a, log_format: {{json_format: {inner}}}"
        return said(
            with_typed_config(
                f"{{'@type': {TCP_PROXY}, stat_prefix: s, cluster: web, access_log: {{name: a, "
                f"typed_config: {typed % (kind, log)}}}}}"
            )
        )

    def test_nested(self) -> None:
        """What is nested deeper than protobuf reads is refused at its place, as by Envoy."""
        for typed in (
            "{'@type': %s, %s}",
            "{'@type': a.b/xds.type.v3.TypedStruct, type_url: %s, value: {%s}}",
        ):
            self.assertEqual([], self.nested(33, typed))
            (problem,) = self.nested(34, typed)
            self.assertIn("access_log[0].typed_config: nested deeper than", problem)

    def test_unknown_type(self) -> None:
        """An unknown type is named, with a near one."""
        self.assertIn("TcpProxy'?", "\n".join(said(changed(("v3.TcpProxy", "v3.TcpProxi")))))
        self.assertIn("'tcp_proxy'?", "\n".join(said(changed(("tcp_proxy.v3", "tcp_prox.v3")))))

    def test_v2_type(self) -> None:
        """A type of the v2 API is refused with its v3 name."""
        text = "\n".join(
            said(
                changed(
                    (
                        "envoy.extensions.filters.network.tcp_proxy.v3",
                        "envoy.config.filter.network.tcp_proxy.v2",
                    )
                )
            )
        )

        self.assertIn("v2 API", text)
        self.assertIn("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", text)

    def test_no_type(self) -> None:
        """A mapping without :type is refused, and so is a type without a host."""
        self.assertIn("@type", "\n".join(said(changed((f'"@type": {TCP_PROXY}', "foo: bar")))))
        self.assertIn("slash", "\n".join(said(changed(("type.googleapis.com/", "")))))


class ProblemTests(SynchronousTestCase):
    """What cannot be read."""

    def test_all_at_once(self) -> None:
        """Every mistake is reported, each at its own line."""
        text = changed(
            ("stat_prefix", "stat_prefx"),
            ("0.25s", "250ms"),
            ("STATIC", "STATICC"),
            ("port_value: 8080", "port_value: x"),
        )

        self.assertEqual([13, 18, 19, 28], [problem.place.line for problem in problems_of(text)])

    def test_unknown_field(self) -> None:
        """A misspelt field is told the right name, at the place of the key."""
        self.assertEqual(
            [
                "6:9: static_resources.listeners[0].address.socket_address.adress: "
                "unknown field 'adress' of envoy.config.core.v3.SocketAddress (did you mean "
                "'address'?)"
            ],
            said(changed(("        address: 127.0.0.1", "        adress: 127.0.0.1"))),
        )

    def test_every_typo_of_a_field(self) -> None:
        """A typo in any field of a file is told the line and the right name."""
        lines = GOOD.splitlines()
        for number, line in enumerate(lines, 1):
            indent, _, rest = line.partition(line.lstrip(" -"))
            key, colon, value = (line.lstrip(" -") + rest).partition(":")
            if not colon or key.startswith('"'):
                continue
            wrong = [*lines[: number - 1], f"{indent}{key[:-1]}x{key[-1]}:{value}", *lines[number:]]
            found = "\n".join(said("\n".join(wrong)))
            self.assertIn(f"\n{number}:", "\n" + found, key)
            self.assertIn(f"did you mean '{key}'?", found)

    def test_renamed_field(self) -> None:
        """A name of the v2 API is told its new name."""
        self.assertIn(
            "use 'transport_socket'", said(changed(("    type: STATIC", "    tls_context: {}")))[0]
        )

    def test_oneof(self) -> None:
        """Two members of a oneof exclude each other."""
        text = changed(
            (
                "          cluster: web",
                "          cluster: web\n          weighted_clusters: {clusters: [{name: web, "
                "weight: 1}]}",
            )
        )

        self.assertIn("'weighted_clusters' and 'cluster' exclude each other", said(text)[0])

    def test_shapes(self) -> None:
        """A value of another shape is refused with both shapes named."""
        self.assertIn("expected a mapping", said("static_resources: ''")[0])
        self.assertIn("expected a mapping", said("- a\n")[0])
        self.assertIn(
            "expected a string, not a list", said(changed(("name: front", "name: [front]")))[0]
        )
        self.assertIn(
            "not a mapping",
            said(
                changed(
                    ("connect_timeout: 0.25s", "per_connection_buffer_limit_bytes: {value: {}}")
                )
            )[0],
        )

    def test_unknown_fields_let_pass(self) -> None:
        """Unknown fields and enum names are warnings where the user says so, and counted."""
        loaded = load_text(
            changed(("type: STATIC", "type: NEWER\n    nonsense: 1")), allow_unknown_fields=True
        )

        self.assertEqual(2, loaded.unknown_fields)
        self.assertEqual(2, len(loaded.warnings))
