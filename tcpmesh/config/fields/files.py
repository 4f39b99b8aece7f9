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
    if not path or (os.path.isfile(path) and os.access(path, os.R_OK)):
        return
    if os.path.isdir(path):
        text = "it is a directory"
    elif os.path.exists(path):
        text = "permission denied" if os.path.isfile(path) else "it is no file"
    else:
        text = "it does not exist"
    report.error(field_path, f"cannot read the file {path!r}: {text}")


def check_writable(path: str, field_path: FieldPath, report: Report) -> None:
    """Report a file that cannot be appended to, or made."""
    if "\0" in path:
        report.error(field_path, f"{path!r} is no path: it has a zero byte")
        return
    folder = os.path.dirname(path) or "."
    if not path or (os.access(path, os.W_OK) and not os.path.isdir(path)):
        return
    if os.path.isdir(path):
        text = "it is a directory"
    elif os.path.exists(path):
        text = "permission denied"
    elif not os.path.isdir(folder):
        text = f"there is no directory {folder!r}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        text = f"no file may be made in the directory {folder!r}"
    else:
        return
    report.error(field_path, f"cannot write {path!r}: {text}")


CHECKS = {"envoy.config.core.v3.DataSource": _check_source}
