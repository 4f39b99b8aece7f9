"""Kubernetes manifests that carry a configuration: the text inside is migrated where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tcpmesh.config.migrate.outcome import Change, Migration
from tcpmesh.config.migrate.reader import read_written
from tcpmesh.config.migrate.written import Entry, Group, Scalar
from tcpmesh.config.mistaken import is_bootstrap
from tcpmesh.config.text.problems import Place, Problem

#: Where a manifest has another document.
_NEXT = re.compile(r"^---[^\n]*\n", re.MULTILINE)

_HEAD = re.compile(r"[|>][^\n]*\n")


def is_manifest(text: str) -> bool:
    """Whether a text is a manifest with a configuration in it, in any of its documents."""
    return any(True for start, end in _documents(text) for _ in _embedded(text[start:end]))


def _documents(text: str) -> Iterator[tuple[int, int]]:
    """Where each document of a text begins and ends."""
    start = 0
    for found in _NEXT.finditer(text):
        yield start, found.start()
        start = found.end()
    yield start, len(text)


def _embedded(text: str) -> Iterator[tuple[Entry, str, str]]:
    """The texts in a document: the entry of each, what stands before its first line, and itself."""
    if not re.search(r"^\s*(?:- )?kind:", text, re.MULTILINE):
        return
    try:
        root = read_written(text, False).root
    except ValueError:
        return
    for data in _data(root):
        for each in data.entries:
            value = each.value
            head = _HEAD.match(value.text) if isinstance(value, Scalar) else None
            if head is not None and isinstance(value, Scalar) and is_bootstrap(str(value.value)):
                yield each, head[0], value.text[head.end() :]


def _data(root: object) -> Iterator[Group]:
    """The `data` of a ConfigMap, or of those in a List."""
    if not isinstance(root, Group) or root.get("kind") is None:
        return
    for name in ("data", "items"):
        found = root.get(name)
        if found is None or not isinstance(found.value, Group):
            continue
        if found.value.is_mapping:
            yield found.value
        else:
            for each in found.value.entries:
                yield from _data(each.value)


def migrate_manifest(text: str, name: str, migrate: Callable[[str, str], Migration]) -> Migration:
    """Migrate what a manifest carries.

    :param migrate: what migrates one configuration: a text and its name.
    """
    parts: list[str] = []
    changes: list[Change] = []
    problems: list[Problem] = []
    at = 0
    for start, end in _documents(text):
        for each, head, inner in _embedded(text[start:end]):
            lines = inner.split("\n")
            margin = min(len(line) - len(line.lstrip(" ")) for line in lines if line.strip())
            plain = "\n".join(line[margin:] for line in lines)
            done = migrate(plain, each.name)
            before = text[:start].count("\n") + each.line
            changes += [_change(change, each.name, before) for change in done.changes]
            problems += [_problem(problem, name, each.name, before) for problem in done.problems]
            if done.text != plain:
                found = text.index(head + inner, max(at, start)) + len(head)
                indented = "\n".join(
                    " " * margin + line if line.strip() else line for line in done.text.split("\n")
                )
                parts += [text[at:found], indented]
                at = found + len(inner)
    return Migration("".join(parts) + text[at:], tuple(changes), tuple(problems))


def _change(change: Change, key: str, before: int) -> Change:
    path = f'data["{key}"].{change.path}'
    return replace(change, line=change.line + before, path=path)


def _problem(problem: Problem, name: str, key: str, before: int) -> Problem:
    place = Place(name, problem.place.line + before, problem.place.column)
    return replace(problem, place=place, path=f'data["{key}"].{problem.path}'.rstrip("."))
