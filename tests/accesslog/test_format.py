"""What formats make of a connection."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from envoy.config.core.v3 import substitution_format_string_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.fields import OPERATORS
from tcpmesh.accesslog.format import JsonFormat, TextFormat, formatter
from tcpmesh.accesslog.times import format_time
from tcpmesh.config.fields.operators import SUPPORTED, FormatError, Operator
from tcpmesh.connection.state_objects import FACTORIES
from tcpmesh.values.address import Address
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.mesh import parse

MOMENT = 1795541510.442668
"""2026-11-24 17:31:50.442668 UTC: when Envoy wrote what is expected below."""


class Ends:
    """The two addresses of a connection."""

    def __init__(self, peer: str, host: str) -> None:
        self.peer, self.host = Address(*_split(peer)), Address(*_split(host))

    def getPeer(self) -> Address:
        return self.peer

    def getHost(self) -> Address:
        return self.host


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (text, 0)


LATER = Moment(1001.5, MOMENT + 1.5)
"""The moment at which is asked: the network's clock counts from elsewhere."""


def known(peer: str = "127.0.0.1:36210", host: str = "127.0.0.1:32116") -> StreamInfo:
    """A connection that is 1.5 seconds old, with filter state and metadata."""
    info = StreamInfo(7, Ends(peer, host), started=1000.0)
    for key, kind, text in (
        ("pre", "envoy.string", 'a"b,1'),
        ("addr", "envoy.network.transport_socket.original_dst_address", "1.2.3.4:80"),
        ("num", "envoy.upstream.dynamic_port", "7"),
        ("cl", "envoy.tcp_proxy.cluster", "c"),
        ("yes", "envoy.bool", "1"),
        ("angle", "envoy.string", "<é>"),
    ):
        made = FACTORIES[kind](text)
        assert made is not None
        info.set_filter_state(key, made)
    info.metadata = {"ns": {"word": "x y", "number": 3, "deep": {"list": [1, None]}}}
    return info


