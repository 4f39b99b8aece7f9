"""What `--help` prints: the options in groups, most wanted first, for Twisted's own list has sixty
of them in the order of the alphabet.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 80
_COLUMN = 30

CONFIGURATION = "The configuration"
NODE = "Who this proxy is"

GROUPS: Sequence[tuple[str, tuple[str, ...]]] = (
    (
        CONFIGURATION,
        (
            "config-path",
            "config-yaml",
            "mode",
            "format",
            "allow-unsupported",
            "allow-unknown-static-fields",
            "reject-unknown-dynamic-fields",
            "ignore-unknown-dynamic-fields",
            "skip-deprecated-logs",
        ),
    ),
    (
        "The log",
        (
            "log-level",
            "component-log-level",
            "log-format",
            "log-format-escaped",
            "log-path",
        ),
    ),
    (NODE, ("service-node", "service-cluster", "service-zone")),
    (
        "Taking over from a running process (hot restart)",
        (
            "restart-epoch",
            "base-id",
            "use-dynamic-base-id",
            "base-id-path",
            "socket-path",
            "socket-mode",
            "parent-shutdown-time-s",
            "live-handover",
            "skip-hot-restart-on-no-parent",
            "skip-hot-restart-parent-stats",
            "disable-hot-restart",
            "hot-restart-version",
        ),
    ),
    (
        "The process",
        (
            "uid",
            "gid",
            "concurrency",
            "cpuset-threads",
            "admin-address-path",
            "admin-name",
            "stats-tag",
            "drain-time-s",
            "drain-strategy",
            "graceful-stop-time-s",
            "file-flush-interval-msec",
            "file-flush-min-size-kb",
        ),
    ),
)
"""Options in no group are those that Envoy has and that do nothing here, or are refused."""

OTHERS = "Options of Envoy's that do nothing here yet, or are refused"

_VALUES = {
    "config-path": "FILE",
    "config-yaml": "TEXT",
    "component-log-level": "LOGGER:LEVEL,...",
    "log-level": "LEVEL",
    "log-path": "FILE",
    "admin-address-path": "FILE",
    "admin-name": "NAME",
    "base-id-path": "FILE",
    "socket-path": "FILE",
    "socket-mode": "MODE",
    "base-id": "NUMBER",
    "restart-epoch": "NUMBER",
    "parent-shutdown-time-s": "SECONDS",
    "live-handover": "on|off",
    "file-flush-interval-msec": "MS",
    "file-flush-min-size-kb": "KIB",
    "concurrency": "NUMBER",
    "drain-time-s": "SECONDS",
    "drain-strategy": "STRATEGY",
    "graceful-stop-time-s": "SECONDS",
    "service-node": "ID",
    "service-cluster": "NAME",
    "service-zone": "NAME",
    "uid": "USER",
    "gid": "GROUP",
    "stats-tag": "TAG:VALUE",
    "log-format": "PATTERN",
    "mode": "MODE",
}


def help_text(
    usage: str,
    about: str,
    parameters: Iterable[Any],
    flags: Iterable[Any],
    only: Sequence[str] = (),
) -> str:
    """The whole text.

    :param parameters: rows of `optParameters`; `flags`: those of `optFlags`.
    :param only: the titles of the groups that are shown; empty for all.
    """
    rows = {
        row[0]: _row(row[0], row[1], row[3], _VALUES.get(row[0], "VALUE")) for row in parameters
    }
    rows |= {row[0]: _row(row[0], row[1], row[2], "") for row in flags}
    rows["help"] = _row("help", "h", "This text.", "")
    rows["version"] = _row("version", None, "What this is, in one line.", "")
    rows["hot-restart-version"] = _row(
        "hot-restart-version", None, "Print which processes can take over from this one.", ""
    )
    grouped = {name for _, names in GROUPS for name in names} | {"help", "version"}
    others = tuple(name for name in rows if name not in grouped)
    groups = [*GROUPS, (OTHERS, others)]
    parts = [f"Usage: {usage}", *map(_filled, textwrap.dedent(about).strip().split("\n\n"))]
    for title, names in groups:
        shown = [rows[name] for name in names if name in rows]
        if shown and (not only or title in only):
            parts.append("\n".join([f"{title}:", *shown]))
    parts.append("\n".join([rows["help"], rows["version"]]))
    return "\n\n".join(parts)


def _filled(paragraph: str) -> str:
    """A paragraph in lines; one that is indented is an example and stays as it is."""
    return paragraph if paragraph.startswith(" ") else textwrap.fill(paragraph, WIDTH)


def _row(name: str, letter: str | None, text: str, value: str) -> str:
    head = f"  {f'-{letter}, ' if letter else '    '}--{name}{f' {value}' if value else ''}"
    lines = textwrap.wrap(text, WIDTH - _COLUMN)
    if len(head) >= _COLUMN - 1:
        lines.insert(0, "")
    first, *rest = lines or [""]
    return "\n".join(
        [f"{head:{_COLUMN}}{first}".rstrip(), *(f"{'':{_COLUMN}}{line}" for line in rest)]
    )
