"""Single values for protobuf fields."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.scalars import (
    Reader,
    Wrong,
    did_you_mean,
    enum_reader,
    integer_reader,
    read_bool,
    read_bytes,
    read_duration,
    read_string,
    real_reader,
)
from tcpmesh.config.text.source import Mapping, Scalar, Sequence

PORT = integer_reader(0, 65535)
PERCENT = real_reader(1e308)
POLICY = enum_reader(Cluster.LbPolicy.DESCRIPTOR)


def node(value: Any) -> Scalar:
    """A scalar of this value."""
    return Scalar(1, 1, value)


class ScalarTests(SynchronousTestCase):
    """The readers of single values."""

    def reads(self, read: Reader, expected: dict[Any, Any]) -> None:
        """Assert what a reader makes of values."""
        self.assertEqual(expected, {value: read(node(value)) for value in expected})

    def refuses(self, read: Reader, *values: Any) -> None:
        """Assert that a reader takes none of these, nor a list or mapping."""
        for value in (*map(node, values), Sequence(1, 1), Mapping(1, 1)):
            self.assertRaises(Wrong, read, value)

    def test_string(self) -> None:
        """Only text is a string; a number is told to be quoted."""
        self.reads(read_string, {"a": "a", "": ""})
        self.refuses(read_string, 5, True, None)
        self.assertIn("quotes", self.assertRaises(Wrong, read_string, node(5)).hint)

    def test_integer(self) -> None:
        """Whole numbers in range, also written as text or as a real."""
        self.reads(PORT, {"80": 80, "080": 80, 80.0: 80, "80.0": 80, "8e1": 80, 0: 0, 65535: 65535})
        self.refuses(
            PORT,
            65536,
            -1,
            80.5,
            "0x50",
            "",
            " 80",
            "http",
            True,
            None,
            float("inf"),
            float("nan"),
            "9" * 400,
            "1e999",
        )

    def test_real(self) -> None:
        """Numbers and text of numbers, and the names JSON has for the others."""
        self.reads(
            PERCENT, {"50": 50.0, "1.5": 1.5, 2: 2.0, "1e3": 1000.0, "Infinity": float("inf")}
        )
        self.refuses(PERCENT, "abc", ".nan", True, None, float("inf"), "1e400", 10**400)

    def test_bool(self) -> None:
        """Booleans, and text that stands for one; bare numbers do not."""
        self.reads(read_bool, {True: True, False: False, "yes": True, "N": False, "t": True})
        self.assertTrue(read_bool(node("1")))
        self.refuses(read_bool, 2, "maybe", None)

    def test_enum(self) -> None:
        """Names in any case, and numbers, known or not."""
        self.reads(POLICY, {"RANDOM": 3, "rAnDoM": 3, "3": 3, 99: 99})
        self.refuses(POLICY, "ring-hash", True, None, 2**31)

    def test_enum_hint(self) -> None:
        """A misspelt name is told the right one."""
        self.assertEqual(
            "did you mean 'ROUND_ROBIN'?", self.assertRaises(Wrong, POLICY, node("ROUNDROBIN")).hint
        )

    def test_bytes(self) -> None:
        """Base64 of both alphabets, padded or not."""
        self.reads(read_bytes, {"/+8=": b"\xff\xef", "_-8": b"\xff\xef", "": b""})
        self.refuses(read_bytes, "!", "a", 5)

    def test_duration(self) -> None:
        """Seconds with up to nine decimals and an s."""
        self.reads(
            read_duration,
            {
                "1s": (1, 0),
                "0.25s": (0, 250_000_000),
                "01s": (1, 0),
                "-0.5s": (0, -500_000_000),
                "0.000000001s": (0, 1),
            },
        )
        self.refuses(
            read_duration,
            1,
            1.5,
            "1",
            "1ms",
            "1m",
            "1 s",
            " 1s",
            "1S",
            "s",
            ".25s",
            "1.s",
            "+1s",
            "1e3s",
            "1.1234567891s",
        )
        self.refuses(read_duration, "315576000001s", "9" * 400 + "s", "9" * 9000 + "s", None, True)

    def test_duration_hint(self) -> None:
        """Other units are told how to write it."""
        hints = {
            text: self.assertRaises(Wrong, read_duration, node(text)).hint
            for text in ("250ms", "5", "250", "1m", "1h", "soon")
        }

        self.assertEqual(
            {
                "250ms": "write 0.25s",
                "5": "write 5s",
                "250": "write 0.25s where these are milliseconds, else 250s",
                "1m": "write 60s",
                "1h": "write 3600s",
                "soon": "",
            },
            hints,
        )

    def test_did_you_mean(self) -> None:
        """A near name is suggested, a far one is not."""
        self.assertEqual(
            "did you mean 'port_value'?", did_you_mean("port-valeu", ["address", "port_value"])
        )
        self.assertEqual(
            "did you mean 'port_value'?", did_you_mean("port", ["address", "port_value"])
        )
        self.assertEqual("", did_you_mean("x", ["address", "port_value"]))
