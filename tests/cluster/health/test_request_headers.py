"""Operators in the header fields of health checks; what each yields was seen on the wire of an
Envoy.
"""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import HeaderValueOption, Metadata
from google.protobuf.json_format import ParseDict

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.health.request_headers import Headers, RequestHeaders
from tcpmesh.config.fields.operators import IN_CHECKS, KNOWN
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec

DATA = {
    "filter_metadata": {
        "a.b": {"text": "v", "number": 1, "deep": {"z": "<", "key": [True, 2]}, "two": "x\r\ny: z"}
    }
}
SPEC = HostSpec(Address("127.0.0.2", 80), metadata=ParseDict(DATA, Metadata()))


def option(
    key: str, value: str, keep: bool = False, action: str = "APPEND_IF_EXISTS_OR_ADD"
) -> HeaderValueOption:
    """A field to be added."""
    message = {
        "header": {"key": key, "value": value},
        "keep_empty_value": keep,
        "append_action": action,
    }
    return ParseDict(message, HeaderValueOption())


def added(*options: HeaderValueOption, spec: HostSpec = SPEC, now: float = 1.5) -> Headers:
    """All fields of a request."""
    return RequestHeaders(options, "HTTP/2").added_to((("user-agent", "u"),), spec, now)[1:]


def value(text: str, spec: HostSpec = SPEC) -> str:
    """What a value becomes."""
    ((_, found),) = added(option("a", text, keep=True), spec=spec)
    return found


class OperatorTests(SynchronousTestCase):
    """What operators yield."""

    def test_host(self) -> None:
        """The host that is asked: its address, its name and its metadata."""
        self.assertEqual("127.0.0.2:80", value("%UPSTREAM_HOST%"))
        named = HostSpec(Address("127.0.0.2", 80), hostname="h")
        names = "%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%"
        self.assertEqual(["127.0.0.2:80 127.0.0.2", "h h"], [value(names), value(names, named)])
        self.assertEqual(
            ["v", "1", '{"key":[true,2],"z":"<"}', "[true,2]", "", "", ""],
            [
                value(f"%UPSTREAM_METADATA(a.b:{path})%")
                for path in ("text", "number", "deep", "deep:key", "x", "text:x", "deep:x")
            ],
        )
        self.assertEqual(
            ["v", "", ""],
            [value(f"%METADATA(UPSTREAM_HOST:{path})%") for path in ("a.b:text", "x:y", "x")],
        )
        self.assertEqual("", value("%UPSTREAM_METADATA(a.b:text)%", named))

    def test_time(self) -> None:
        """The moment of the request."""
        texts = ("%START_TIME%", "%START_TIME(%s.%3f)%", "%EMIT_TIME%")
        self.assertEqual(
            ["1970-01-01T00:00:01.500Z", "1.500", "1970-01-01T00:00:01.500Z"],
            [value(text) for text in texts],
        )

    def test_nobody(self) -> None:
        """There is no client: its address is the loopback one, its numbers are 0, and of its
        request nothing is known.
        """
        wanted = {
            "DOWNSTREAM_REMOTE_ADDRESS": "127.0.0.1:0",
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": "127.0.0.1",
            "DOWNSTREAM_LOCAL_PORT": "0",
            "CONNECTION_ID": "0",
            "DURATION": "0",
            "RESPONSE_CODE": "0",
            "RESPONSE_FLAGS": "-",
            "REQ(:path)": "",
            "PROTOCOL": "HTTP/2",
        }
        self.assertEqual(wanted, {name: value(f"%{name}%") for name in wanted})

    def test_all(self) -> None:
        """All that are accepted yield something or nothing."""
        arguments = {
            "ENVIRONMENT": "(NOPE)",
            "UPSTREAM_METADATA": "(a:b)",
            "METADATA": "(UPSTREAM_HOST:a:b)",
        }
        headers = (
            "REQ",
            "RESP",
            "TRAILER",
            "REQUEST_HEADER",
            "RESPONSE_HEADER",
            "RESPONSE_TRAILER",
        )
        arguments.update(dict.fromkeys(headers, "(x)"))
        self.assertTrue(IN_CHECKS < KNOWN)
        for name in IN_CHECKS:
            self.assertNotIn("%", value(f"%{name}{arguments.get(name, '')}%"), name)

    def test_line_breaks(self) -> None:
        """Nothing that an operator yields ends a field."""
        self.assertEqual("x  y: z", value("%UPSTREAM_METADATA(a.b:two)%"))

    def test_cut(self) -> None:
        """A value may be cut, and stand between other text."""
        self.assertEqual("<->%", value("<%ENVIRONMENT(NOPE):1%>%%"))


class ActionTests(SynchronousTestCase):
    """What becomes of fields that are there already, and of values without a text."""

    def test_empty(self) -> None:
        """A field whose operators yield nothing is not added, and takes none away, unless it says
        so.
        """
        nothing = "%REQ(x)%"
        first = option("a", "%PROTOCOL%")
        action = "OVERWRITE_IF_EXISTS_OR_ADD"
        self.assertEqual((("a", "HTTP/2"),), added(first, option("a", nothing, action=action)))
        kept = option("a", nothing, keep=True, action=action)
        self.assertEqual((("a", ""), ("a", "HTTP/2")), added(first, kept))

    def test_actions(self) -> None:
        """Each of the four; what others add is not there yet for them."""
        host = "%UPSTREAM_HOST%"
        self.assertEqual((), added(option("a", host, action="OVERWRITE_IF_EXISTS")))
        absent = option("A", host, action="ADD_IF_ABSENT")
        self.assertEqual((("a", "x"), ("a", "127.0.0.2:80")), added(option("a", "x"), absent))
        self.assertEqual(
            (("a", "x"), ("a", "127.0.0.2:80")), added(option("a", "x"), option("a", host))
        )
