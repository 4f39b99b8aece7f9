"""Values as bytes: what is written is read again, and what nobody has written is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.link.codec import (
    BYTES,
    FRACTION,
    TEXT,
    TRUTH,
    WHOLE,
    Form,
    LinkError,
    Optional,
    Record,
    Several,
    Together,
    enum_form,
)
from tcpmesh.values.link import Outcome


@dataclass(frozen=True)
class Point:
    """Two numbers."""

    x: int
    y: int = 0


def written(form: Form, value: Any) -> bytes:
    """The bytes of a value."""
    out = bytearray()
    form.write(value, out)
    return bytes(out)


def read(form: Form, data: bytes) -> Any:
    """The value of these bytes, and how many it takes."""
    return form.read(memoryview(data), 0)


class FormTests(SynchronousTestCase):
    """Each kind of value."""

    def assert_same(self, form: Form, value: Any) -> None:
        """The value is read as it was written, and no byte is left."""
        data = written(form, value)
        self.assertEqual((value, len(data)), read(form, data))

    @given(st.integers())
    def test_whole(self, number: int) -> None:
        """Whole numbers of any size and sign come through."""
        self.assert_same(WHOLE, number)

    @given(st.floats(allow_nan=False))
    def test_fraction(self, number: float) -> None:
        """Fractions come through to the last bit."""
        self.assert_same(FRACTION, number)

    @given(st.text() | st.just("\udc80"), st.binary(), st.booleans())
    def test_others(self, text: str, data: bytes, truth: bool) -> None:
        """Texts, also those that stand for bytes of a path, bytes and truths come through."""
        self.assert_same(Together(TEXT, BYTES, TRUTH), (text, data, truth))

    def test_small(self) -> None:
        """A small number takes one byte."""
        self.assertEqual([1, 1, 2], [len(written(WHOLE, each)) for each in (0, -64, 64)])

    def test_none(self) -> None:
        """Nothing is told from something."""
        for value in (None, 0, 7):
            self.assert_same(Optional(WHOLE), value)

    def test_record(self) -> None:
        """A record has a form for each of its fields, in their order."""
        self.assert_same(Record(Point, x=WHOLE, y=WHOLE), Point(1, -2))
        self.assertRaises(TypeError, Record, Point, x=WHOLE)
        self.assertRaises(TypeError, Record, Point, y=WHOLE, x=WHOLE)
        self.assertRaises(TypeError, Record, Point, x=WHOLE, y=WHOLE, z=WHOLE)


class RefusalTests(SynchronousTestCase):
    """Bytes that are none of ours."""

    def test_cut_short(self) -> None:
        """A value of which a part is missing is refused, wherever it is cut."""
        form = Together(WHOLE, TEXT, Several(WHOLE), enum_form(Outcome))
        data = written(form, (1 << 40, "text", (1, 2, 3), Outcome.FAILED))
        for length in range(len(data)):
            self.assertRaises(LinkError, read, form, data[:length])

    def test_too_many(self) -> None:
        """A tuple that claims more values than there are bytes is refused before it is made."""
        self.assertRaises(LinkError, read, Several(WHOLE), written(WHOLE, 1 << 40))
        self.assertRaises(LinkError, read, Several(WHOLE), written(WHOLE, -1))
        self.assertRaises(LinkError, read, BYTES, written(WHOLE, -1))

    def test_stands_for_nothing(self) -> None:
        """A number that no value of an enum has, and a second value of at most one, are
        refused.
        """
        self.assertRaises(LinkError, read, enum_form(Outcome), written(WHOLE, 99))
        self.assertRaises(LinkError, read, TRUTH, written(WHOLE, 2))
        two = written(Several(WHOLE), (1, 2))
        self.assertRaises(LinkError, read, Optional(WHOLE), two)
