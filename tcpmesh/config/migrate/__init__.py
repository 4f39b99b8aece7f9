"""Old configurations become configurations of the v3 API, and keep their comments and layout.

`migrate` reads a text twice: as a configuration (`config/text`), to say what is wrong with
it, and as a `written` tree, which is then changed along the schema (`walk`, `rules`) and written
again.  A text that Envoy would take is not changed at all.
"""

from __future__ import annotations

from pathlib import Path

from tcpmesh.config import collector, mistaken
from tcpmesh.config.messages.types import find_type
from tcpmesh.config.migrate.manifest import is_manifest, migrate_manifest
from tcpmesh.config.migrate.outcome import Change, Migration
from tcpmesh.config.migrate.reader import WrittenText, read_written
from tcpmesh.config.migrate.rules import all_rules
from tcpmesh.config.migrate.walk import Walk
from tcpmesh.config.migrate.written import Group, Scalar, Written
from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.problems import ConfigError, Place, Problem, by_place
from tcpmesh.config.text.yaml_text import parse_yaml

_BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
_RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"


def migrate(text: str, name: str) -> Migration:
    """Bring the text of a configuration up to the v3 API.

    :param text: a bootstrap, or the resources of a file that xDS reads.
    :param name: the name of its file: that says whether it is JSON, and stands in problems.
    """
    with collector.paused():
        return _migrate(text, name, _is_json(text, name))


def _migrate(text: str, name: str, is_json: bool) -> Migration:
    try:
        document = parse_json(text, name) if is_json else parse_yaml(text, name)
    except ConfigError as error:
        return Migration(text, (), mistaken.explained(error, text).problems)
    if is_manifest(text, is_json):
        return migrate_manifest(text, name, is_json, migrate)
    other = mistaken.recognised(document, with_resources=True)
    if other is not None:
        return Migration(text, (), (other,))
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
    if not isinstance(written.root, Group) or not written.root.is_mapping:
        what = "there is no configuration in it: a mapping is expected"
        return Migration(text, (), (Problem(Place(name, 1, 1), "", what),))
    walk = Walk(written.style, all_rules(), anchors_in(written.root))
    walk.message(written.root, find_type(_root_type(written.root)), None, 1)
    problems = by_place(
        Problem(Place(name, each.line, 1), each.path, each.text, hint=each.hint)
        for each in walk.troubles
    )
    changes = tuple(sorted(walk.changes, key=lambda change: change.line))
    if not any(change.is_needed for change in changes):
        return Migration(text, (), problems)
    new = written.write()
    try:
        is_meant = _same(written.root, read_written(new, written.style.is_json).root)
    except ValueError:
        is_meant = False
    if is_meant:
        return Migration(new, changes, problems)
    unusual = Problem(
        Place(name),
        "",
        "this file is laid out in a way that cannot be kept while it is changed",
        hint="lay it out anew, one entry a line, and migrate that",
    )
    return Migration(text, (), (*problems, unusual))


def _same(one: Written, other: Written) -> bool:
    """Whether a tree that was changed and one that was read from its text say the same."""
    pairs = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, Scalar) or isinstance(b, Scalar):
            if not (isinstance(a, Scalar) and isinstance(b, Scalar) and a.value == b.value):
                return False
        elif (a.is_mapping, [e.name for e in a.entries]) != (
            b.is_mapping,
            [e.name for e in b.entries],
        ):
            return False
        else:
            pairs.extend((x.value, y.value) for x, y in zip(a.entries, b.entries, strict=True))
    return True


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


__all__ = ["Change", "Migration", "anchors_in", "migrate"]
