"""Extensions of other packages of every kind are built before anything starts, and what they say of
their settings has its line.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.config.messages import types
from tcpmesh.server.rehearsal import extension_problems
from tests.config.texts import GOOD, changed, load_text, problems_of

KINDS = ("Sink", "Monitor", "Logger", "Filter", "Resolver", "Listener")


def struct(kind: str, field: str, of: str = "xds.type.v3") -> str:
    """A typed configuration, with a field on a line of its own."""
    return (
        f"{{'@type': x/{of}.TypedStruct, type_url: x/my.kinds.v1.{kind}, value: {{\n"
        f"    {field}: {{}}}}}}"
    )


class KindTestCase(SynchronousTestCase):
    """A package that brings one of each kind."""

    def setUp(self) -> None:
        """Install it."""
        entries = [
            EntryPoint(f"my.kinds.v1.{kind}", "tests.server.structs", types.EXTENSION_GROUP)
            for kind in KINDS
        ]
        for module in (types, registry):
            self.patch(module, "entry_points", lambda group: entries)


class KindTests(KindTestCase):
    """What is said of a configuration."""

    def said(self, text: str) -> list[str]:
        """What is wrong, with its place."""
        problems = extension_problems(load_text(text))
        lines = text.splitlines()
        return [f"{lines[each.place.line - 1].strip()[:4]} {each.text}" for each in problems]

    def test_every_kind(self) -> None:
        """Each is refused with the line of the field."""
        log_filter = f"extension_filter: {{name: f, typed_config: {struct('Filter', 'wrd')}}}"
        stdout = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
        for text in (
            f"stats_sinks: [{{name: s, typed_config: {struct('Sink', 'wrd')}}}]\n",
            "overload_manager: {resource_monitors: [{name: m, typed_config: "
            f"{struct('Monitor', 'wrd')}}}]}}\n",
            f"admin: {{access_log: [{{name: l, typed_config: {struct('Logger', 'wrd')}}}]}}\n",
            f"admin: {{access_log: [{{name: l, filter: {{{log_filter}}}, typed_config: "
            f"{{'@type': {stdout}}}}}]}}\n",
            f"typed_dns_resolver_config: {{name: r, typed_config: {struct('Resolver', 'wrd')}}}\n",
        ):
            self.assertEqual(
                ["wrd: unknown field 'wrd' (did you mean 'word'?)"], self.said(GOOD + text), text
            )
            self.assertEqual([], self.said(GOOD + text.replace("wrd: {}", "word: x")))

    def test_in_a_listener(self) -> None:
        """So is one of a listener, in either TypedStruct."""
        for of in ("xds.type.v3", "udpa.type.v1"):
            config = struct("Listener", "wrd", of)
            text = changed(
                (
                    "    filter_chains:",
                    f"    listener_filters: [{{name: l, typed_config: {config}}}]\n    "
                    "filter_chains:",
                )
            )
            self.assertEqual(["wrd: unknown field 'wrd' (did you mean 'word'?)"], self.said(text))

    def test_of_another_kind(self) -> None:
        """One that is no extension of the kind that the place takes is told what it lacks."""
        text = f"{GOOD}stats_sinks: [{{name: s, typed_config: {struct('Monitor', 'word')}}}]\n"
        (said,) = self.said(text.replace("word: {}", "word: x"))
        self.assertIn("the extension for my.kinds.v1.Monitor, has no `flush`, `wants_val", said)

    def test_without_a_struct(self) -> None:
        """Named as if it were a message, it is told how to be."""
        text = f"{GOOD}stats_sinks: [{{name: s, typed_config: {{'@type': x/my.kinds.v1.Sink}}}}]\n"
        (problem,) = problems_of(text)
        self.assertEqual("unknown type 'my.kinds.v1.Sink'", problem.text)
        self.assertIn("xds.type.v3.TypedStruct", problem.hint)

    def test_unknown(self) -> None:
        """A TypedStruct of a type that no package has is unknown, as ever."""
        text = f"{GOOD}stats_sinks: [{{name: s, typed_config: {struct('Other', 'word')}}}]\n"
        (problem,) = problems_of(text)
        self.assertEqual("unknown type 'my.kinds.v1.Other'", problem.text)