class TextTests(SynchronousTestCase):
    """A text with operators."""

    def said(self, text: str, about: StreamInfo | None = None, **options: Any) -> str:
        """What a text says of a connection."""
        return TextFormat(text, **options).format(about or known(), LATER)

    def check(self, cases: dict[str, str], about: StreamInfo | None = None) -> None:
        """Each text says what is expected."""
        for text, expected in cases.items():
            self.assertEqual(self.said(text, about), expected, text)

    def test_addresses(self) -> None:
        """Addresses with and without port, and the port alone."""
        self.check(
            {
                "%DOWNSTREAM_REMOTE_ADDRESS%": "127.0.0.1:36210",
                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "127.0.0.1",
                "%DOWNSTREAM_REMOTE_PORT%": "36210",
                "%DOWNSTREAM_LOCAL_ADDRESS%": "127.0.0.1:32116",
                "%DOWNSTREAM_LOCAL_PORT%": "32116",
                "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%": "127.0.0.1",
            }
        )

    def test_masks(self) -> None:
        """An address without port may be cut to a network; what is no number is no mask."""
        masked = {
            16: "127.0.0.0/16",
            0: "0.0.0.0/0",
            32: "127.0.0.1/32",
            33: "127.0.0.1/32",
            24: "127.0.0.0/24",
            "x": "127.0.0.1",
        }
        self.check(
            {
                f"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT({mask})%": text
                for mask, text in masked.items()
            }
        )

    def test_ipv6_and_pipes(self) -> None:
        """IPv6 addresses have brackets only beside a port; a unix socket has a path and no port."""
        self.check(
            {
                "%DOWNSTREAM_REMOTE_ADDRESS%": "[::1]:7",
                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "::1",
                "%DOWNSTREAM_LOCAL_ADDRESS%": "/run/x",
                "%DOWNSTREAM_LOCAL_PORT%": "-",
                "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)%": "/run/x",
            },
            known("[::1]:7", "/run/x"),
        )

    def test_restored(self) -> None:
        """What a listener filter knows better goes before the socket, but for the DIRECT ones."""
        about = known()
        about.restored_remote, about.restored_local = (
            Address("9.9.9.9", 9),
            Address("8.8.8.8", 8),
        )
        text = (
            "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_PORT% "
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_PORT%"
        )
        self.assertEqual(self.said(text, about), "9.9.9.9:9 8 127.0.0.1:36210 32116")

    def test_filter_state(self) -> None:
        """An object is shown as JSON, as plain text or by one of its fields."""
        self.check(
            {
                "%FILTER_STATE(pre)%": '"a\\"b,1"',
                "%FILTER_STATE(pre:TYPED)%": '"a\\"b,1"',
                "%FILTER_STATE(pre:PLAIN)%": 'a"b,1',
                "%FILTER_STATE(pre):2%": '"a',
                "%FILTER_STATE(pre:PLAIN):2%": 'a"',
                "%FILTER_STATE(num)%": "7",
                "%FILTER_STATE(yes)%": "true",
                "%FILTER_STATE(cl)%": "-",
                "%FILTER_STATE(cl:PLAIN)%": "c",
                "%FILTER_STATE(addr:FIELD:ip)%": "1.2.3.4",
                "%FILTER_STATE(addr:FIELD:port)%": "80",
                "%FILTER_STATE(addr:FIELD:x)%": "-",
                "%FILTER_STATE(nope)%": "-",
                "%FILTER_STATE(angle)%": '"\\u003cé\\u003e"',
            }
        )

    def test_metadata(self) -> None:
        """Dynamic metadata is found by its namespace and keys; a string is shown as it is, anything
        else as JSON.
        """
        self.check(
            {
                "%DYNAMIC_METADATA(ns:word)%": "x y",
                "%DYNAMIC_METADATA(ns:word):1%": "x",
                "%DYNAMIC_METADATA(ns:number)%": "3",
                "%DYNAMIC_METADATA(ns:deep)%": '{"list":[1,null]}',
                "%METADATA(DYNAMIC:ns:deep:list)%": "[1,null]",
                "%DYNAMIC_METADATA(ns:word:x)%": "-",
                "%DYNAMIC_METADATA(other)%": "-",
                "%METADATA(ROUTE:ns:word)%": "-",
            }
        )

    def test_times(self) -> None:
        """START_TIME is when the client was accepted, EMIT_TIME the moment of writing, DURATION
        milliseconds between.
        """
        self.check(
            {
                "%START_TIME%": "2026-11-24T17:31:50.442Z",
                "%START_TIME()%": "2026-11-24T17:31:50.442Z",
                "%START_TIME(%s.%6f)%": "1795541510.442668",
                "%EMIT_TIME(%s.%3f)%": "1795541511.942",
                "%DURATION%": "1500",
            }
        )

    def test_of_the_process(self) -> None:
        """The name of the machine, environment variables and numbers made up."""
        self.patch(os, "environ", {"A": "value"})
        self.check(
            {
                "%HOSTNAME%": socket.gethostname(),
                "%ENVIRONMENT(A)%": "value",
                "%ENVIRONMENT(B)%": "-",
                "%ENVIRONMENT(A):2%": "va",
            }
        )
        self.assertRegex(self.said("%UNIQUE_ID%"), r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertNotEqual(self.said("%UNIQUE_ID%"), self.said("%UNIQUE_ID%"))

    def test_flags(self) -> None:
        """Response flags in both spellings, and a dash where there are none."""
        about = known()
        self.assertEqual(self.said("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", about), "- -")
        about.flags = ResponseFlag.UF | ResponseFlag.URX
        expected = "UF,URX UpstreamConnectionFailure,UpstreamRetryLimitExceeded"
        self.assertEqual(self.said("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", about), expected)
        for flag in ResponseFlag:
            about.flags = flag
            self.assertGreater(len(self.said("%RESPONSE_FLAGS_LONG%", about)), 8)

    def test_of_http(self) -> None:
        """What only HTTP has is absent, 0 or empty."""
        self.check(
            {"%PROTOCOL% %REQ(a)%": "- -", "%RESPONSE_CODE%": "0", "<%LOCAL_REPLY_BODY%>": "<>"}
        )

    def test_omit_empty(self) -> None:
        """With omit_empty_values nothing stands for what is absent."""
        self.assertEqual(self.said("a%PROTOCOL%b", omit_empty=True), "ab")
        self.assertEqual(self.said("%ENVIRONMENT(NOT SET)%%RESPONSE_FLAGS%", omit_empty=True), "--")

    def test_cut_inside_of_a_letter(self) -> None:
        """A length counts bytes, and the rest of a letter stays as bytes."""
        about = known()
        about.set_filter_state("e", Text("é"))
        self.assertEqual(
            self.said("%FILTER_STATE(e:PLAIN):1%", about).encode("utf-8", "surrogateescape"),
            b"\xc3",
        )

    def test_never_raises(self) -> None:
        """An operator that fails is absent, and the failure is logged."""
        about = known()
        about.addresses = None  # type: ignore[assignment]
        self.assertEqual(self.said("a %DOWNSTREAM_REMOTE_ADDRESS% b", about), "a - b")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_supported(self) -> None:
        """What a configuration may use is what can be said, and all of it can be said of a
        connection of which nothing is known.
        """
        self.assertEqual(set(OPERATORS), SUPPORTED)
        for name in OPERATORS:
            argument = {"METADATA": "DYNAMIC:a"}.get(name, "a")
            OPERATORS[name](Operator(name, argument))(StreamInfo(), LATER)

    def test_wrong(self) -> None:
        """A text that Envoy refuses cannot be built."""
        self.assertRaises(FormatError, TextFormat, "100%")


class TimeTests(SynchronousTestCase):
    """Points in time, as Envoy wrote them."""

    def test_as_seen(self) -> None:
        """Each form is what Envoy 1.40 wrote of the same moment, or a like one."""
        cases = {
            "%Y/%m/%dT%H:%M:%S%z": "2026/11/24T17:31:50+0000",
            "%f": "442668000",
            "%1f": "4",
            "%3f %9f": "442 442668000",
            "%3s %4s": "1795541510 1795541510",
            "%E4S": "50.4426",
            "%E*S": "50.442668",
            "%E3f %E*f": "442 442668",
            "%Ez %E*z %Z %ET": "+00:00 +00:00:00 UTC T",
            "%e %b %a %j %p %I": "24 Nov Tue 328 PM 05",
            "%D %F %T %R": "11/24/26 2026-11-24 17:31:50 17:31",
            "%%": "%",
            "%%f": "%f",
            "%Q": "%Q",
            "%0f": "%0f",
            "plain": "plain",
        }
        for text, expected in cases.items():
            self.assertEqual(format_time(MOMENT, text), expected, text)

    def test_local(self) -> None:
        """Local times follow the machine's time zone."""
        before = os.environ.get("TZ")
        self.addCleanup(self.move_to, before)
        self.move_to("XYZ-3:30")
        self.assertEqual(
            format_time(MOMENT, "%H:%M %z %Ez %Z", local=True), "21:01 +0330 +03:30 XYZ"
        )

    def move_to(self, zone: str | None) -> None:
        """The machine is in this time zone from now on."""
        os.environ.pop("TZ", None)
        if zone is not None:
            os.environ["TZ"] = zone
        time.tzset()


class JsonTests(SynchronousTestCase):
    """A JSON object with operators."""

    def test_types(self) -> None:
        """A string that is one operator becomes a value of its type; keys are sorted, and there is
        one line.
        """
        shape = {
            "z": None,
            "port": "%DOWNSTREAM_LOCAL_PORT%",
            "text": "x%DOWNSTREAM_LOCAL_PORT%",
            "none": "%PROTOCOL%",
            "state": "%FILTER_STATE(pre)%",
            "number": "%FILTER_STATE(num)%",
            "field": "%FILTER_STATE(addr:FIELD:port)%",
            "cut": "%FILTER_STATE(pre:PLAIN):2%",
            "uncut": "%FILTER_STATE(pre):2%",
            "list": ["%DURATION%", [1.5, True]],
            "code": "%RESPONSE_CODE%",
            "mixed": "%PROTOCOL%x",
            "<": "%%é",
        }
        expected = (
            '{"<":"%é","code":0,"cut":"a\\"","field":"80","list":[1500,[1.5,true]],"mixed":"-x","none":null,"number":7,'
            '"port":32116,"state":"a\\"b,1","text":"x32116","uncut":"a\\"b,1","z":null}\n'
        )
        self.assertEqual(JsonFormat(shape).format(known(), LATER), expected)

    def test_omit_empty(self) -> None:
        """With omit_empty_values what is absent goes, and the mappings that are empty then; strings
        and lists stay.
        """
        shape = {
            "n": "%PROTOCOL%",
            "m": {"q": "%PROTOCOL%"},
            "l": ["%PROTOCOL%"],
            "x": "a%PROTOCOL%b",
            "d": "",
        }
        self.assertEqual(
            JsonFormat(shape, omit_empty=True).format(known(), LATER), '{"d":"","l":[],"x":"ab"}\n'
        )
        self.assertEqual(
            JsonFormat({"a": "%PROTOCOL%"}, omit_empty=True).format(known(), LATER), "{}\n"
        )

    def test_wrong(self) -> None:
        """A string that Envoy refuses is found wherever it stands."""
        self.assertRaises(FormatError, JsonFormat, {"a": [{"b": "%"}]})


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
