"""Files and environment variables that a configuration names must be there when it is loaded."""

from __future__ import annotations

import os
from typing import Any

from tcpmesh.config.fields.values import source_bytes
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath


def read_source(source: Any, report: Report) -> bytes | None:
    """The bytes of a DataSource; `None` where they cannot be had (`_check_source` reports why)."""
    return source_bytes(source, report.environ)


def _check_source(source: Any, field_path: FieldPath, report: Report) -> None:
    kind = source.WhichOneof("specifier")
    if kind == "filename":
        _check_readable(source.filename, (field_path, kind), report)
    elif kind == "environment_variable" and source.environment_variable not in report.environ:
        text = f"the environment variable {source.environment_variable!r} is not set"
        report.error((field_path, kind), text)


def _check_readable(path: str, field_path: FieldPath, report: Report) -> None:
    if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        report.error(field_path, f"cannot read the file {path!r}")


def _check_log_file(log: Any, field_path: FieldPath, report: Report) -> None:
    folder = os.path.dirname(log.path) or "."
    if log.path and not os.path.isdir(folder):
        report.error(
            (field_path, "path"), f"cannot write {log.path!r}: there is no directory {folder!r}"
        )


CHECKS = {
    "envoy.config.core.v3.DataSource": _check_source,
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": _check_log_file,
}
