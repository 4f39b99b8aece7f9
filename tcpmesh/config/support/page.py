"""Writes docs/supported.md from the table in `support`: `python -m tcpmesh.config.support.page >
docs/supported.md`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tcpmesh.config.messages.types import find_type
from tcpmesh.config.schema.newer import ENVOY
from tcpmesh.config.support import TABLE, Rows, Support, as_written

_HEAD = """\
# What is supported

Every field of Envoy's schema that a bootstrap for TCP may reach, message by message, as
`tcpmesh/config/support/` says.  A field that is not supported is an error with its line, never
ignored; `--allow-unsupported` makes it a warning for those who migrate, but for what encrypts,
filters or selects traffic.  This page is written by `python -m tcpmesh.config.support.page`; the
schema is that of Envoy {version}, see [schema.md](schema.md).
"""

#: How the lines begin that follow the installed schema and not the table.
NOT_SUPPORTED = "Not supported yet: "


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            _HEAD.format(version=ENVOY),
            *(line for full_name, rows in TABLE.items() for line in _section(full_name, rows)),
        ]
    )


def _section(full_name: str, rows: Rows) -> Iterator[str]:
    fields = [field.name for field in find_type(full_name).fields]
    yield f"## {full_name}\n"
    if rows:
        yield "| Field | |"
        yield "|---|---|"
        yield from (f"| `{name}` | {_words(rows[name])} |" for name in fields if name in rows)
        yield ""
    missing = [name for name in fields if name not in rows]
    if missing:
        yield f"{NOT_SUPPORTED}{', '.join(f'`{name}`' for name in missing)}.\n"
    elif not fields:
        yield "It has no fields.\n"


def _words(row: Support) -> str:
    if row.values:
        return f"supported, with {', '.join(f'`{as_written(value)}`' for value in row.values)}"
    words = {"no effect": "accepted, no effect", "default only": "the default only"}.get(
        row.level, row.level
    )
    return f"{words}: {row.reason}" if row.reason else words


if __name__ == "__main__":
    print(page(), end="")
