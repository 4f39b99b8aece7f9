"""What is wrong with a configuration, where, and how to say it: to a person, on a terminal, to a
machine.

A configuration is judged as a whole: everything wrong in it is collected in `Problem` objects and
raised once, as one `ConfigError`, so that nobody fixes a file one error at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, TypeAlias

from tcpmesh.facts import dataclass

#: More than this many problems are counted, not printed: they have one cause or two.
PRINTED = 50

#: A near name is looked for this many times: more hints than that nobody reads, and each costs a
#: comparison with all names.
HINTED = 4 * PRINTED

#: A source line longer than this is cut around the caret.
LINE_WIDTH = 120

#: What ends a line, in YAML and here.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

#: Steps from the root of a message to a part of it: names of fields, indexes of lists, keys of
#: maps.
Path = tuple[str | int, ...]

#: A path as it grows on the way down into a message: cheap to extend, written out only for a
#: problem.
FieldPath: TypeAlias = "tuple[FieldPath, str | int] | None"

_IDENTIFIER = re.compile(r"@?[A-Za-z_][A-Za-z0-9_]*\Z")


def lines_of(text: str) -> list[str]:
    """The lines of a text, without their ends, found one by one: a thread that does this for a long
    text lets others run.
    """
    lines: list[str] = []
    at = 0
    for found in LINE_BREAK.finditer(text):
        lines.append(text[at : found.start()])
        at = found.end()
    return [*lines, text[at:]]


def path_text(path: Iterable[str | int]) -> str:
    """Write a path as `static_resources.listeners[0].name`; a map key that is no identifier stands
    in brackets.
    """
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _IDENTIFIER.match(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f'["{step}"]')
    return "".join(parts)


def path_of(field_path: FieldPath) -> Path:
    """The steps of a field_path, outermost first."""
    steps: list[str | int] = []
    while field_path is not None:
        field_path, step = field_path
        steps.append(step)
    return tuple(reversed(steps))


@dataclass(frozen=True, order=True)
class Place:
    """A position in a source: line and column count from 1, and are 0 where the source has no lines
    (a binary file).
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One thing wrong (`error`) or surely not meant (`warning`) in a configuration."""

    place: Place
    path: str
    text: str
    severity: str = "error"
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: {self.path}: " if self.path else f"{self.place}: "
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{'warning: ' if self.severity == 'warning' else ''}{self.text}{hint}"

    def as_dict(self) -> dict[str, Any]:
        """The problem for machines, as `--format json` prints it."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "path": self.path,
            "severity": self.severity,
            "message": self.text,
            "hint": self.hint,
        }


def by_place(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems as they stand in the source."""
    return tuple(sorted(problems, key=lambda p: (p.place, p.path, p.text)))


@dataclass(eq=False)
class ConfigError(Exception):
    """A configuration that cannot be used: all that is wrong with it, in order of place.

    `sources` maps the name of each file to its text, for `render`.
    """

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.problems = by_place(self.problems)
        self.warnings = by_place(self.warnings)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.problems[:PRINTED]), *_and_more(self.problems)])

    def render(self) -> str:
        """The problems with the source line and a caret below each, for a terminal."""
        return render(self.problems, self.sources)

    def as_dict(self) -> dict[str, Any]:
        """The verdict for machines, as `--mode validate --format json` prints it."""
        return verdict(self.problems, self.warnings)


def verdict(problems: tuple[Problem, ...], warnings: tuple[Problem, ...]) -> dict[str, Any]:
    """A judged configuration for machines: whether it would start, and every problem and
    warning.
    """
    return {
        "valid": not problems,
        "problems": [p.as_dict() for p in problems],
        "warnings": [p.as_dict() for p in warnings],
    }


def render(problems: tuple[Problem, ...], sources: Mapping[str, str]) -> str:
    """Write problems for a terminal, each followed by its source line with a caret; `sources` maps
    file names to texts.
    """
    lines = {name: lines_of(text) for name, text in sources.items()}
    blocks = [_with_line(p, lines.get(p.place.file, [])) for p in problems[:PRINTED]]
    return "\n".join([*blocks, *_and_more(problems)])


def _and_more(problems: tuple[Problem, ...]) -> list[str]:
    hidden = len(problems) - PRINTED
    return [f"... and {hidden} more"] if hidden > 0 else []


def _with_line(problem: Problem, lines: list[str]) -> str:
    place = problem.place
    if not 0 < place.line <= len(lines):
        return str(problem)
    # A tab moves the caret by as much as the line, whatever a terminal makes of it, if it is shown
    # as one blank.
    line = "".join(c if c.isprintable() else " " for c in lines[place.line - 1])
    start = max(0, place.column - 1 - LINE_WIDTH // 2) if len(line) > LINE_WIDTH else 0
    shown = line[start : start + LINE_WIDTH]
    margin = f"{place.line:>6} | "
    return f"{problem}\n{margin}{shown}\n{' ' * 6} | {' ' * (place.column - 1 - start)}^"
