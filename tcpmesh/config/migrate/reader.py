"""YAML and JSON texts become `written` trees.

The text has been read as a configuration before (`config/text`), so it is well-formed and not too
deep; here only the places of its parts are of interest.  For YAML the parser's own events have
them; JSON is cut into tokens.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tcpmesh.config.migrate.written import Entry, Group, Scalar, Style, Written
from tcpmesh.config.text.yaml_text import plain_value

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_JSON_TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<mark>[{}\[\],:])|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<other>[^\s{}\[\],:"']+)""",
    re.DOTALL,
)


_DECODER = json.JSONDecoder(strict=False)

_BLANKS = re.compile(r"[ \t]*")


class Event(NamedTuple):
    """One step through a text: the beginning of a mapping or list, a scalar, an alias, an end."""

    kind: str
    start: int
    end: int
    line: int
    value: str | int | float | bool | None = None
    is_flow: bool = False


class WrittenText(NamedTuple):
    """A text that was read: its root between what stands before and after it."""

    before: str
    root: Written
    after: str
    style: Style

    def write(self) -> str:
        """The text as the tree is now."""
        column = self.root.column or 0
        return self.before + self.style.write(self.root, column) + self.after


def read_written(text: str, is_json: bool) -> WrittenText:
    """Read a text that is known to be well-formed.

    :raise ValueError: where it is not, after all.
    """
    try:
        builder = _Builder(text, _json_events(text) if is_json else _yaml_events(text))
        root = builder.build()
    except (yaml.YAMLError, IndexError) as error:
        raise ValueError(str(error)) from None
    style = style_of(text, root, is_json)
    return WrittenText(text[: builder.start], root, text[builder.at :], style)


# ---------------------------------------------------------------- events


def _yaml_events(text: str) -> Iterator[Event]:
    for event in yaml.parse(text, Loader=_Loader):
        first, last = event.start_mark, event.end_mark
        assert first is not None and last is not None
        start, end, line = first.index, last.index, first.line + 1
        if isinstance(event, ScalarEvent):
            end = start + len(text[start:end].rstrip()) if event.style in ("|", ">") else end
            yield Event("scalar", start, end, line, _value(event))
        elif isinstance(event, AliasEvent):
            yield Event("alias", start, end, line, event.anchor)
        elif isinstance(event, MappingStartEvent):
            yield Event("mapping", start, end, line, is_flow=bool(event.flow_style))
        elif isinstance(event, SequenceStartEvent):
            yield Event("list", start, end, line, is_flow=bool(event.flow_style))
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            yield Event("end", start, end, line)
        elif isinstance(event, DocumentEndEvent):
            return


def _value(event: ScalarEvent) -> str | int | bool | None:
    """What a scalar stands for, as Envoy reads YAML."""
    text: str = event.value
    if event.tag is None and event.implicit[0]:
        return None if text in ("", "~", "null", "Null", "NULL") else plain_value(text)
    return text


def _json_events(text: str) -> Iterator[Event]:
    line = 1
    for found in _JSON_TOKEN.finditer(text):
        kind, token = found.lastgroup, found[0]
        here = line
        line += token.count("\n")
        if kind == "string":
            yield Event("scalar", found.start(), found.end(), here, _string(token))
        elif kind == "other":
            yield Event("scalar", found.start(), found.end(), here, _word(token))
        elif token in ("{", "["):
            name = "mapping" if token == "{" else "list"
            yield Event(name, found.start(), found.end(), here, is_flow=True)
        elif token in ("}", "]"):
            yield Event("end", found.start(), found.end(), here)


