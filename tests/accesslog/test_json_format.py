"""What a JSON format makes of a connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.config.fields.operators import FormatError
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

    def test_wrong(self) -> None:
        """A string that Envoy refuses is found wherever it stands."""
        self.assertRaises(FormatError, JsonFormat, {"a": [{"b": "%"}]})
