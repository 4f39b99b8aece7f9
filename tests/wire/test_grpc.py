"""Messages of gRPC in bodies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.grpc import MalformedAnswer, UnaryReader, framed, timeout_text


class GrpcTests(SynchronousTestCase):
    """One message for a call."""

    def test_pieces(self) -> None:
        """A message is the same whatever pieces it comes in, and not there before its end."""
        reader = UnaryReader()
        for byte in framed(b"ab"):
            self.assertIsNone(reader.message)
            reader.feed(bytes([byte]))
        self.assertEqual(b"ab", reader.message)

    def test_empty(self) -> None:
        """Empty messages are skipped."""
        reader = UnaryReader()
        reader.feed(framed(b"") + framed(b"a") + framed(b""))
        self.assertEqual(b"a", reader.message)

    def test_malformed(self) -> None:
        """A second message is refused, and one that is compressed."""
        for body in (framed(b"a") * 2, b"\1" + framed(b"a")[1:]):
            self.assertRaises(MalformedAnswer, UnaryReader().feed, body)

    def test_timeout(self) -> None:
        """At most eight digits of milliseconds, then seconds."""
        self.assertEqual(
            ["300m", "99999999m", "100000S"],
            [timeout_text(each) for each in (0.3, 99999.999, 100000)],
        )
