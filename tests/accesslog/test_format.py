"""What a SubstitutionFormatString asks for."""

from __future__ import annotations

from envoy.config.core.v3 import substitution_format_string_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.format import formatter
from tests.accesslog.known import LATER, known
from tests.mesh import parse


class MessageTests(SynchronousTestCase):
    """What a SubstitutionFormatString asks for."""

    def said(self, text: str) -> str:
        """What the format of a message says."""
        message = parse(substitution_format_string_pb2.SubstitutionFormatString, text)
        return formatter(message, {"FORMAT": "from %DOWNSTREAM_LOCAL_PORT%"}).format(known(), LATER)

    def test_kinds(self) -> None:
        """The text may be given in four ways, or be JSON."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("file %RESPONSE_CODE%\n")
        self.assertEqual(self.said("text_format: '%RESPONSE_CODE%'"), "0")
        self.assertEqual(
            self.said(
                "{text_format_source: {inline_string: 'x%PROTOCOL%'}, omit_empty_values: true}"
            ),
            "x",
        )
        self.assertEqual(self.said("text_format_source: {inline_bytes: YWI=}"), "ab")
        self.assertEqual(self.said(f"text_format_source: {{filename: {path}}}"), "file 0\n")
        self.assertEqual(
            self.said("text_format_source: {environment_variable: FORMAT}"), "from 32116"
        )
        self.assertEqual(self.said("json_format: {a: 5, b: 1.5}"), '{"a":5,"b":1.5}\n')
