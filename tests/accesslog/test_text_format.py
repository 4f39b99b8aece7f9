"""What a text with operators makes of a connection."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.operators import OPERATORS
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.operators import KNOWN, FormatError, Operator
from tcpmesh.values.address import Address
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import EVERYTHING, NOTHING, Wanted
from tests.accesslog.known import LATER, known

ARGUMENTS = {
    "METADATA": "DYNAMIC:a",
    "COMMON_DURATION": "DS_CX_BEG:DS_CX_END:us",
    "COALESCE": '{"operators": ["UPSTREAM_HOST", {"command": "ENVIRONMENT", "param": "A"}]}',
}
"""What stands in the parentheses of those operators that do not take everything."""


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
        """An address without port may be cut to a network; what is no number is no mask, and of one
        below zero Envoy makes an empty text.
        """
        masked = {
            16: "127.0.0.0/16",
            0: "0.0.0.0/0",
            32: "127.0.0.1/32",
            33: "127.0.0.1/32",
            24: "127.0.0.0/24",
            2147483647: "127.0.0.1/32",
            2147483648: "127.0.0.1",
            -1: "",
            "+16": "127.0.0.0/16",
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
                "%DOWNSTREAM_LOCAL_PORT%": "",
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

    def test_cut(self) -> None:
        """A length cuts what there is, whatever it is, and makes nothing of what is absent."""
        self.check(
            {
                "%FILTER_STATE(pre:PLAIN):2%": 'a"',
                "%DYNAMIC_METADATA(ns:deep):7%": '{"list"',
                "%FILTER_STATE(pre:PLAIN):0%": "",
                "%REQ(A):5%": "-",
            }
        )

    def test_cut_inside_of_a_letter(self) -> None:
        """A length counts bytes, and the rest of a letter stays as bytes."""
        about = known()
        about.set_filter_state("e", Text("é"))
        self.assertEqual(
            self.said("%FILTER_STATE(e:PLAIN):1%", about).encode("utf-8", "surrogateescape"),
            b"\xc3",
        )

    def test_never_raises(self) -> None:
        """An operator that fails is absent, and the failure is logged once."""
        about = known()
        about.addresses = None  # type: ignore[assignment]
        words = TextFormat("a %DOWNSTREAM_REMOTE_ADDRESS% b")
        self.assertEqual([words.format(about, LATER) for _ in "12"], ["a - b"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_supported(self) -> None:
        """What a configuration may use is what can be said, and all of it can be said of a
        connection of which nothing is known.
        """
        self.assertEqual(set(OPERATORS.table), KNOWN | {"REQ_WITHOUT_QUERY"})
        for name in OPERATORS.table.keys() - {"CEL", "TYPED_CEL"}:  # they may need a library
            argument = ARGUMENTS.get(name, "a")
            OPERATORS.build(Operator(name, argument))(StreamInfo(), LATER)

    def test_wants(self) -> None:
        """A format tells what it asks for once a connection is over."""
        for name, expected in (
            ("DOWNSTREAM_REMOTE_PORT", Wanted.REMOTE_ADDRESS),
            ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Wanted.REMOTE_ADDRESS),
            ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", Wanted.LOCAL_ADDRESS),
            ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Wanted.UPSTREAM_ADDRESSES),
            ("UPSTREAM_REMOTE_PORT", Wanted.UPSTREAM_ADDRESSES),
            ("TCPMESH(close_reason)", Wanted.IDLE),
            ('COALESCE({"operators": ["HOSTNAME"]})', EVERYTHING),
            ("UPSTREAM_HOST", NOTHING),
            ("START_TIME", NOTHING),
        ):
            self.assertEqual(TextFormat(f"%{name}%").wants, expected, name)
        both = TextFormat("%DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_LOCAL_PORT%").wants
        self.assertEqual(Wanted.REMOTE_ADDRESS | Wanted.LOCAL_ADDRESS, both)

    def test_wrong(self) -> None:
        """A text that Envoy refuses cannot be built."""
        self.assertRaises(FormatError, TextFormat, "100%")
