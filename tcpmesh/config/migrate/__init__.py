"""Old configurations become configurations of the v3 API, and keep their comments and layout.

:func:`migrate` reads a text twice: as a configuration (`config/text`), to say what is wrong with
it, and as a `written` tree, which is then changed along the schema (`walk`, `rules`) and written
again.  A text that Envoy would take is not changed at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tcpmesh.config.messages.types import find_type
from tcpmesh.config.migrate.reader import WrittenText, read_written
from tcpmesh.config.migrate.rules import all_rules
from tcpmesh.config.migrate.walk import Change, Walk
from tcpmesh.config.migrate.written import Group, Scalar, Written
from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.problems import ConfigError, Place, Problem, by_place
from tcpmesh.config.text.yaml_text import parse_yaml

_BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
_RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"


@dataclass(frozen=True)
class Migration:
    """What became of a text: the new `text`, the `changes` in it, and the `problems` that are left
    for a person; without changes the text is the old one.
    """

    text: str
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()


def migrate(text: str, name: str) -> Migration:
    """Bring the text of a configuration up to the v3 API.

    :param text: a bootstrap, or the resources of a file that xDS reads.
    :param name: the name of its file: that says whether it is JSON, and stands in problems.
    """
    is_json = _is_json(text, name)
    try:
        parse_json(text, name) if is_json else parse_yaml(text, name)
    except ConfigError as error:
        return Migration(text, (), error.problems)
    try:
        written = read_written(text, is_json)
    except ValueError as error:
        return Migration(text, (), (Problem(Place(name), "", f"cannot be rewritten: {error}"),))
    return _migrated(text, name, written)


def _is_json(text: str, name: str) -> bool:
    """Whether a text is JSON: by its name, as Envoy judges, or where that says nothing, by its
    first character.
    """
    suffix = Path(name).suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        return suffix == ".json"
    return text.lstrip()[:1] == "{"


def _migrated(text: str, name: str, written: WrittenText) -> Migration:
    walk = Walk(written.style, all_rules(), anchors_in(written.root))
    walk.message(written.root, find_type(_root_type(written.root)), None, 1)
    problems = by_place(
        Problem(Place(name, each.line, 1), each.path, each.text, hint=each.hint)
        for each in walk.troubles
    )
    changes = tuple(sorted(walk.changes, key=lambda change: change.line))
    if not any(change.is_needed for change in changes):
        return Migration(text, (), problems)
    return Migration(written.write(), changes, problems)


def _root_type(root: Written) -> str:
    """The type of a whole file."""
    if isinstance(root, Group) and root.get("resources") is not None:
        return _RESPONSE
    is_any = isinstance(root, Group) and root.get("@type") is not None
    return "google.protobuf.Any" if is_any else _BOOTSTRAP


def anchors_in(root: Written) -> dict[str, Written]:
    """What the anchors of a text stand for, by their names."""
    found: dict[str, Written] = {}
    parts = [root]
    while parts:
        part = parts.pop()
        mark = part.text if isinstance(part, Scalar) else part.opening
        if mark.startswith("&"):
            found[mark[1:].split(None, 1)[0]] = part
        if isinstance(part, Group):
            parts.extend(each.value for each in part.entries)
    return found
