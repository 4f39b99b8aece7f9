"""What a `.proto` file has beyond an older one: the opposite of `tcpmesh.config.schema.fill`."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto


def gap(new: FileDescriptorProto, old: FileDescriptorProto) -> FileDescriptorProto | None:
    """What of a file is missing in an older one; `None` where nothing is.

    A field whose number is another's in the older file is not missing but changed.
    """
    file = FileDescriptorProto(name=new.name, package=new.package, syntax=new.syntax)
    file.dependency.extend(name for name in new.dependency if name not in old.dependency)
    file.message_type.extend(_messages(new.message_type, old.message_type))
    file.enum_type.extend(_enums(new.enum_type, old.enum_type))
    services = {service.name for service in old.service}
    file.service.extend(service for service in new.service if service.name not in services)
    return file if file.message_type or file.enum_type or file.service else None


def _messages(
    new: Iterable[DescriptorProto], old: Iterable[DescriptorProto]
) -> list[DescriptorProto]:
    known = {message.name: message for message in old}
    found = [_message(each, known[each.name]) if each.name in known else each for each in new]
    return [message for message in found if message is not None]


def _message(new: DescriptorProto, old: DescriptorProto) -> DescriptorProto | None:
    taken = {part for field in old.field for part in (field.name, field.number)}
    message = DescriptorProto(name=new.name)
    message.field.extend(each for each in new.field if not taken & {each.name, each.number})
    message.nested_type.extend(_messages(new.nested_type, old.nested_type))
    message.enum_type.extend(_enums(new.enum_type, old.enum_type))
    if any(field.HasField("oneof_index") for field in message.field):
        message.oneof_decl.extend(new.oneof_decl)
    return message if message.field or message.nested_type or message.enum_type else None


def _enums(
    new: Iterable[EnumDescriptorProto], old: Iterable[EnumDescriptorProto]
) -> list[EnumDescriptorProto]:
    known = {enum.name: enum for enum in old}
    found = [_enum(each, known[each.name]) if each.name in known else each for each in new]
    return [enum for enum in found if enum.value]


def _enum(new: EnumDescriptorProto, old: EnumDescriptorProto) -> EnumDescriptorProto:
    names = {value.name for value in old.value}
    return EnumDescriptorProto(name=new.name, value=[v for v in new.value if v.name not in names])
