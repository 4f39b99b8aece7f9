"""Messages of gRPC in bodies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.grpc import (
    PREFIX,
    MessageReader,
    MessageTooLarge,
    framed,
    message_text,
    timeout_text,
)


class TimeoutTests(SynchronousTestCase):
    """`grpc-timeout`."""

    def test_timeout(self) -> None:
        """At most eight digits of milliseconds, then seconds."""
        self.assertEqual(
            ["300m", "99999999m", "100000S"],
            [timeout_text(each) for each in (0.3, 99999.999, 100000)],
        )


class MessageTests(SynchronousTestCase):
    """Any number of messages."""

    @given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 30))
    def test_in_pieces(self, messages: list[bytes], size: int) -> None:
        """However the bytes come, the messages are those that were sent, in order."""
        data = b"".join(map(framed, messages))
        reader = MessageReader(40)
        found = []
        for at in range(0, len(data), size):
            found += reader.feed(data[at : at + size])
        self.assertEqual([(0, each) for each in messages], found)
        self.assertTrue(reader.is_between)

    @given(st.binary(max_size=200), st.integers(1, 30))
    def test_anything(self, data: bytes, size: int) -> None:
        """Whatever comes, no more is kept than the largest message has."""
        reader = MessageReader(20)
        for at in range(0, len(data), size):
            try:
                found = reader.feed(data[at : at + size])
            except MessageTooLarge:
                return
            self.assertLessEqual(max((len(each) for _, each in found), default=0), 20)
            self.assertLess(len(reader._unread), PREFIX + 20)

    def test_too_large(self) -> None:
        """A message is refused as soon as its length is known."""
        reader = MessageReader(3)
        self.assertEqual([(0, b"abc")], reader.feed(framed(b"abc")))
        self.assertEqual([], reader.feed(framed(b"abcd")[: PREFIX - 1]))
        self.assertRaises(MessageTooLarge, reader.feed, b"\4")

    def test_flags(self) -> None:
        """The flags are told, and half of a message is no message."""
        reader = MessageReader(3)
        self.assertEqual([(1, b"a")], reader.feed(b"\1" + framed(b"a")[1:] + b"\0"))
        self.assertFalse(reader.is_between)


class TextTests(SynchronousTestCase):
    """`grpc-message`."""

    def test_text(self) -> None:
        """Percent-encoded UTF-8; what is not is shown as it can."""
        for field, wanted in (
            ("no%20way", "no way"),
            ("%C3%A9", "\u00e9"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%ff", "\ufffd"),
            ("\u00c3\u00a9", "\u00e9"),
            ("", ""),
        ):
            self.assertEqual(wanted, message_text(field), field)

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Whatever it is, it is a text."""
        self.assertIsInstance(message_text(text), str)
