"""Nodes become `google.protobuf.Struct`, `Value` and `ListValue`: the places where a configuration may say anything.

An integer beyond 32 bits has become a string before, as for Envoy (see `yaml_text`), so no number here is inexact unnoticed.
"""

from __future__ import annotations

from typing import Any, Protocol

from tcpmesh.config.problems import Trail
from tcpmesh.config.scalars import Wrong, expected
from tcpmesh.config.source import Mapping, Node, Sequence


class Complains(Protocol):
    """Who is told what is wrong: a `messages.Reading`."""

    def problem(self, node: Node, trail: Trail, wrong: Wrong) -> None:
        """Report a node."""


def read_struct(reading: Complains, node: Node, message: Any, trail: Trail) -> None:
    """Read a mapping of any values."""
    if type(node) is not Mapping:
        reading.problem(node, trail, expected("a mapping", node))
        return
    for key, value in node.items.items():
        inner = message.fields[key]
        inner.Clear()
        read_value(reading, value, inner, (trail, key))


def read_list_value(reading: Complains, node: Node, message: Any, trail: Trail) -> None:
    """Read a list of any values."""
    if type(node) is not Sequence:
        reading.problem(node, trail, expected("a list", node))
        return
    for index, item in enumerate(node.items):
        read_value(reading, item, message.values.add(), (trail, index))


def read_value(reading: Complains, node: Node, message: Any, trail: Trail) -> None:
    """Read any value."""
    if type(node) is Mapping:
        message.struct_value.SetInParent()
        read_struct(reading, node, message.struct_value, trail)
    elif type(node) is Sequence:
        message.list_value.SetInParent()
        read_list_value(reading, node, message.list_value, trail)
    else:
        _read_scalar_value(reading, node, message, trail)


def _read_scalar_value(reading: Complains, node: Node, message: Any, trail: Trail) -> None:
    value = getattr(node, "value", None)
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif abs(value) > 1.7976931348623157e308:
        reading.problem(node, trail, Wrong("a number too large for a double"))
    else:
        message.number_value = float(value)
