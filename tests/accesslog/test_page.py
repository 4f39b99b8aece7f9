"""docs/access-logs.md: its tables are those of the program, and its example says what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.mesh import Mesh
from tcpmesh.testing.upstreams import Echo
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_words import REASONS
from tcpmesh.values.stream.moment import LogType
from tests.extras import needs_cel

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "access-logs.md").read_text()
HOST = "10.0.0.3:5432"

BOOTSTRAP = """
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filter_chains:
    - filters:
%s
  clusters:
  - name: db
    load_assignment:
      cluster_name: db
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.3, port_value: 5432}}}
"""


def blocks(language: str = "") -> list[str]:
    """The blocks of the page in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def indented(text: str, columns: int) -> str:
    """A text further to the right."""
    return indent(text, " " * columns)


class PageTests(SynchronousTestCase):
    """What the page says."""

    def test_reasons(self) -> None:
        """Every reason has its row, in order: an example of its words, and when it is said."""
        rows = "\n".join(f"| `{each.example}` | {each.meaning} |" for each in REASONS.values())
        self.assertIn(f"| words | when |\n|---|---|\n{rows}\n\n", PAGE)

    def test_flags(self) -> None:
        """Every response flag is there, those that a connection may have today with long names."""
        section = PAGE.partition("## Response flags")[2]
        told = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, re.MULTILINE)
        others = re.findall(r"`(\w+)`", section.partition("The others")[2])[1:]
        self.assertEqual(
            {flag.name for flag in ResponseFlag}, {name for name, _ in told} | set(others)
        )
        for name, long_name in told:
            self.assertEqual(ResponseFlag[name].long_name, long_name)

    def test_kinds(self) -> None:
        """Every kind of record is there."""
        for kind in LogType:
            self.assertIn(f"| `{kind.value}` |", PAGE)

    def logged(self, filtered: str = "", reset: bool = True) -> list[str]:
        """What the log of the page says, with a filter, of one connection that ends."""
        log = blocks("yaml")[0].replace("- name: why\n", "- name: why\n" + indented(filtered, 6))
        mesh = Mesh(BOOTSTRAP % indented(log, 6))
        upstream = mesh.upstream(HOST, Echo())
        mesh.connect("127.0.0.1:1")
        for transport in mesh.network.transports:
            transport.quiet = 12.4
        transport = upstream.clients[-1].transport
        (transport.abortConnection if reset else transport.loseConnection)()
        mesh.pump()
        return mesh.logged("/dev/stdout")

    def test_filters(self) -> None:
        """The first filter lets a connection pass in which something went wrong, and no other."""
        _, _, flags, _ = blocks("yaml")
        self.assertEqual(1, len(self.logged(flags)))
        self.assertEqual([], self.logged(flags, reset=False))

    @needs_cel
    def test_expression(self) -> None:
        """The other one goes by the client as well."""
        *_, expression = blocks("yaml")
        here = expression.replace("10.0.0.9:", "127.0.0.1:")
        self.assertEqual(1, len(self.logged(here)))
        self.assertEqual([], self.logged(here, reset=False))
        self.assertEqual([], self.logged(expression))

    def test_example(self) -> None:
        """The example writes such a line as stands below it."""
        _, json, *_ = blocks("yaml")
        (line,) = self.logged()
        shown = next(block for block in blocks() if block.startswith("2026"))
        self.assertEqual(shown.split()[6:], line.split()[6:])
        self.assertEqual(len(shown.split()), len(line.split()))
        self.assertIn("%TCPMESH(close_reason)%", json)
