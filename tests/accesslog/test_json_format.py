"""What a JSON format makes of a connection."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.config.fields.operators import FormatError
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.wanted import NOTHING, Wanted
from tests.accesslog.known import LATER, known


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

    def test_addresses(self) -> None:
        """A format tells whether it asks for addresses, wherever that stands."""
        address = JsonFormat({"a": [{"b": "x%UPSTREAM_LOCAL_ADDRESS%"}]})
        self.assertEqual(Wanted.UPSTREAM_ADDRESSES, address.wants)
        self.assertEqual(NOTHING, JsonFormat({"a": [{"b": "%UPSTREAM_HOST%"}]}).wants)

    def test_no_utf8(self) -> None:
        """A text that is no UTF-8 is shown byte for byte, as Envoy wrote the same bytes; so is what
        stands inside of a value.
        """
        about = known()
        about.set_filter_state("s", Text('\udcff\udcfe"x\x01\xe9'))
        about.metadata = {"a": {"b": ["\udcff\xe9"]}}
        line = JsonFormat({"a": "%FILTER_STATE(s:PLAIN)%", "b": "%DYNAMIC_METADATA(a)%"}).format(
            about, LATER
        )
        self.assertEqual(
            json.loads(line), {"a": '\xff\xfe"x\x01\xc3\xa9', "b": {"b": ["\xff\xe9"]}}
        )
        line.encode()

    def test_numbers(self) -> None:
        """Numbers of the format stay numbers, whole ones without a fraction."""
        shape = {"a": 5.0, "b": 1.5, "c": 1e20, "d": True, "e": 0.1}
        expected = '{"a":5,"b":1.5,"c":1e+20,"d":true,"e":0.1}\n'
        self.assertEqual(JsonFormat(shape).format(known(), LATER), expected)

    def test_never_raises(self) -> None:
        """An operator that fails is null, or left out, and its failure is logged once."""
        about = known()
        about.addresses = None  # type: ignore[assignment]
        shape = {"a": "%DOWNSTREAM_REMOTE_ADDRESS%", "b": 1}
        for omit_empty, expected in ((False, '{"a":null,"b":1}\n'), (True, '{"b":1}\n')):
            lines = JsonFormat(shape, omit_empty)
            self.assertEqual([lines.format(about, LATER) for _ in "12"], [expected] * 2)
            self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_wrong(self) -> None:
        """A string that Envoy refuses is found wherever it stands."""
        self.assertRaises(FormatError, JsonFormat, {"a": [{"b": "%"}]})
