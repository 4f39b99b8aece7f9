"""Nodes become `google.protobuf.Struct`, `Value` and `ListValue`: the places where a configuration
may say anything.

An integer beyond 32 bits has become a string before, as for Envoy (see `yaml_text`), so no number
here is inexact unnoticed.
"""

from __future__ import annotations

from typing import Any, Protocol

from tcpmesh.config.messages.scalars import Wrong, expected
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.config.text.source import Mapping, Node, Sequence


class Complains(Protocol):
    """Who is told what is wrong: a `messages.Reading`."""

    def problem(self, node: Node, field_path: FieldPath, wrong: Wrong) -> None:
        """Report a node."""


def read_struct(reading: Complains, node: Node, message: Any, field_path: FieldPath) -> None:
    """Read a mapping of any values."""
    if type(node) is not Mapping:
        reading.problem(node, field_path, expected("a mapping", node))
        return
    for key, value in node.items.items():
        inner = message.fields[key]
        inner.Clear()
        read_value(reading, value, inner, (field_path, key))


def read_list_value(reading: Complains, node: Node, message: Any, field_path: FieldPath) -> None:
    """Read a list of any values."""
    if type(node) is not Sequence:
        reading.problem(node, field_path, expected("a list", node))
        return
    for index, item in enumerate(node.items):
        read_value(reading, item, message.values.add(), (field_path, index))


def read_value(reading: Complains, node: Node, message: Any, field_path: FieldPath) -> None:
    """Read any value."""
    if type(node) is Mapping:
        message.struct_value.SetInParent()
        read_struct(reading, node, message.struct_value, field_path)
    elif type(node) is Sequence:
        message.list_value.SetInParent()
        read_list_value(reading, node, message.list_value, field_path)
    else:
        _read_scalar_value(reading, node, message, field_path)


def _read_scalar_value(reading: Complains, node: Node, message: Any, field_path: FieldPath) -> None:
    value = getattr(node, "value", None)
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif abs(value) > 1.7976931348623157e308:
        reading.problem(node, field_path, Wrong("a number too large for a double"))
    else:
        message.number_value = float(value)
