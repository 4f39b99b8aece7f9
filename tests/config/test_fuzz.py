"""Whatever the text: what is valid is read as it was meant, what is not is refused with a line."""

from __future__ import annotations

import json
from typing import Any

import yaml
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf import json_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.config.text.source import Document
from tcpmesh.config.text.yaml_text import parse_yaml
from tests.config.random_messages import messages
from tests.config.texts import GOOD, load_text

PROPERTIES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MESSAGES = st.one_of(
    messages(Bootstrap.DESCRIPTOR), messages(Cluster.DESCRIPTOR), messages(Listener.DESCRIPTOR)
)


def read(document: Document, kind: type) -> tuple[Any, list[str]]:
    """The message in a document, and what could not be read."""
    message, reading = kind(), Reading(document)
    reading.into(message)
    return message, [str(problem) for problem in reading.problems]


class RoundTripTests(SynchronousTestCase):
    """Valid messages."""

    @PROPERTIES
    @given(MESSAGES, st.booleans())
    def test_json(self, message: Any, snake_case: bool) -> None:
        """A message written as JSON is read back equal."""
        text = json.dumps(
            json_format.MessageToDict(message, preserving_proto_field_name=snake_case)
        )

        self.assertEqual((message, []), read(parse_json(text, "t.json"), type(message)))

    @PROPERTIES
    @given(MESSAGES, st.booleans())
    def test_yaml(self, message: Any, flow: bool) -> None:
        """A message written as YAML is read back equal."""
        plain = json_format.MessageToDict(message, preserving_proto_field_name=True)
        text = yaml.safe_dump(quoted(plain), default_flow_style=flow, allow_unicode=True)

        self.assertEqual((message, []), read(parse_yaml(text, "t.yaml"), type(message)))


class Quoted(str):
    """Text that is written in quotes."""


yaml.SafeDumper.add_representer(
    Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def quoted(value: Any) -> Any:
    """The same value with all its text quoted: PyYAML's idea of what needs quotes is not
    Envoy's.
    """
    if isinstance(value, dict):
        return {Quoted(key): quoted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [quoted(inner) for inner in value]
    if (
        isinstance(value, float)
        and value.is_integer()
        and -(2**31) <= value < 2**31
        and str(value) != "-0.0"
    ):
        return int(value)
    return Quoted(value) if isinstance(value, str) else value


@st.composite
def mutations(draw: Any) -> str:
    """The good bootstrap after a few cuts, insertions and moves."""
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from(_SCRAPS) | st.text(max_size=4) | st.just(text[end : end + 30]))
        text = text[:start] + new + text[end:]
    return text


_SCRAPS = (
    *(
        ": ",
        "- ",
        ", ",
        "{",
        "}",
        "[",
        "]",
        "? ",
        "&",
        "*",
        "!",
        "|",
        ">",
        "'",
        '"',
        "%",
        "@",
        "`",
        "#",
        "\t",
        "\n",
    ),
    *(
        "<<",
        "~",
        "0",
        "-1",
        "1e999",
        ".5",
        "{}",
        "[]",
        "null",
        "true",
        "&a ",
        "*a",
        "!!int ",
        "\n---\n",
        "- [[",
    ),
    *("{a: {b: ", "'@type': ", "\ufeff", "\x00", "\u2028", "\U0001f600", "9" * 50),
)


class MutationTests(SynchronousTestCase):
    """Texts that are probably wrong."""

    def judge(self, text: str) -> None:
        """Assert that a text loads, or is refused with a line of it for each problem."""
        try:
            load_text(text or " ")
        except ConfigError as error:
            lines = len(text.splitlines()) or 1
            self.assertTrue(error.problems)
            for problem in error.problems:
                self.assertTrue(
                    1 <= problem.place.line <= lines and problem.place.column >= 1, problem
                )
            error.render()

    @settings(max_examples=300, deadline=None)
    @given(mutations())
    @example("")
    @example("[" * 5000)
    @example("a: " * 5000)
    @example("&a [*a]")
    @example("? {}\n: 1")
    @example("static_resources: {clusters: {name: 99999999999999999999999999999999}}")
    def test_mutated(self, text: str) -> None:
        """Mutated text never raises anything but ConfigError, and each problem has a line of the
        text.
        """
        self.judge(text)

    @settings(max_examples=100, deadline=None)
    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Nor does any other text."""
        self.judge(text)

    @settings(max_examples=100, deadline=None)
    @given(mutations())
    def test_json(self, text: str) -> None:
        """Nor does text that is taken for JSON."""
        try:
            parse_json(text, "t.json")
        except ConfigError as error:
            self.assertLessEqual(1, error.problems[0].place.line)
