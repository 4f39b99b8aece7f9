"""Writes an explanation for people: a block for each listener and cluster, a line for each
setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from tcpmesh.config.explain import Group, Setting
from tcpmesh.config.fields.to_plain import Json
from tcpmesh.config.support import as_written
from tcpmesh.config.text.problems import Place

#: Columns of name, value and source are aligned up to these widths; what is longer moves the rest
#: of its own line only.
_MOST = (60, 36, 40)

_STEP = "  "


def as_text(groups: Iterable[Group]) -> str:
    """All groups, an empty line between two."""
    blocks = ["\n".join(_lines(group, "")) for group in groups]
    return "\n\n".join(block for block in blocks if block)


def _lines(group: Group, indent: str) -> Iterator[str]:
    if group.kind == "host":
        yield (
            f"{indent}{_heading(group)}: "
            f"{', '.join(f'{each.name} {_shown(each)}' for each in group.settings)}"
        )
        return
    if group.settings or group.groups or group.kind != "process":
        yield indent + _heading(group)
    rows = [(each.name, _shown(each), _source(each), _comment(each)) for each in group.settings]
    widths = [
        max((len(row[i]) for row in rows if len(row[i]) <= most), default=0)
        for i, most in enumerate(_MOST)
    ]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield f"{indent}{_STEP}{_STEP.join([*cells, row[-1]])}".rstrip()
    for inner in group.groups:
        yield from _lines(inner, indent + _STEP)


def _heading(group: Group) -> str:
    return f"{group.kind} {group.name}".rstrip() + f" [{_line(group.place)}]"


def _line(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.line else place.file


def _source(setting: Setting) -> str:
    if setting.place is not None:
        return _line(setting.place)
    return "tcpmesh's default" if setting.is_ours else "Envoy's default"


def _comment(setting: Setting) -> str:
    if setting.ignored:
        return f"# no effect: {setting.ignored}"
    return f"# {setting.meaning}" if setting.meaning else ""


def _shown(setting: Setting) -> str:
    value = setting.value
    if value is None:
        return setting.note
    text = (
        _on_one_line(value)
        if isinstance(value, str)
        else json.dumps(value)
        if isinstance(value, (dict, list))
        else as_written(value)
    )
    note = setting.note or _in_larger_units(setting.name, value)
    return f"{text} ({note})" if note else text


def _on_one_line(text: str) -> str:
    """A text with its line ends, and what else a terminal would act on, as escapes: a format ends
    in a line end, as a rule.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _in_larger_units(name: str, value: Json) -> str:
    if isinstance(value, int) and name.endswith("_bytes"):
        return _binary(value)
    seconds = int(value[:-1]) if isinstance(value, str) and re.fullmatch(r"[0-9]+s", value) else 0
    units = ((86400, "d"), (3600, "h"), (60, "min"))
    return next(
        (f"{seconds // size} {unit}" for size, unit in units if seconds and seconds % size == 0), ""
    )


def _binary(number: int) -> str:
    """A number of bytes in the largest unit that it is a whole number of; empty below a KiB."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number and number % (1 << power) == 0:
            return f"{number >> power} {unit}"
    return ""
