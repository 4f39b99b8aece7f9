"""Nodes become protobuf messages, by walking the descriptors of Envoy's schema.

`json_format` would do it in a line, but it stops at the first mistake and cannot say where it
stands.  Here every field is read for itself, what does not fit is collected as a problem with its
line, and the rest is read on.

Each message type is looked at once: its `Shape` maps both spellings of each field to a `Slot` that
knows how to put a node into the message.  Types that JSON writes in a way of their own (durations,
wrappers, Struct, Any) have readers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tcpmesh.config.messages.nesting import TOO_DEEP, is_readable
from tcpmesh.config.messages.scalars import (
    Wrong,
    did_you_mean,
    expected,
    read_duration,
    reader_of,
    shown,
)
from tcpmesh.config.messages.structs import read_list_value, read_struct, read_value
from tcpmesh.config.messages.types import (
    TYPED_STRUCTS,
    full_name_of,
    is_foreign,
    new_message,
    type_of_url,
)
from tcpmesh.config.text.problems import HINTED, FieldPath, Path, Problem, path_of, path_text
from tcpmesh.config.text.source import Document, Mapping, Node, Scalar
from tcpmesh.config.text.source_map import flattened

#: Where Envoy's v2 API had another name, or users expect one.
_RENAMED = {
    "tls_context": "transport_socket",
    "hosts": "load_assignment",
    "config": "typed_config",
    "runtime": "layered_runtime",
    "build_version": "user_agent_build_version",
}

#: What many write one level too high.
_BELOW = {
    ("envoy.config.bootstrap.v3.Bootstrap", name): "static_resources"
    for name in ("listeners", "clusters", "secrets")
} | {
    ("envoy.config.listener.v3.Listener", "filters"): "filter_chains",
    ("envoy.config.cluster.v3.Cluster", "endpoints"): "load_assignment",
    ("envoy.config.cluster.v3.Cluster", "lb_endpoints"): "load_assignment",
}


_AS_STRUCT = (
    "the package that handles it has no message of this name: write '@type': "
    "type.googleapis.com/xds.type.v3.TypedStruct, its name as type_url, and the fields below value"
)


class Slot:
    """One field of a message type: how a node is put into it."""

    __slots__ = ("field", "name", "oneof", "put", "takes_null")

    def __init__(self, field: FieldDescriptor) -> None:
        self.field = field
        self.name = field.name
        oneof = field.containing_oneof
        self.oneof = oneof.name if oneof is not None and len(oneof.fields) > 1 else ""
        self.takes_null = full_name_of(field) == "google.protobuf.Value" or _is_null_enum(field)
        self.put: Callable[[Reading, Node, Message, FieldPath], None] = _putter(field)


class Shape:
    """A message type as text gives it: its fields under both of their names."""

    __slots__ = ("full_name", "names", "slots")

    def __init__(self, descriptor: Descriptor) -> None:
        self.full_name = descriptor.full_name
        self.names = [field.name for field in descriptor.fields]
        self.slots: dict[str, Slot] = {}
        for field in descriptor.fields:
            self.slots[field.name] = self.slots[field.json_name] = Slot(field)


@cache
def shape_of(descriptor: Descriptor) -> Shape:
    """The shape of a message type, made once."""
    return Shape(descriptor)


class Reading:
    """One document on its way into a message, and what was found wrong with it.

    `spoiled` has the paths of fields that could not be read, `incomplete` those of messages with a
    field nobody knows: what later checks find missing there is not worth saying.  An `overlay` is
    merged over an earlier document by protobuf's rules: lists append, map entries replace, and a
    value that equals the default of a field without presence does not show.
    """

    def __init__(
        self, document: Document, allow_unknown_fields: bool = False, overlay: bool = False
    ) -> None:
        self.document = document
        self.overlay = overlay
        self.allow_unknown_fields = allow_unknown_fields
        self.problems: list[Problem] = [
            Problem(document.place(node), "", text, "warning") for node, text in document.remarks
        ]
        self.spoiled: set[Path] = set()
        self.incomplete: set[Path] = set()
        self.unknown_fields = 0

    def into(self, message: Message) -> None:
        """Read the whole document into a message."""
        self.message(self.document.root, message, None)

    def problem(
        self, node: Node, field_path: FieldPath, wrong: Wrong, severity: str = "error"
    ) -> None:
        path = path_of(field_path)
        self.spoiled.add(path)
        self.problems.append(
            Problem(self.document.place(node), path_text(path), wrong.text, severity, wrong.hint)
        )

    def unknown(self, key: Node, field_path: FieldPath, wrong: Wrong) -> None:
        """A name that the schema does not have: a mistake, unless the user lets such names pass."""
        self.unknown_fields += 1
        self.problem(key, field_path, wrong, "warning" if self.allow_unknown_fields else "error")

    def message(self, node: Node, message: Message, field_path: FieldPath) -> None:
        """Read a node into a message of any type."""
        descriptor = message.DESCRIPTOR
        special = _SPECIAL.get(descriptor.full_name)
        if special is not None:
            special(self, node, message, field_path)
        else:
            self.plain_message(node, message, field_path)

    def plain_message(self, node: Node, message: Message, field_path: FieldPath) -> None:
        """Read a mapping of field names."""
        if type(node) is not Mapping:
            self.problem(
                node,
                field_path,
                expected(f"a mapping with the fields of {message.DESCRIPTOR.full_name}", node),
            )
        else:
            self.fields(node, node.items.items(), message, field_path)

    def fields(
        self,
        mapping: Mapping,
        items: Iterable[tuple[str, Node]],
        message: Message,
        field_path: FieldPath,
    ) -> None:
        """Read these entries of a mapping into the fields of a message."""
        shape = shape_of(message.DESCRIPTOR)
        slots = shape.slots
        chosen: dict[str, Slot] = {}
        for key, value in items:
            slot = slots.get(key)
            if slot is None:
                self.unknown_field(mapping.keys[key], key, shape, field_path)
            elif type(value) is Scalar and value.value is None and not slot.takes_null:
                continue
            elif slot.oneof and chosen.setdefault(slot.oneof, slot) is not slot:
                other = chosen[slot.oneof].name
                wrong = Wrong(
                    f"{slot.name!r} and {other!r} exclude each other (oneof {slot.oneof})"
                )
                self.problem(mapping.keys[key], (field_path, slot.name), wrong)
            else:
                slot.put(self, value, message, (field_path, slot.name))

    def unknown_field(self, key_node: Node, key: str, shape: Shape, field_path: FieldPath) -> None:
        self.incomplete.add(path_of(field_path))
        renamed = _RENAMED.get(key, "")
        hint = (
            f"use {renamed!r}; `tcpmesh migrate` rewrites the file"
            if renamed in shape.names
            else ""
        )
        if not hint and (shape.full_name, key) in _BELOW:
            hint = f"write it below {_BELOW[shape.full_name, key]!r}"
        if not hint and self.unknown_fields < HINTED:
            hint = did_you_mean(key, shape.names)
        self.unknown(
            key_node, (field_path, key), Wrong(f"unknown field {key!r} of {shape.full_name}", hint)
        )


# ---------------------------------------------------------------- fields


def _is_null_enum(field: FieldDescriptor) -> bool:
    return field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue"


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _putter(field: FieldDescriptor) -> Callable[[Reading, Node, Message, FieldPath], None]:
    """The function that puts a node into this field of a message."""
    if _is_map(field):
        return _map_putter(field)
    if field.is_repeated:
        return (
            _message_list_putter(field.name) if field.message_type else _scalar_list_putter(field)
        )
    return _message_putter(field.name) if field.message_type else _scalar_putter(field)


def _scalar_putter(field: FieldDescriptor) -> Callable[[Reading, Node, Message, FieldPath], None]:
    name, read = field.name, reader_of(field)

    merges = not field.has_presence

    def put(reading: Reading, node: Node, message: Message, field_path: FieldPath) -> None:
        try:
            value = read(node)
        except Wrong as wrong:
            _refuse(reading, node, field_path, wrong)
            return
        if value or not (merges and reading.overlay):
            setattr(message, name, value)

    if _is_null_enum(field):
        return lambda reading, node, message, field_path: setattr(message, name, 0)
    return put


def _refuse(reading: Reading, node: Node, field_path: FieldPath, wrong: Wrong) -> None:
    """Report a value; the unknown name of an enum value passes where unknown fields do, as for
    Envoy.
    """
    if wrong.text.startswith("unknown value"):
        reading.unknown(node, field_path, wrong)
    else:
        reading.problem(node, field_path, wrong)


def _message_putter(name: str) -> Callable[[Reading, Node, Message, FieldPath], None]:
    def put(reading: Reading, node: Node, message: Message, field_path: FieldPath) -> None:
        inner = getattr(message, name)
        inner.SetInParent()
        reading.message(node, inner, field_path)

    return put


def _scalar_list_putter(
    field: FieldDescriptor,
) -> Callable[[Reading, Node, Message, FieldPath], None]:
    name, read = field.name, reader_of(field)
    default = (
        b""
        if field.type == FieldDescriptor.TYPE_BYTES
        else ""
        if field.type == FieldDescriptor.TYPE_STRING
        else 0
    )

    def put(reading: Reading, node: Node, message: Message, field_path: FieldPath) -> None:
        values = getattr(message, name)
        for index, item in enumerate(flattened(node), len(values)):
            try:
                values.append(default if _is_null(item) else read(item))
            except Wrong as wrong:
                _refuse(reading, item, (field_path, index), wrong)
                values.append(default)

    return put


def _message_list_putter(name: str) -> Callable[[Reading, Node, Message, FieldPath], None]:
    def put(reading: Reading, node: Node, message: Message, field_path: FieldPath) -> None:
        values = getattr(message, name)
        for index, item in enumerate(flattened(node), len(values)):
            inner = values.add()
            if not _is_null(item) or inner.DESCRIPTOR.full_name == "google.protobuf.Value":
                reading.message(item, inner, (field_path, index))

    return put


def _is_null(node: Node) -> bool:
    return type(node) is Scalar and node.value is None


def _map_putter(field: FieldDescriptor) -> Callable[[Reading, Node, Message, FieldPath], None]:
    name = field.name
    entry = field.message_type
    assert entry is not None
    key_field, value_field = (entry.fields_by_name[part] for part in ("key", "value"))
    read_key = reader_of(key_field)
    read_value = None if value_field.message_type else reader_of(value_field)

    def put_one(
        reading: Reading, key: Scalar, node: Node, target: Any, field_path: FieldPath
    ) -> None:
        plain = read_key(key)
        if read_value is not None:
            target[plain] = read_value(node)
        else:
            inner = target[plain]
            inner.Clear()
            if not _is_null(node) or inner.DESCRIPTOR.full_name == "google.protobuf.Value":
                reading.message(node, inner, field_path)

    def put(reading: Reading, node: Node, message: Message, field_path: FieldPath) -> None:
        if type(node) is not Mapping:
            reading.problem(node, field_path, expected("a mapping", node))
            return
        target = getattr(message, name)
        for key, value in node.items.items():
            place = node.keys[key]
            try:
                put_one(
                    reading, Scalar(place.line, place.column, key), value, target, (field_path, key)
                )
            except Wrong as wrong:
                _refuse(reading, value, (field_path, key), wrong)

    return put


# ---------------------------------------------------------------- types with a text form of their
# own


def _read_duration_message(
    reading: Reading, node: Node, message: Any, field_path: FieldPath
) -> None:
    if type(node) is Mapping:
        reading.plain_message(node, message, field_path)
        return
    try:
        message.seconds, message.nanos = read_duration(node)
    except Wrong as wrong:
        reading.problem(node, field_path, wrong)


def _read_text_form(reading: Reading, node: Node, message: Any, field_path: FieldPath) -> None:
    """A Timestamp or FieldMask, whose text protobuf itself reads."""
    if type(node) is Mapping:
        reading.plain_message(node, message, field_path)
        return
    value = getattr(node, "value", None)
    try:
        message.FromJsonString(value)
    except (ValueError, AttributeError, TypeError):
        reading.problem(
            node, field_path, expected(f"the text of a {message.DESCRIPTOR.name}", node)
        )


def _read_wrapper(reading: Reading, node: Node, message: Message, field_path: FieldPath) -> None:
    if type(node) is Mapping:
        reading.plain_message(node, message, field_path)
    elif not _is_null(node):
        shape_of(message.DESCRIPTOR).slots["value"].put(reading, node, message, field_path)


def _read_any(reading: Reading, node: Node, message: Any, field_path: FieldPath) -> None:
    """Read `{"@type": ..., fields}`; a TypedStruct becomes the message that it stands for."""
    if type(node) is not Mapping:
        reading.problem(node, field_path, expected("a mapping with an '@type'", node))
    elif "@type" in node.items:
        _read_typed(reading, node, message, field_path)
    elif node.items:
        near = did_you_mean(next(iter(node.items)), ["@type"])
        reading.problem(
            node, field_path, Wrong("the mapping has no '@type', which says what it is", near)
        )


def _read_typed(reading: Reading, node: Mapping, message: Any, field_path: FieldPath) -> None:
    url = node.items["@type"]
    try:
        full_name = _checked_url(url)
        content = new_message(full_name)
    except Wrong as wrong:
        if not wrong.hint and is_foreign(type_of_url(str(getattr(url, "value", "")))):
            wrong = Wrong(wrong.text, _AS_STRUCT)
        reading.problem(url, (field_path, "@type"), wrong)
        return
    if full_name in TYPED_STRUCTS:
        _read_typed_struct(reading, node, message, field_path)
        return
    _read_content(reading, node, content, message, field_path)


def _read_content(
    reading: Reading, node: Mapping, content: Message, message: Any, field_path: FieldPath
) -> None:
    if content.DESCRIPTOR.full_name in _SPECIAL:
        if "value" in node.items:
            reading.message(node.items["value"], content, field_path)
    else:
        reading.fields(
            node,
            ((key, value) for key, value in node.items.items() if key != "@type"),
            content,
            field_path,
        )
    url: str = node.items["@type"].value  # type: ignore[attr-defined]
    _pack(reading, node, content, message, field_path, url)


def _pack(
    reading: Reading, node: Node, content: Message, message: Any, field_path: FieldPath, url: str
) -> None:
    """Put the content into its Any, from which whoever needs it can read it again: not what is
    nested too deep for that.
    """
    message.type_url = url
    message.value = content.SerializeToString(deterministic=True)
    if not is_readable(content, message.value):
        reading.problem(node, field_path, Wrong(TOO_DEEP))


def _checked_url(url: Node) -> str:
    value = getattr(url, "value", None)
    if not isinstance(value, str):
        raise expected("a type URL such as type.googleapis.com/some.package.Message", url)
    host, _, full_name = value.rpartition("/")
    if not host or not full_name:
        raise Wrong(
            f"@type {shown(url)} must have a host and a slash before the type",
            f"write 'type.googleapis.com/{full_name}'",
        )
    return full_name


def _read_typed_struct(
    reading: Reading, node: Mapping, message: Any, field_path: FieldPath
) -> None:
    known = {"@type", "type_url", "typeUrl", "value"}
    for key in node.items.keys() - known:
        wrong = Wrong(f"unknown field {key!r} of a TypedStruct", did_you_mean(key, known))
        reading.unknown(node.keys[key], (field_path, key), wrong)
    url = (
        node.items.get("type_url")
        or node.items.get("typeUrl")
        or Scalar(node.line, node.column, "")
    )
    full_name = type_of_url(str(getattr(url, "value", "")))
    try:
        content = new_message(full_name)
    except Wrong as wrong:
        if _is_alternative(field_path) or is_foreign(full_name):
            _read_content(
                reading, node, new_message(_checked_url(node.items["@type"])), message, field_path
            )
        else:
            reading.problem(url, (field_path, "type_url"), wrong)
        return
    inner = node.items.get("value")
    if inner is not None and not _is_null(inner):
        reading.message(inner, content, field_path)
    _pack(reading, node, content, message, field_path, f"type.googleapis.com/{full_name}")


def _is_alternative(field_path: FieldPath) -> bool:
    """Whether others stand beside this: of load-balancing policies those that nobody knows are
    passed over.
    """
    path = path_of(field_path)
    return path[-2:] == ("typed_extension_config", "typed_config") and path[-4:-3] == ("policies",)


_WRAPPERS = ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")

_SPECIAL: dict[str, Callable[[Reading, Node, Any, FieldPath], None]] = {
    "google.protobuf.Any": _read_any,
    "google.protobuf.Duration": _read_duration_message,
    "google.protobuf.FieldMask": _read_text_form,
    "google.protobuf.ListValue": read_list_value,
    "google.protobuf.Struct": read_struct,
    "google.protobuf.Timestamp": _read_text_form,
    "google.protobuf.Value": read_value,
    **{f"google.protobuf.{kind}Value": _read_wrapper for kind in _WRAPPERS},
}
