"""How values are written as bytes and read again: numbers, texts, tuples, records, messages.

Each `Form` says how one kind of value looks.  Nothing is taken from the bytes but the values that
a form describes: no types, no names, no code, so what comes from another process can be wrong but
not harmful.  Whole numbers are varints, as in protobuf; all else is preceded by its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from functools import partial
from typing import Any, Protocol

from tcpmesh.server.link.deep import read_message
from tcpmesh.values.address import Address


class LinkError(Exception):
    """These bytes are no message."""


class Form(Protocol):
    """The byte form of one kind of value."""

    def write(self, value: Any, out: bytearray) -> None:
        """Append the value."""

    def read(self, data: memoryview, at: int) -> tuple[Any, int]:
        """The value that begins here, and where it ends.

        :raise LinkError: where there is none.
        """


class _Whole:
    """A whole number, also a negative one."""

    def write(self, value: int, out: bytearray) -> None:
        number = value << 1 if value >= 0 else (-value << 1) - 1
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)

    def read(self, data: memoryview, at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            if at >= len(data):
                raise LinkError("a number is cut short")
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return (number >> 1 if not number & 1 else -(number + 1 >> 1)), at


WHOLE = _Whole()


class _Bytes:
    """Some bytes."""

    def write(self, value: bytes, out: bytearray) -> None:
        WHOLE.write(len(value), out)
        out += value

    def read(self, data: memoryview, at: int) -> tuple[bytes, int]:
        length, at = WHOLE.read(data, at)
        if not 0 <= length <= len(data) - at:
            raise LinkError("a value is cut short")
        return bytes(data[at : at + length]), at + length


BYTES = _Bytes()


class Mapped:
    """A value that is written as another one."""

    def __init__(
        self, form: Form, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]
    ) -> None:
        self.form = form
        self._pack = pack
        self._unpack = unpack

    def write(self, value: Any, out: bytearray) -> None:
        """As the other one."""
        self.form.write(self._pack(value), out)

    def read(self, data: memoryview, at: int) -> tuple[Any, int]:
        """What the other one stands for."""
        found, at = self.form.read(data, at)
        try:
            return self._unpack(found), at
        except Exception as e:
            raise LinkError(f"{found!r} stands for nothing: {e}") from e


TEXT = Mapped(
    BYTES,
    lambda text: text.encode("utf-8", "surrogateescape"),
    lambda data: data.decode("utf-8", "surrogateescape"),
)
TRUTH = Mapped(WHOLE, int, (False, True).__getitem__)
FRACTION = Mapped(BYTES, struct.Struct("<d").pack, lambda data: struct.unpack("<d", data)[0])


def enum_form(kind: type[Enum]) -> Mapped:
    """A value of an enum of whole numbers."""
    return Mapped(WHOLE, lambda each: each.value, kind)


def message_form(kind: Any) -> Mapped:
    """A protobuf message, or `None`."""
    return Optional(
        Mapped(BYTES, lambda each: each.SerializeToString(), partial(read_message, kind))
    )


class Optional(Mapped):
    """A value, or `None`."""

    def __init__(self, form: Form) -> None:
        super().__init__(
            Several(form), lambda value: () if value is None else (value,), _one_or_none
        )


def _one_or_none(values: tuple[Any, ...]) -> Any:
    if len(values) > 1:
        raise ValueError("more than one")
    return values[0] if values else None


class Several:
    """A tuple of values of one kind."""

    def __init__(self, form: Form) -> None:
        self.form = form

    def write(self, value: tuple[Any, ...], out: bytearray) -> None:
        """How many, then each."""
        WHOLE.write(len(value), out)
        for each in value:
            self.form.write(each, out)

    def read(self, data: memoryview, at: int) -> tuple[tuple[Any, ...], int]:
        """Each takes a byte at least, so no number of them costs more than the data has."""
        length, at = WHOLE.read(data, at)
        if not 0 <= length <= len(data) - at:
            raise LinkError("a tuple is cut short")
        found = []
        for _ in range(length):
            value, at = self.form.read(data, at)
            found.append(value)
        return tuple(found), at


class Together:
    """A tuple of values of different kinds."""

    def __init__(self, *forms: Form) -> None:
        self.forms = forms

    def write(self, value: tuple[Any, ...], out: bytearray) -> None:
        """One after the other."""
        for form, each in zip(self.forms, value, strict=True):
            form.write(each, out)

    def read(self, data: memoryview, at: int) -> tuple[tuple[Any, ...], int]:
        """One after the other."""
        found = []
        for form in self.forms:
            value, at = form.read(data, at)
            found.append(value)
        return tuple(found), at


class Record(Mapped):
    """A frozen dataclass: its fields in their order.

    :raise TypeError: where a field has no form, or there is one for no field.
    """

    def __init__(self, kind: Any, **forms: Form) -> None:
        names = [field.name for field in fields(kind)]
        if names != list(forms):
            raise TypeError(f"{kind.__name__} has the fields {names}, not {list(forms)}")
        self.kind = kind
        self.fields = forms
        super().__init__(
            Together(*forms.values()),
            lambda value: tuple(getattr(value, name) for name in names),
            lambda values: kind(*values),
        )


def mapping_form(form: Form) -> Mapped:
    """Values by texts."""
    return Mapped(Several(Together(TEXT, form)), lambda each: tuple(each.items()), dict)


ADDRESS = Mapped(
    Together(TEXT, WHOLE), lambda each: (each.host, each.port), lambda pair: Address(*pair)
)
