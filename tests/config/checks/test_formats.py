"""Checks of substitution formats, and of what set_filter_state makes of them."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.checks.formats import FACTORIES
from tcpmesh.connection import state_objects
from tests.config.texts import NOT_SUPPORTED, changed, judged, said

ADMIN = """admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 0}}
  access_log_path: /nope/x
static_resources:"""

_FILTER = "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config"


def text(value: str) -> str:
    """The good bootstrap with this FilterStateValue before its tcp_proxy."""
    config = (
        f'      - {{name: s, typed_config: {{"@type": {_FILTER}, on_new_connection: [{value}]}}}}\n'
    )
    return changed(("    - filters:\n", "    - filters:\n" + config))


def value(inline: str, key: str = "envoy.string", more: str = "") -> str:
    """A FilterStateValue of a text."""
    return (
        f"{{object_key: {key}, format_string: {{text_format_source: {{inline_string: "
        f"'{inline}'}}}}{more}}}"
    )


class FormatTests(SynchronousTestCase):
    """Formats are judged wherever they stand."""

    def test_right(self) -> None:
        """A right one loads."""
        self.assertEqual(said(text(value("%DOWNSTREAM_REMOTE_ADDRESS% %%"))), [])

    def test_wrong_text(self) -> None:
        """A text that Envoy refuses is an error at its line."""
        (line,) = judged(text(value("%NOPE%")))
        self.assertIn("inline_string: there is no operator NOPE", line)
        (line,) = judged(text("{object_key: envoy.string, format_string: {text_format: '100%'}}"))
        self.assertIn("at character 3", line)

    def test_wrong_json(self) -> None:
        """Strings anywhere in a JSON format are judged."""
        (line,) = judged(
            text(
                "{object_key: envoy.string, format_string: {json_format: {a: {b: [1, '%NOPE%']}}}}"
            )
        )
        self.assertIn("no operator NOPE", line)

    def test_other_operators(self) -> None:
        """Where a format brings operators of its own, Envoy's are not all there are."""
        more = "{name: x, typed_config: {'@type': type.googleapis.com/google.protobuf.Struct}}"
        config = (
            f"{{object_key: envoy.string, format_string: {{text_format: '%NOPE%', "
            f"formatters: [{more}]}}}}"
        )
        self.assertFalse([line for line in judged(text(config)) if "NOPE" in line])

    def test_from_a_file(self) -> None:
        """A text in a file or a variable is judged too."""
        source = (
            "{object_key: envoy.string, format_string: {text_format_source: "
            "{environment_variable: F}}}"
        )
        (line,) = judged(text(source), environ={"F": "%NOPE%"})
        self.assertIn("no operator NOPE", line)
        (line,) = judged(text(source), environ={})
        self.assertIn("'F' is not set", line)


class FactoryTests(SynchronousTestCase):
    """Every object is of a kind that something makes."""

    def test_kinds(self) -> None:
        """What a configuration may name is what can be made."""
        self.assertEqual(FACTORIES, set(state_objects.FACTORIES))

    def test_unknown(self) -> None:
        """Another kind is an error, with a hint where it is near."""
        (line,) = judged(text(value("x", key="envoy.tcp_proxy.clutser")))
        self.assertIn(
            "object_key: nothing makes filter state of the kind 'envoy.tcp_proxy.clutser'", line
        )
        self.assertIn("envoy.tcp_proxy.cluster", line.partition("clutser'")[2])
        (line,) = judged(text(value("x", more=", factory_key: nope")))
        self.assertIn("factory_key: nothing makes filter state of the kind 'nope'", line)

    def test_of_http(self) -> None:
        """Kinds that only HTTP has are not supported."""
        (line,) = said(text(value("x", key="envoy.router.debug_config")))
        self.assertIn(NOT_SUPPORTED, line)

    def test_no_key(self) -> None:
        """An object needs a key, and a text."""
        self.assertEqual(len(judged(text("{format_string: {text_format: x}}"))), 1)
        self.assertEqual(len(judged(text("{object_key: envoy.string}"))), 1)


class OrderTests(SynchronousTestCase):
    """A filter that ends no chain cannot be the last."""

    def test_last(self) -> None:
        """set_filter_state alone is no chain."""
        alone = text(value("x"))
        start, end = alone.index("      - name: proxy"), alone.index("  clusters:")
        (line,) = judged(alone[:start] + alone[end:])
        self.assertIn("is the last of its chain", line)


_FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


class AccessLogTests(SynchronousTestCase):
    """Access logs, wherever they stand."""

    def assert_says(self, expected: str, fields: str) -> None:
        """A tcp_proxy with these fields has one mistake, at a line."""
        (line,) = judged(changed(("idle_timeout: 5s", fields)))
        self.assertIn(expected, line)
        self.assertRegex(line, r"^\d+:\d+: ")

    def log(self, fields: str) -> str:
        """The field of a tcp_proxy that logs to a file of these fields."""
        return f"access_log: {{name: f, typed_config: {{'@type': {_FILE}, {fields}}}}}"

    def test_file(self) -> None:
        """A file that cannot be written is an error, also before the process starts."""
        folder = self.mktemp()
        os.mkdir(folder)
        self.assertEqual([], judged(changed(("idle_timeout: 5s", self.log("path: /dev/null")))))
        self.assertEqual([], judged(changed(("idle_timeout: 5s", self.log("path: new.log")))))
        self.assertFalse(os.path.exists("new.log"))
        self.assert_says(f"there is no directory '{folder}/x'", self.log(f"path: {folder}/x/y"))
        self.assert_says("it is a directory", self.log(f"path: {folder}"))
        self.assert_says("a zero byte", self.log(r'path: "a\0b"'))

    def test_permissions(self) -> None:
        """So is one that this user may not write to, or may not make."""
        folder = self.mktemp()
        os.mkdir(folder)
        Path(folder, "log").touch()
        self.patch(os, "access", lambda path, mode: False)  # nothing is forbidden to root
        self.assert_says("permission denied", self.log(f"path: {folder}/log"))
        self.assert_says("no file may be made", self.log(f"path: {folder}/new"))

    def test_admin(self) -> None:
        """The admin interface's own log is judged likewise."""
        (line,) = [
            each
            for each in judged(changed(("static_resources:", ADMIN)))
            if "access_log_path" in each
        ]
        self.assertIn("there is no directory '/nope'", line)

    def test_formats(self) -> None:
        """The formats of old times are judged as those of today."""
        for format in (
            "format: '%NOPE%'",
            "json_format: {a: {b: ['%NOPE%']}}",
            "typed_json_format: {a: '%NOPE%'}",
            "log_format: {text_format_source: {inline_string: '%NOPE%'}}",
        ):
            lines = judged(changed(("idle_timeout: 5s", self.log(f"path: /dev/null, {format}"))))
            self.assertEqual(1, len([each for each in lines if "no operator NOPE" in each]), format)

    def test_own_operator(self) -> None:
        """TCPMESH needs to be told what."""
        for text, expected in (
            ("%TCPMESH%", "needs an argument"),
            ("%TCPMESH(x)%", "is one of close_reason"),
        ):
            self.assert_says(expected, self.log(f"path: x, log_format: {{text_format: '{text}'}}"))

    def test_options(self) -> None:
        """When records are written is said in the fields of old times or in those of today."""
        for field in (
            "access_log_flush_interval: 1s",
            "flush_access_log_on_connected: true",
        ):
            lines = judged(
                changed(("idle_timeout: 5s", f"access_log_options: {{}}\n          {field}"))
            )
            self.assertTrue(any("exclude each other" in each for each in lines), lines)
