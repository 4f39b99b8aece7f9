"""Checks of substitution formats, and of what set_filter_state makes of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.checks.formats import FACTORIES
from tcpmesh.connection import state_objects
from tests.config.texts import NOT_SUPPORTED, changed, judged, said

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
