"""Formats within messages: where their texts are, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tcpmesh.config.fields.operators import (
    OF_FORMATTERS,
    FormatError,
    names_of_formatters,
    parse,
)
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath


def strings_of(struct: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    for key, value in struct.fields.items():
        yield from _strings_of(value, (field_path, key))


def _strings_of(value: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        yield field_path, value.string_value
    elif kind == "struct_value":
        yield from strings_of(value.struct_value, field_path)
    elif kind == "list_value":
        for index, item in enumerate(value.list_value.values):
            yield from _strings_of(item, (field_path, index))


def names_of(formatters: Sequence[Any]) -> frozenset[str] | None:
    """The operators that the `formatters` of a message bring; `None` where nobody knows which."""
    if any(config.typed_config.TypeName() not in OF_FORMATTERS for config in formatters):
        return None
    return names_of_formatters(formatters)


def check_text(
    text: str, field_path: FieldPath, report: Report, more: frozenset[str] | None = frozenset()
) -> bool:
    """Whether a text is a format; what Envoy refuses of it is reported.

    :param more: operators beyond those that all formats know; `None` where any may be there.
    """
    if more is None:
        return False
    try:
        parse(text, more)
    except FormatError as error:
        report.error(field_path, str(error))
        return False
    return True
