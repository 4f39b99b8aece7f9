"""From files and arguments to a checked bootstrap."""

from __future__ import annotations

import gc
import json
from pathlib import Path

from google.protobuf import json_format, text_format

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config import load as loading
from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.config.text.source import Document
from tests.config.texts import GOOD, changed, load_text, said

TUTORIAL = Path(__file__).resolve().parents[2] / "configs" / "envoy.yaml"


class FileTests(SynchronousTestCase):
    """The kinds of files."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.message = load_text(GOOD).bootstrap

    def write(self, name: str, data: str | bytes) -> str:
        """A file with these contents."""
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    def test_suffixes(self) -> None:
        """The suffix decides, in any case: YAML, JSON, binary and text protobuf give the same
        message.
        """
        as_json = json.dumps(json_format.MessageToDict(self.message))
        files = {
            "a.yaml": GOOD,
            "a.YML": GOOD,
            "a.json": as_json,
            "a.conf": as_json,
            "a.pb": self.message.SerializeToString(),
            "a.pb_text": text_format.MessageToString(self.message),
        }
        for name, data in files.items():
            self.assertEqual(self.message, load(self.write(name, data)).bootstrap, name)

    def test_missing_file(self) -> None:
        """A file that is not there is named."""
        error = self.assertRaises(ConfigError, load, str(self.folder / "nope.yaml"))

        self.assertIn("nope.yaml: cannot read the configuration: No such file", str(error))

    def test_deep_text(self) -> None:
        """Text that is nested too deep is refused at the place where it is; braces in comments and
        strings count for nothing.
        """
        deep = "node {\n metadata { fields { value { " + "list_value { values { " * 5000
        error = self.assertRaises(ConfigError, load, self.write("a.pb_text", deep))
        self.assertIn("a.pb_text:2:1097: messages nested more than 100 deep", str(error))
        self.assertLess(len(str(error)), 200)
        flat = (
            "node { id: '" + "{" * 200 + "\\'' # " + "{" * 200 + '\n cluster: "' + "<" * 200 + '" }'
        )
        self.assertEqual("{" * 200 + "'", load(self.write("b.pb_text", flat)).bootstrap.node.id)

    def test_no_memory(self) -> None:
        """That there is not enough memory is said like any other problem."""

        def fail(text: str, file: str) -> None:
            raise MemoryError

        self.patch(loading, "parse_yaml", fail)
        error = self.assertRaises(ConfigError, load, self.write("a.yaml", GOOD))
        self.assertIn("a.yaml: there is not enough memory to read", str(error))

    def test_broken_protobuf(self) -> None:
        """Broken protobuf is refused, in text with the line."""
        self.assertIn(
            "not a binary",
            str(self.assertRaises(ConfigError, load, self.write("a.pb", b"\xff\xff"))),
        )
        broken = self.assertRaises(
            ConfigError, load, self.write("a.pb_text", "node {\n  x: 1\n}\n")
        )
        self.assertIn("a.pb_text:2:3: ", str(broken))

    def test_text_format_with_a_type(self) -> None:
        """In text protobuf an Any may be written with its type."""
        any_text = (
            "[type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy] "
            "{stat_prefix: 's' cluster: 'web'}"
        )
        text = (
            "static_resources {listeners {name: 'l' address {pipe {path: '/tmp/x'}} "
            f"filter_chains {{filters {{name: 'f' typed_config {{{any_text}}}}}}}}}}}"
        )
        self.assertEqual(1, len(load(self.write("a.pb_text", text)).warnings))

    def test_problem_in_json(self) -> None:
        """JSON has lines, too."""
        error = self.assertRaises(
            ConfigError, load, self.write("a.json", '{\n  "node": {"idd": "x"}\n}')
        )

        self.assertIn("a.json:2:12: node.idd: unknown field", str(error))

    def test_bad_bytes(self) -> None:
        """Bytes that are no UTF-8 are replaced and read on."""
        self.assertEqual(
            "caf\ufffd", load(self.write("a.yaml", b"node: {id: caf\xe9}")).bootstrap.node.id
        )


class MergeTests(SynchronousTestCase):
    """--config-yaml over a file."""

    def setUp(self) -> None:
        self.path = self.mktemp() + ".yaml"
        Path(self.path).write_text(GOOD)

    def test_protobuf_merge(self) -> None:
        """Scalars replace, lists append, messages merge, a default says nothing."""
        listener = "{name: b, address: {pipe: {path: /x}}, filter_chains: {}}"
        more = (
            f"node: {{id: a}}\nstatic_resources: {{clusters: {{name: more}}, listeners: "
            f"{listener}}}"
        )
        bootstrap = load(self.path, more).bootstrap
        message = load_text(GOOD).bootstrap
        message.MergeFrom(load_text(more).bootstrap)

        self.assertEqual(message, bootstrap)
        Path(self.path).write_text(f"{GOOD}node: {{id: old, metadata: {{a: {{x: 1}}, b: 1}}}}\n")
        node = load(self.path, "node: {id: '', cluster: new, metadata: {a: {y: 1}}}").bootstrap.node
        self.assertEqual(("old", "new"), (node.id, node.cluster))
        self.assertEqual(({"y": 1}, 1), (dict(node.metadata["a"]), node.metadata["b"]))

    def test_problems_of_both(self) -> None:
        """Problems of both are reported at once, each under its own name."""
        Path(self.path).write_text(changed(("stat_prefix", "stat_prefx")))
        error = self.assertRaises(ConfigError, load, self.path, "nod: {}")

        self.assertEqual(
            {self.path, "--config-yaml"}, {problem.place.file for problem in error.problems}
        )

    def test_argument_alone(self) -> None:
        """The argument is enough."""
        self.assertEqual("x", load(config_yaml="node: {id: x}").bootstrap.node.id)

    def test_nothing(self) -> None:
        """Neither is an error."""
        self.assertRaises(ConfigError, load)


class LoadTests(SynchronousTestCase):
    """What comes out."""

    def test_tutorial(self) -> None:
        """The tutorial's file loads without a warning."""
        loaded = load(str(TUTORIAL))

        self.assertEqual((), loaded.warnings)
        self.assertEqual(
            2,
            len(
                loaded.bootstrap.static_resources.clusters[0]
                .load_assignment.endpoints[0]
                .lb_endpoints
            ),
        )

    def test_empty(self) -> None:
        """An empty document is refused, an empty mapping is not."""
        for text in ("# nothing", "null", "~", "--- "):
            self.assertIn("empty", said(text)[0])
        load_text("{}")

    def test_everything_at_once(self) -> None:
        """Spelling, rules, code checks and missing support are reported together, in order of
        place.
        """
        text = changed(
            ("stat_prefix", "stat_prefx"),
            ("0.25s", "0s"),
            ("type: STATIC", "type: STATIC\n    lrs_server: {self: {}}"),
            ("127.0.0.2", "example.com"),
        )

        lines = [line.split(":")[0] for line in said(text)]
        self.assertEqual(["13", "18", "20", "28"], lines)

    def test_rendered(self) -> None:
        """The error can show the lines."""
        error = self.assertRaises(ConfigError, load_text, changed(("stat_prefix", "stat_prefx")))

        self.assertIn("    13 |           stat_prefx: tcp\n       |           ^", error.render())

    def test_collector_is_restored(self) -> None:
        """The garbage collector is on afterwards, whatever happened."""
        self.assertRaises(ConfigError, load_text, "nonsense: 1")

        self.assertTrue(gc.isenabled())


class DocumentsTests(SynchronousTestCase):
    """What was read, for whoever lets go of it."""

    def test_given(self) -> None:
        """It is given to whoever wants it, also where the configuration is wrong."""
        documents: list[Document] = []
        loaded = load(config_yaml="node: {id: x}", documents=documents)
        self.assertEqual(["--config-yaml"], [each.file for each in documents])
        self.assertEqual(1, loaded.places.at("node").line)
        wrong: list[Document] = []
        with self.assertRaises(ConfigError):
            load(config_yaml="{static_resources: {clusters: [{}]}}", documents=wrong)
        self.assertEqual(1, len(wrong))
