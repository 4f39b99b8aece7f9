"""What is other in one bootstrap than in another."""

from __future__ import annotations

from typing import Any

import yaml
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf.json_format import ParseDict

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.changes.difference import Difference, difference, settled_problems
from tcpmesh.config.changes.fields import changed_fields
from tcpmesh.config.changes.table import FIELDS, Row, Treatment
from tcpmesh.config.load import load

BASE = """
node: {id: me, cluster: c}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 2}}
    filter_chains:
    - filters:
      - name: t
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: a
  clusters:
  - {name: a, connect_timeout: 1s, type: STATIC}
  - {name: b, type: STATIC}
"""


def changed(text: str, *replaced: tuple[str, str]) -> Any:
    """The bootstrap of a text in which these are others."""
    for old, new in replaced:
        assert old in text, old
        text = text.replace(old, new)
    return ParseDict(yaml.safe_load(text), Bootstrap())


def lines(found: Difference) -> list[str]:
    """As the log has them."""
    return [str(each) for each in found.changes]


class DifferenceTests(SynchronousTestCase):
    """Two bootstraps."""

    def told(self, *replaced: tuple[str, str], text: str = BASE) -> list[str]:
        """What is told where these are others."""
        return lines(difference(changed(text), changed(text, *replaced)))

    def test_same(self) -> None:
        """There is no difference between a bootstrap and its copy."""
        self.assertEqual([], self.told())

    def test_clusters(self) -> None:
        """A cluster is told by its name, and what has changed by its field."""
        told = self.told(("connect_timeout: 1s", "connect_timeout: 2s"), ("name: b", "name: c"))
        self.assertEqual(
            ["cluster a changed: connect_timeout", "cluster c added", "cluster b removed"], told
        )

    def test_inside_any(self) -> None:
        """A field of an extension is told by its path."""
        self.assertEqual(
            ["listener front changed: filter_chains[0].filters[0].typed_config.cluster"],
            self.told(("cluster: a\n", "cluster: b\n")),
        )

    def test_other_type(self) -> None:
        """An extension of another type is told as a whole."""
        echo = f"{echo_pb2.Echo.DESCRIPTOR.full_name}\n"
        tcp = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n"
        more = "          stat_prefix: t\n          cluster: a\n"
        self.assertEqual(
            ["listener front changed: filter_chains[0].filters[0].typed_config"],
            self.told((tcp, echo), (more, "")),
        )

    def test_order(self) -> None:
        """The order of clusters is no difference."""
        text = "static_resources: {clusters: [{name: a, type: STATIC}, {name: b, type: STATIC}]}"
        other = changed(
            text, ("name: a", "name: x"), ("name: b", "name: a"), ("name: x", "name: b")
        )
        self.assertEqual([], lines(difference(changed(text), other)))

    def test_unnamed(self) -> None:
        """A listener without name goes by its address, of two with one name the first counts."""
        unnamed = ("name: front\n", "name: ''\n")
        moved = ("port_value: 2", "port_value: 3")
        before, after = changed(BASE, unnamed), changed(BASE, unnamed, moved)
        self.assertEqual(
            ["listener (127.0.0.1:3) added", "listener (127.0.0.1:2) removed"],
            lines(difference(before, after)),
        )
        twice = changed(BASE)
        twice.static_resources.listeners.add(name="front")
        self.assertEqual([], lines(difference(changed(BASE), twice)))

    def test_secrets(self) -> None:
        """Who uses a secret that has changed has changed too; what it says is not told."""
        kind = tls_pb2.UpstreamTlsContext.DESCRIPTOR.full_name
        text = """
static_resources:
  secrets:
  - {name: key, tls_certificate: {private_key: {inline_string: one}}}
  - {name: other, tls_certificate: {private_key: {inline_string: two}}}
  clusters:
  - name: a
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/KIND
        common_tls_context: {tls_certificate_sds_secret_configs: [{name: key}]}
  - {name: b}
""".replace("KIND", kind)
        self.assertEqual(
            [
                "cluster a changed: secret key",
                "secret key changed: tls_certificate.private_key.inline_string",
            ],
            self.told(("inline_string: one", "inline_string: three"), text=text),
        )
        self.assertEqual(
            ["secret other changed: tls_certificate.private_key.inline_string"],
            self.told(("inline_string: two", "inline_string: three"), text=text),
        )

    def test_settings(self) -> None:
        """What is beside the resources is told by its path."""
        text = BASE + "stats_flush_interval: 3s\n"
        self.assertEqual(
            ["setting stats_flush_interval changed", "setting admin.access_log added"],
            self.told(
                ("interval: 3s", "interval: 4s"),
                ("admin: {", "admin: {access_log: [{name: x}], "),
                text=text,
            ),
        )
        self.assertEqual(
            ["setting stats_flush_interval removed"],
            self.told(("stats_flush_interval: 3s", ""), text=text),
        )

    def test_all_in_order(self) -> None:
        """With nothing before, all is added."""
        told = lines(difference(Bootstrap(), changed(BASE)))
        self.assertEqual(
            [
                "listener front added",
                "cluster a added",
                "cluster b added",
                "setting node added",
                "setting admin.address added",
            ],
            told,
        )


