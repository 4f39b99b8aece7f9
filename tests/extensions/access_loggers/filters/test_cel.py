"""The log filter of CEL."""

from __future__ import annotations

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.filters import access_log_filter
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.accesslog.known import LATER, connected
from tests.config.texts import changed, judged, said
from tests.extras import needs_cel
from tests.mesh import parse

_TYPE = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_FILE = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"


def filter_of(expression: str) -> str:
    """The `extension_filter`."""
    config = f"{{'@type': {_TYPE}, expression: '{expression}'}}"
    return f"extension_filter: {{name: x, typed_config: {config}}}"


def config(text: str) -> str:
    """The good bootstrap, whose tcp_proxy has an access log with this filter."""
    log = f"access_log: [{{name: x, filter: {{{text}}}, typed_config: {{'@type': {_FILE}}}}}]"
    return changed(("stat_prefix: tcp\n", f"stat_prefix: tcp\n          {log}\n"))


@needs_cel
class ExpressionTests(SynchronousTestCase):
    """What an expression lets pass."""

    def passes(self, expression: str, info: StreamInfo | None = None, more: str = "") -> bool:
        """Whether it lets a connection pass."""
        context = WorkerContext(
            MemoryNetwork(), Store(), lambda name: None, node=base_pb2.Node(id="n")
        )
        message = accesslog_pb2.AccessLogFilter()
        message.extension_filter.typed_config.Pack(
            parse(cel_pb2.ExpressionFilter, f"expression: '{expression}'{more}")
        )
        return access_log_filter(message, context)(info or connected(), LATER)

    def test_as_in_envoy(self) -> None:
        """A connection passes where the expression is true, and nothing else is true."""
        info = connected()
        info.flags = ResponseFlag.UF | ResponseFlag.URX
        for expression, expected in (
            ("true", True),
            ("1", False),
            ("nope", False),
            ('source.address.startsWith("127.")', True),
            ("response.flags == 32800", True),
            ("response.code >= 400", False),
            ('xds.node.id == "n"', True),
            ("has(request.headers.a)", False),
            ('filter_state["pre"] == b"x"', False),
            ('request.duration >= duration("1s")', True),
            ("connection.id == 7u && connection.id == 7", True),
        ):
            self.assertIs(self.passes(expression, info), expected, expression)

    def test_conversion(self) -> None:
        """Values can be made texts where that is asked for."""
        more = "\ncel_config: {enable_string_conversion: true}"
        self.assertTrue(self.passes('string(1) == "1"', more=more))

    def test_in_a_configuration(self) -> None:
        """A filter is judged with its line, wherever it stands."""
        self.assertEqual(said(config(filter_of("source.port > 1"))), [])
        both = (
            f"and_filter: {{filters: [{{{filter_of('1+')}}}, {{not_health_check_filter: {{}}}}]}}"
        )
        (line,) = judged(config(both))
        self.assertIn("expression: <input>:1:3: Syntax error", line)
        (line,) = judged(
            config(f"extension_filter: {{name: x, typed_config: {{'@type': {_FILE}}}}}")
        )
        self.assertIn("is no access log filter", line)
        (line,) = judged(config("extension_filter: {name: x}"))
        self.assertIn("no typed_config", line)
