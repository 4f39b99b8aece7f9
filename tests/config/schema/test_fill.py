"""Files of older descriptors, and what newer ones add to them."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pool import DescriptorPool

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.schema.fill import fill
from tests.config.schema.gaps import gap


def file_of(*fields: str, **more: object) -> FileDescriptorProto:
    """A file with one message of optional numbers; `name@oneof` is of a oneof, `name?` optional."""
    file = FileDescriptorProto(name="a.proto", package="a", syntax="proto3")
    message = file.message_type.add(name="M")
    for number, text in enumerate(fields, 1):
        if text:
            add(message, number, *text.partition("@")[::2])
    for name, value in more.items():
        getattr(message, name).extend(value)
    return file


def add(message: DescriptorProto, number: int, name: str, oneof: str = "") -> None:
    """Add a field to a message."""
    field = message.field.add(
        name=name.removesuffix("?"),
        number=number,
        type=Field.TYPE_INT32,
        label=Field.LABEL_OPTIONAL,
    )
    if name.endswith("?"):
        field.proto3_optional = True
        oneof = f"_{field.name}"
    names = [each.name for each in message.oneof_decl]
    if oneof:
        field.oneof_index = names.index(oneof) if oneof in names else len(names)
        if oneof not in names:
            message.oneof_decl.add(name=oneof)


def oneofs_of(file: FileDescriptorProto) -> dict[str, str]:
    """The fields of the message as protobuf takes them, each with the name of its oneof."""
    known: Any = DescriptorPool().AddSerializedFile(file.SerializeToString())
    return {
        field.name: field.containing_oneof.name if field.containing_oneof else ""
        for field in known.message_types_by_name["M"].fields
    }


class FillTests(SynchronousTestCase):
    """Fields, values and messages that are missing."""

    def filled(self, old: FileDescriptorProto, new: FileDescriptorProto) -> list[str]:
        """The names of the fields of the message once it is filled, in order of their numbers."""
        fill(old, new)
        fields = sorted(old.message_type[0].field, key=lambda field: field.number)
        return [field.name for field in fields]

    def test_field(self) -> None:
        """A field that is missing is added, and those that are there stay."""
        old = file_of("a")
        self.assertTrue(fill(old, file_of("a", "b")))
        self.assertEqual({"a": "", "b": ""}, oneofs_of(old))

    def test_nothing_missing(self) -> None:
        """A file that has all, and more, is left as it is, with its dependencies."""
        old, new = file_of("a", "b", "c"), file_of("a", "b")
        new.dependency.append("b.proto")
        before = old.SerializeToString()

        self.assertFalse(fill(old, new))
        self.assertEqual(before, old.SerializeToString())

    def test_taken(self) -> None:
        """A name or a number that the file uses otherwise stays the file's."""
        self.assertEqual(["other"], self.filled(file_of("other"), file_of("b")))
        self.assertEqual(["b"], self.filled(file_of("", "b"), file_of("b")))

    def test_reserved(self) -> None:
        """So does what it reserves: a field that is gone for good does not come back."""
        span = DescriptorProto.ReservedRange(start=2, end=3)
        self.assertEqual(["a"], self.filled(file_of("a", reserved_range=[span]), file_of("a", "b")))
        self.assertEqual(["a"], self.filled(file_of("a", reserved_name=["b"]), file_of("a", "b")))

    def test_oneof(self) -> None:
        """A field that excludes others excludes them still, whatever the order of the oneofs."""
        old = file_of("a@x", "b@y")
        fill(old, file_of("d@z", "b@y", "c@z", "e@x", "f@z"))

        self.assertEqual({"a": "x", "b": "y", "c": "z", "e": "x", "f": "z"}, oneofs_of(old))

    def test_optional(self) -> None:
        """An `optional` field may be added, and a oneof beside it."""
        old = file_of("a?")
        fill(old, file_of("a?", "b@x", "c?"))

        self.assertEqual({"a": "_a", "b": "x", "c": "_c"}, oneofs_of(old))

    def test_inner_message(self) -> None:
        """Messages in messages are filled, too, and added with what is in them."""
        old, new = file_of("a"), file_of("a")
        old.message_type[0].nested_type.add(name="In")
        add(new.message_type[0].nested_type.add(name="In"), 1, "b")
        add(new.message_type[0].nested_type.add(name="Other"), 1, "c")

        self.assertTrue(fill(old, new))
        inner = {m.name: [f.name for f in m.field] for m in old.message_type[0].nested_type}
        self.assertEqual({"In": ["b"], "Other": ["c"]}, inner)

    def test_enum(self) -> None:
        """An enum gets the values that it lacks, but none of a number that it has or reserves."""
        old, new = file_of(), file_of()
        enum = old.enum_type.add(name="E", reserved_name=["GONE"])
        enum.reserved_range.add(start=4, end=5)
        enum.value.add(name="ZERO", number=0)
        newer = new.enum_type.add(name="E")
        for number, name in enumerate(("NULL", "ONE", "GONE", "THREE", "FOUR", "FIVE", "SIX")):
            newer.value.add(name=name, number=number)

        self.assertTrue(fill(old, new))
        names = [value.name for value in enum.value]
        self.assertEqual(["ZERO", "ONE", "THREE", "SIX"], names)

    def test_service(self) -> None:
        """A service that is missing is added, and what the additions depend on."""
        old, new = file_of(), file_of()
        old.dependency.append("b.proto")
        new.dependency.extend(["b.proto", "c.proto"])
        new.service.add(name="S")

        self.assertTrue(fill(old, new))
        self.assertEqual(["S"], [service.name for service in old.service])
        self.assertEqual(["b.proto", "c.proto"], old.dependency)


class GapTests(SynchronousTestCase):
    """What is recorded of a newer file."""

    def test_fills(self) -> None:
        """What is recorded is enough to make the older file whole, and no more than that."""
        old, new = file_of("a@x", "b"), file_of("a@x", "b", "c@x", "d")
        new.message_type.add(name="N")
        missing = gap(new, old)
        assert missing is not None

        self.assertEqual(["c", "d"], [field.name for field in missing.message_type[0].field])
        self.assertTrue(fill(old, missing))
        self.assertIsNone(gap(new, old))

    def test_none(self) -> None:
        """Of a file that lacks nothing, nothing is recorded, nor where a number has a new name."""
        self.assertIsNone(gap(file_of("a"), file_of("a", "b")))
        self.assertIsNone(gap(file_of("b"), file_of("a")))
