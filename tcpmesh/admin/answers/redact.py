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


def redacted(message: Message) -> Any:
    """A copy of the message without its secrets."""
    copy = type(message)()
    copy.CopyFrom(message)
    _redact(copy, secret=False)
    return copy


def _redact(message: Message, secret: bool) -> None:
    if isinstance(message, any_pb2.Any):
        _redact_packed(message, secret)
        return
    for field, value in message.ListFields():
        hide = secret or field.GetOptions().Extensions[sensitive_pb2.sensitive]
        inner = field.message_type
        if inner is None:
            _replace(message, field, value, hide)
        elif not inner.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                _redact(each, hide)
        elif inner.fields_by_name["value"].message_type is not None:
            for key in value:
                _redact(value[key], hide)
        elif hide:
            message.ClearField(field.name)


def _redact_packed(packed: any_pb2.Any, secret: bool) -> None:
    """What is packed in an `Any` is unpacked for it; a type that is not known cannot be looked
    into, nor shown.
    """
    try:
        descriptor = default_pool().FindMessageTypeByName(packed.TypeName())
    except KeyError:
        packed.Clear()
        return
    inner = message_factory.GetMessageClass(descriptor)()
    packed.Unpack(inner)
    _redact(inner, secret)
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
