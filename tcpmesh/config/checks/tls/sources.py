"""Where certificates and keys stand, as errors name it, and what is read there."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.fields.files import read_source
from tcpmesh.config.messages.report import Report


def name_of(source: Any) -> str:
    """A DataSource as an error names it."""
    kind = source.WhichOneof("specifier")
    return (
        repr(getattr(source, kind))
        if kind in ("filename", "environment_variable")
        else f"of {kind}"
    )


def read_part(message: Any, part: str, report: Report) -> bytes | None:
    """The bytes of a field of a message that is a DataSource; `None` where there is none, or where
    it cannot be read, which another check reports.
    """
    return read_source(getattr(message, part), report) if message.HasField(part) else None
