"""Finds in a message what tcpmesh does not act on, as the table in `support` has it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tcpmesh.config.absent.never import why_never
from tcpmesh.config.absent.watchers import WATCHERS, changing_fields, missed_metadata
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.scalars import Wrong
from tcpmesh.config.messages.types import (
    TYPED_STRUCTS,
    content_name_of,
    extension_type,
    import_foreign,
    is_foreign,
    unpack,
)
from tcpmesh.config.support import EXTENSIONS, TABLE, as_written
from tcpmesh.config.support.safety import guards_field, guards_value
from tcpmesh.config.text.problems import FieldPath


def check(
    message: Message,
    report: Report,
    allow_unsupported: bool = False,
    field_path: FieldPath = None,
) -> None:
    """Report each field that is set in a message and not supported.

    They are errors; for those who `allow_unsupported` they are warnings, but for what `guards`
    protects.
    """
    _check_message(message, _Say(report, allow_unsupported), field_path)


class _Say:
    """How what is not supported is said."""

    def __init__(self, report: Report, allow: bool) -> None:
        self._report = report
        self._allow = allow
        self._foreign: dict[str, bool] = {}

    def __call__(self, field_path: FieldPath, text: str, guards: bool) -> None:
        if not self._allow:
            self._report.error(field_path, text)
        elif guards:
            self._report.error(
                field_path,
                f"{text}; --allow-unsupported does not cover it, as traffic could pass that "
                f"must not",
            )
        else:
            self._report.warning(field_path, f"{text}: it is ignored")

    def is_foreign(self, full_name: str) -> bool:
        """Whether another package handles a type, which takes long to find out."""
        known = self._foreign.get(full_name)
        if known is None:
            known = self._foreign[full_name] = is_foreign(full_name)
        return known

    def where_broken(self, field_path: FieldPath, full_name: str) -> None:
        """Another package's extension that cannot be imported is an error in any case."""
        try:
            import_foreign(full_name)
        except Wrong as wrong:
            self._report.error(field_path, wrong.text)


def _check_message(message: Message, say: _Say, field_path: FieldPath) -> None:
    full_name = message.DESCRIPTOR.full_name
    rows = TABLE[full_name]
    if full_name == "envoy.config.listener.v3.FilterChain":
        _check_watched(message, say, field_path)
    for field, value in message.ListFields():
        row = rows.get(field.name)
        if row is None:
            text = "Envoy knows this field, tcpmesh does not support it yet"
            say((field_path, field.name), text, guards_field(field.full_name))
        elif row.level == "not supported":
            text = f"Envoy knows this field, tcpmesh does not support it yet: {row.reason}"
            say((field_path, field.name), text, guards_field(field.full_name))
        elif row.values:
            _check_value(field, value, row.values, say, (field_path, field.name))
        elif row.is_whole or row.level == "no effect":
            continue
        elif field.message_type is not None:
            _check_inner(field, value, say, (field_path, field.name))


def _check_value(
    field: FieldDescriptor,
    value: Any,
    allowed: tuple[str | int | bool, ...],
    say: _Say,
    field_path: FieldPath,
) -> None:
    plain = value.value if field.message_type is not None else value
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(plain)
        if known is None:
            return
        plain = known.name
    if plain not in allowed:
        works = ", ".join(as_written(v) for v in allowed)
        text = (
            f"Envoy knows the value {as_written(plain)}, tcpmesh does not support it yet, "
            f"only {works}"
        )
        say(field_path, text, guards_value(field.full_name))


def _check_inner(field: FieldDescriptor, value: Any, say: _Say, field_path: FieldPath) -> None:
    full_name = content_name_of(field)
    if full_name == "google.protobuf.Any":
        _check_any(field, value, say, field_path)
    elif full_name.startswith("google.protobuf."):
        return
    elif field.is_repeated:
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_message(item, say, (field_path, key))
    else:
        _check_message(value, say, field_path)


def _check_any(field: FieldDescriptor, value: Any, say: _Say, field_path: FieldPath) -> None:
    """An extension; or a map of options for protocols, which are no extensions of their own."""
    if not field.is_repeated:
        _check_extension(value, say, field_path, EXTENSIONS, True)
        return
    for name, options in value.items():
        _check_extension(options, say, (field_path, name), TABLE, False)


def _check_extension(
    value: Any, say: _Say, field_path: FieldPath, known: Container[str], guards: bool
) -> None:
    full_name = extension_type(value)
    content = unpack(value)
    if content is None:
        return
    if say.is_foreign(full_name):
        say.where_broken((field_path, "@type"), full_name)
    elif content.DESCRIPTOR.full_name in TYPED_STRUCTS:  # one of several, which is passed over
        return
    elif full_name in known:
        _check_message(content, say, field_path)
    elif full_name in WATCHERS:
        _check_watcher(full_name, content, say, field_path)
    else:
        say((field_path, "@type"), _why_not(full_name, content), guards)


def _check_watcher(full_name: str, content: Message, say: _Say, field_path: FieldPath) -> None:
    protocol = WATCHERS[full_name].protocol
    text = (
        f"{full_name}: it reads {protocol} as it passes (layer 7), to count what it sees, which "
        f"tcpmesh does not do"
    )
    say((field_path, "@type"), text, False)
    for name in changing_fields(full_name, content):
        text = f"with this, {full_name} does more than watch, which tcpmesh does not do"
        say((field_path, name), text, True)


def _check_watched(chain: Message, say: _Say, field_path: FieldPath) -> None:
    """See to it that no filter goes by what one has found out that only watches."""
    for index, key in missed_metadata(chain):
        here: FieldPath = (((field_path, "filters"), index), "typed_config")
        text = f"it reads the dynamic metadata {key}, which nobody leaves in tcpmesh"
        say(here, text, True)


def _why_not(full_name: str, content: Message) -> str:
    reason = why_never(full_name)
    if reason:
        return f"{full_name}: {reason}"
    if full_name.startswith("google."):  # Few are an extension anywhere, and hardly at this place.
        return f"{full_name}: tcpmesh has no extension of this type"
    envoy = "Envoy's contrib build" if _is_contrib(content) else "Envoy"
    return f"{full_name}: {envoy} knows this extension, tcpmesh does not support it yet"


def _is_contrib(content: Message) -> bool:
    """Whether only another build of Envoy than the usual one has it."""
    return content.DESCRIPTOR.file.name.startswith("contrib/")