def _string(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        return str(_DECODER.decode(token if token[0] == '"' else f'"{token[1:-1]}"'))
    except ValueError:
        return token[1:-1]


def _word(token: str) -> str | int | float | bool | None:
    try:
        value: str | int | float | bool | None = json.loads(token)
    except ValueError:
        return token
    return value


# ---------------------------------------------------------------- the tree


class _Builder:
    """Puts events together; `at` is where the text that was used ends."""

    def __init__(self, text: str, events: Iterable[Event]) -> None:
        self.text = text
        self.lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self.events = iter(events)
        self.at = 0
        self.start = 0
        self.closed: list[Group] = []

    def build(self) -> Written:
        """The root; where there is none, a null."""
        event = next(self.events, None)
        if event is None:
            return Scalar("", None, 0)
        self.start = self.at = event.start
        return self.value(event, self.column_of(event.start))

    def column_of(self, index: int) -> int:
        return index - self.lines[bisect_right(self.lines, index) - 1]

    def indentation_at(self, index: int) -> int:
        """How far the line of a place is indented."""
        start = self.lines[bisect_right(self.lines, index) - 1]
        blanks = _BLANKS.match(self.text, start, index)
        return blanks.end() - start if blanks else 0

    def gap(self, event: Event) -> str:
        """What stands between the part before and this one; comments that belong to what has just
        ended, by their indentation, are put there.
        """
        text = self.text[self.at : max(self.at, event.start)]
        if self.closed:
            text = self._give_comments(text)
            self.closed.clear()
        return text

    def _give_comments(self, text: str) -> str:
        lines = text.split("\n")
        inner, taken = 0, 1
        pending = lines[0] if "#" in lines[0] else None
        if pending is None:
            taken = 0
        for index, line in enumerate(lines[1:-1], 1):
            stripped = line.lstrip()
            if not stripped.startswith("#"):
                continue
            column = len(line) - len(stripped)
            while inner < len(self.closed) and (self.closed[inner].column or 0) > column:
                inner += 1
            if inner == len(self.closed):
                break
            more = "\n".join(lines[taken : index + 1])
            self.closed[inner].tail += more if taken == 0 else self._joined(pending, more)
            pending, taken = None, index + 1
        if taken == 0 or pending is not None:
            return text
        return "\n" + "\n".join(lines[taken:])

    @staticmethod
    def _joined(pending: str | None, more: str) -> str:
        return ("" if pending is None else pending) + "\n" + more

    def value(self, event: Event, column: int) -> Written:
        """The value that an event begins, in an entry at this column."""
        start = max(self.at, event.start)
        if event.kind in ("scalar", "alias"):
            self.at = max(start, event.end)
            text = self.text[start : self.at]
            return Scalar(text, event.value, column, event.kind == "alias")
        own = column if event.is_flow else self.column_of(event.start)
        group = Group(event.kind == "mapping", is_flow=event.is_flow, column=own, line=event.line)
        if event.is_flow:
            self.at = event.end
            group.opening = self.text[event.start : event.end]
        else:
            self.at = event.start
        self.fill(group, event)
        return group

    def fill(self, group: Group, opened: Event) -> None:
        """Read the entries of a group, up to its end."""
        while (event := next(self.events)).kind != "end":
            if not group.is_flow and not group.entries and group.is_mapping:
                # An anchor or tag stands before the first key.
                group.opening = self.text[opened.start : event.start]
                self.at = event.start
                group.column = self.column_of(event.start)
            self.item(group, event)
        if group.is_flow:
            group.tail = self.gap(Event("end", event.start, event.end, event.line))
            self.at = event.end
        else:
            self.closed.append(group)

    def item(self, group: Group, event: Event) -> None:
        before = self.gap(event)
        if not group.is_mapping:
            if not group.is_flow and not group.entries:
                # An anchor or tag stands before the first dash.
                dash = before.rfind("-")
                group.column = self.column_of(self.at + dash)
                group.opening, before = before[:dash], before[dash:]
            column = self.indentation_at(event.start) if group.is_flow else group.column
            item = Entry(None, Scalar("", None), before, None, column, event.line)
            inner = column or 0 if group.is_flow else self.column_of(event.start)
            group.entries.append(item)
            item.value = self.value(event, inner)
            return
        start = event.start
        column = self.indentation_at(start) if group.is_flow else group.column
        key = self.value(event, column or 0)
        if not isinstance(key, Scalar):
            raise ValueError("a mapping or list as a key")
        following = next(self.events)
        between = self.gap(following)
        value = self.value(following, column or 0)
        group.entries.append(Entry(key, value, before, between, column, event.line))


# ---------------------------------------------------------------- style


def style_of(text: str, root: Written, is_json: bool) -> Style:
    """How a text is laid out, by what most of it does."""
    steps: Counter[int] = Counter()
    dashes: Counter[int] = Counter()
    camel: Counter[bool] = Counter()
    parts: list[Written] = [root]
    while parts:
        group = parts.pop()
        if isinstance(group, Scalar):
            continue
        for each in group.entries:
            parts.append(each.value)
            inner = each.value
            if each.key is None or group.column is None or not isinstance(inner, Group):
                continue
            name = each.name
            if "_" in name[1:-1] or not (name.islower() or name[:1].isupper()):
                camel["_" not in name] += name.isidentifier()
            columns = [e.column for e in inner.entries if e.column is not None]
            if is_json and columns and columns[0] > (each.column or 0):
                steps[columns[0] - (each.column or 0)] += 1
            elif not is_json and not inner.is_flow and inner.column is not None:
                (steps if inner.is_mapping else dashes)[inner.column - group.column] += 1
    return Style(
        is_json=is_json,
        step=max(1, _most(steps, 2)),
        dash=max(0, _most(dashes, 0)),
        unit="\t" if is_json and re.search(r"\n\t", text) else " ",
        line_break="\r\n" if "\r\n" in text else "\n",
        is_lined="\n" in text.strip(),
        is_camel=camel[True] > camel[False],
    )


def _most(counts: Counter[int], default: int) -> int:
    return counts.most_common(1)[0][0] if counts else default
