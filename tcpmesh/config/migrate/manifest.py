"""Kubernetes manifests that carry a configuration: the text inside is migrated where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tcpmesh.config.migrate.outcome import Change, Migration
from tcpmesh.config.migrate.reader import read_written
from tcpmesh.config.migrate.written import Entry, Group, Scalar, quoted
from tcpmesh.config.mistaken import is_bootstrap
from tcpmesh.config.text.problems import Place, Problem
from tcpmesh.facts import dataclass

#: Where a manifest has another document.
_NEXT = re.compile(r"^---[^\n]*\n", re.MULTILINE)

_KIND = re.compile(r"(?:^|[{,])\s*(?:- )?[\"']?kind[\"']?\s*:", re.MULTILINE)

_HEAD = re.compile(r"[|>][^\n]*\n")


@dataclass(frozen=True)
class _Embedded:
    """A configuration in a document: its key and line, and the pieces of the document's text that
    say it, of which `margin` is taken from each line; `None` where the text is quoted.
    """

    key: str
    line: int
    text: str
    piece: str
    margin: int | None

    def place(self, line: int, before: int) -> int:
        """The line of the manifest for one of the configuration."""
        return before + (1 if self.margin is None else line)

    def written(self, new: str) -> str:
        """The piece that says another text."""
        if self.margin is None:
            return quoted(new)
        pad = " " * self.margin
        return "\n".join(pad + line if line.strip() else line for line in new.split("\n"))


def is_manifest(text: str, is_json: bool) -> bool:
    """Whether a text is a manifest with a configuration in it, in any of its documents."""
    return any(
        True
        for start, end in _documents(text, is_json)
        for _ in _embedded(text[start:end], is_json)
    )


def _documents(text: str, is_json: bool) -> Iterator[tuple[int, int]]:
    """Where each document of a text begins and ends."""
    start = 0
    for found in _NEXT.finditer(text) if not is_json else ():
        yield start, found.start()
        start = found.end()
    yield start, len(text)


def _embedded(text: str, is_json: bool) -> Iterator[_Embedded]:
    """The configurations in a document."""
    if not _KIND.search(text):
        return
    try:
        root = read_written(text, is_json).root
    except ValueError:
        return
    for data in _data(root):
        for each in data.entries:
            found = _found(each)
            if found is not None:
                yield found


def _found(each: Entry) -> _Embedded | None:
    """What an entry embeds."""
    value = each.value
    if not isinstance(value, Scalar) or value.is_alias or not is_bootstrap(str(value.value)):
        return None
    head = _HEAD.match(value.text)
    if head is None:
        is_quoted = value.text[:1] in "\"'"
        one = _Embedded(each.name, each.line - 1, str(value.value), value.text, None)
        return one if is_quoted else None
    piece = value.text[head.end() :]
    lines = piece.split("\n")
    margin = min(len(line) - len(line.lstrip(" ")) for line in lines if line.strip())
    text = "\n".join(line[margin:] for line in lines)
    # Folded lines, for one, are not what is written.
    is_plain = text.rstrip("\n") == str(value.value).rstrip("\n")
    return _Embedded(each.name, each.line, text, piece, margin) if is_plain else None


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


def migrate_manifest(
    text: str, name: str, is_json: bool, migrate: Callable[[str, str], Migration]
) -> Migration:
    """Migrate what a manifest carries.

    :param migrate: what migrates one configuration: a text and its name.
    """
    parts: list[str] = []
    changes: list[Change] = []
    problems: list[Problem] = []
    at = 0
    for start, end in _documents(text, is_json):
        for each in _embedded(text[start:end], is_json):
            done = migrate(each.text, each.key)
            before = text[:start].count("\n") + each.line
            changes += [_change(change, each, before) for change in done.changes]
            problems += [_problem(problem, name, each, before) for problem in done.problems]
            if done.text != each.text:
                found = text.index(each.piece, max(at, start))
                parts += [text[at:found], each.written(done.text)]
                at = found + len(each.piece)
    return Migration("".join(parts) + text[at:], tuple(changes), tuple(problems))


def _change(change: Change, each: _Embedded, before: int) -> Change:
    path = f'data["{each.key}"].{change.path}'
    return replace(change, line=each.place(change.line, before), path=path)


def _problem(problem: Problem, name: str, each: _Embedded, before: int) -> Problem:
    place = Place(name, each.place(problem.place.line, before), problem.place.column)
    return replace(problem, place=place, path=f'data["{each.key}"].{problem.path}'.rstrip("."))