class FieldTests(SynchronousTestCase):
    """The fields of one message."""

    def told(self, before: str, after: str) -> tuple[str, ...]:
        """Of a bootstrap."""
        return changed_fields(changed(before), changed(after))

    def test_lists_and_maps(self) -> None:
        """An element is told by its number where as many are there, of a map the key."""
        self.assertEqual(
            ("static_resources.clusters[1].name",),
            self.told(
                "static_resources: {clusters: [{name: a}, {name: b}]}",
                "static_resources: {clusters: [{name: a}, {name: c}]}",
            ),
        )
        self.assertEqual(
            ("static_resources.clusters",),
            self.told(
                "static_resources: {clusters: [{name: a}]}",
                "static_resources: {clusters: [{name: a}, {name: c}]}",
            ),
        )
        self.assertEqual(
            ("node.metadata",),
            self.told("node: {metadata: {x: 1}}", "node: {metadata: {x: 2}}"),
        )
        metadata = (
            "static_resources: {clusters: [{name: a, metadata: {filter_metadata: {%s: {}}}}]}"
        )
        self.assertEqual(
            (
                "static_resources.clusters[0].metadata.filter_metadata.x",
                "static_resources.clusters[0].metadata.filter_metadata.y",
            ),
            self.told(metadata % "x", metadata % "y"),
        )

    def test_many(self) -> None:
        """Of many fields the first are told, and that there are more."""
        names = [f"n{i}" for i in range(20)]
        one = ", ".join(f"{{name: {each}}}" for each in names)
        other = ", ".join(f"{{name: {each}x}}" for each in names)
        told = self.told(
            f"static_resources: {{clusters: [{one}]}}", f"static_resources: {{clusters: [{other}]}}"
        )
        self.assertEqual("...", told[-1])
        self.assertEqual(9, len(told))

    def test_set(self) -> None:
        """A field that is only in one of them is told."""
        self.assertEqual(("node",), self.told("{}", "node: {id: x}"))
        self.assertEqual(("node.id",), self.told("node: {id: x, cluster: a}", "node: {cluster: a}"))


class TableTests(SynchronousTestCase):
    """Which fields may change."""

    def test_all_fields(self) -> None:
        """Each field of the bootstrap is decided on, and each of a message that is in parts."""
        self.check(FIELDS, Bootstrap.DESCRIPTOR)

    def check(self, rows: dict[str, Row] | Any, descriptor: Any) -> None:
        """A message and those inside of it."""
        self.assertEqual(
            sorted(field.name for field in descriptor.fields), sorted(rows), descriptor.name
        )
        for name, row in rows.items():
            if row.fields:
                self.check(row.fields, descriptor.fields_by_name[name].message_type)
            needs_reason = row.treatment is Treatment.SETTLED or row.settled_part is not None
            self.assertEqual(needs_reason, bool(row.reason), name)


class SettledTests(SynchronousTestCase):
    """What cannot change."""

    def problems(self, before: str, after: str) -> list[str]:
        """What is said of a text in place of another."""
        old = load(config_yaml=before).bootstrap
        new = load(config_yaml=after)
        return [str(each) for each in settled_problems(old, new.bootstrap, new.places)]

    def test_named(self) -> None:
        """It is named with its line, its field and the reason."""
        other = BASE.replace("id: me", "id: you").replace("port_value: 1", "port_value: 9")
        found = self.problems(BASE, other)
        self.assertEqual(2, len(found))
        start = "--config-yaml:2:12: node.id: it cannot change while the proxy runs (it is what"
        self.assertEqual(start, found[0][: len(start)])
        self.assertIn("admin.address.socket_address.port_value: it cannot change", found[1])

    def test_others(self) -> None:
        """All else may."""
        self.assertEqual([], self.problems(BASE, BASE + "stats_flush_interval: 1s\n"))
        self.assertEqual([], self.problems(BASE, BASE.replace("name: b", "name: c")))

    def test_admin(self) -> None:
        """An admin interface neither comes nor goes."""
        without = "\n".join(line for line in BASE.splitlines() if not line.startswith("admin"))
        self.assertIn("admin.address: it cannot", self.problems(without, BASE)[0])
        self.assertIn("admin.address: it cannot", self.problems(BASE, without)[0])

    def test_runtime(self) -> None:
        """Static layers come, change and go; others do not."""
        layers = "layered_runtime: {layers: [%s]}\n"
        static, admin = "{name: s, static_layer: {a: %d}}", "{name: a, admin_layer: {}}"
        one = layers % f"{static % 1}, {admin}"
        self.assertEqual([], self.problems(one, layers % f"{static % 2}, {admin}"))
        self.assertEqual([], self.problems(one, layers % admin))
        self.assertIn("layered_runtime: it cannot", self.problems(one, layers % (static % 1))[0])
        self.assertIn("layered_runtime: it cannot", self.problems("{}", layers % admin)[0])
