"""Keeps secrets out of what the admin interface shows.

The schema marks fields that hold a secret (`udpa.annotations.sensitive`): private keys, passwords,
tokens.  Everything below such a field is replaced, file names included, as Envoy does, and messages
inside of an `Any` are no exception.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import Default as default_pool
from google.protobuf.message import Message
from udpa.annotations import sensitive_pb2

REDACTED = "[redacted]"

MOST_PACKED = 30
"""Messages in an `Any`, one in the other, that are looked into: nobody has more than a few, and a
file may have thousands.
"""


def redacted(message: Message) -> Any:
    """A copy of the message without its secrets."""
    copy = type(message)()
    copy.CopyFrom(message)
    _redact(copy, False, 0)
    return copy


def _redact(message: Message, secret: bool, depth: int) -> None:
    if isinstance(message, any_pb2.Any):
        _redact_packed(message, secret, depth + 1)
        return
    for field, value in message.ListFields():
        hide = secret or field.GetOptions().Extensions[sensitive_pb2.sensitive]
        inner = field.message_type
        if inner is None:
            _replace(message, field, value, hide)
        elif not inner.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                _redact(each, hide, depth)
        elif inner.fields_by_name["value"].message_type is not None:
            for key in value:
                _redact(value[key], hide, depth)
        elif hide:
            message.ClearField(field.name)


def _redact_packed(packed: any_pb2.Any, secret: bool, depth: int) -> None:
    """What is packed in an `Any` is unpacked for it; a type that is not known cannot be looked
    into, nor shown, and neither is what is packed too many times.
    """
    if depth > MOST_PACKED:
        packed.Clear()
        return
    try:
        descriptor = default_pool().FindMessageTypeByName(packed.TypeName())
    except KeyError:
        packed.Clear()
        return
    inner = message_factory.GetMessageClass(descriptor)()
    packed.Unpack(inner)
    _redact(inner, secret, depth)
    packed.Pack(inner)


def _replace(message: Message, field: FieldDescriptor, value: Any, hide: bool) -> None:
    """Put a placeholder where a secret text or bytes are; a number says too much too, and has
    none.
    """
    if not hide:
        return
    text = {
        FieldDescriptor.TYPE_STRING: REDACTED,
        FieldDescriptor.TYPE_BYTES: REDACTED.encode(),
    }.get(field.type)
    if text is None:
        message.ClearField(field.name)
    elif field.is_repeated:
        value[:] = [text] * len(value)
    else:
        setattr(message, field.name, text)
