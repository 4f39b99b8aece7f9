"""What rules change: a mapping of a written configuration, and where on the walk it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import field

from google.protobuf.descriptor import Descriptor

from tcpmesh.config.migrate.outcome import Change, Trouble
from tcpmesh.config.migrate.written import (
    Entry,
    Group,
    Scalar,
    Style,
    Written,
    comments_at,
    mapping,
    scalar,
    snake_case,
)
from tcpmesh.config.text.problems import FieldPath, path_of, path_text
from tcpmesh.config.text.source import camel_case
from tcpmesh.facts import dataclass

#: The host part of the type URLs that are written.
HOST = "type.googleapis.com/"


class Notes:
    """What is known of a text on its way, and what has come of it so far."""

    def __init__(self, style: Style, anchors: dict[str, Written]) -> None:
        self.style = style
        self.changes: list[Change] = []
        self.troubles: list[Trouble] = []
        self.listener: Spot | None = None
        """The listener that is being walked, for what moves up to it."""
        self.rate_limit_service: Group | None = None
        """What the bootstrap said for all filters, for what moves down to them."""
        self._anchors = anchors
        self._seen: dict[tuple[int, str], str] = {}
        """What each group was taken for, by its identity and who took it: aliases lead to one
        again.
        """

    def say(self, line: int, path: FieldPath, text: str, is_needed: bool = True) -> None:
        """Note a change."""
        self.changes.append(Change(line, path_text(path_of(path)), text, is_needed))

    def trouble(self, line: int, path: FieldPath, text: str, hint: str = "") -> None:
        """Note what cannot be rewritten."""
        self.troubles.append(Trouble(line, path_text(path_of(path)), text, hint))

    def once(
        self, part: Written, kind: str, line: int, path: FieldPath, use: str = ""
    ) -> Group | None:
        """The group of a value, unless an alias led to it before."""
        target = part
        if isinstance(part, Scalar) and part.is_alias:
            target = self._anchors.get(str(part.value), part)
        if not isinstance(target, Group):
            return None
        before = self._seen.setdefault((id(target), use), "")
        if not before:
            self._seen[id(target), use] = kind
            return target
        if before != kind:
            text = "one anchored block is used for two things that are now written differently"
            self.trouble(line, path, text, "write it out in both places")
        return None

    def claim(self, spot: Spot, each: Entry, kind: str) -> Group | None:
        """The list or mapping in an entry, for a rule that changes it; `None` where it is none or
        was changed already, where an alias stood before.
        """
        return self.once(each.value, kind, each.line, (spot.path, _step(each)), "rule")


@dataclass(frozen=True)
class Spot:
    """A mapping on the walk: the message that it is, and where it stands."""

    walk: Notes
    group: Group
    descriptor: Descriptor
    path: FieldPath

    # ------------------------------------------------------------ saying what happens

    def say(self, each: Entry | None, text: str, is_needed: bool = True) -> None:
        """Note a change of an entry, or of the mapping itself."""
        name = self.path if each is None or each.key is None else (self.path, _step(each))
        self.walk.say(each.line if each is not None else self.group.line, name, text, is_needed)

    def trouble(self, each: Entry, text: str, hint: str = "") -> None:
        """Note what cannot be rewritten."""
        self.walk.trouble(each.line, (self.path, _step(each)), text, hint)

    # ------------------------------------------------------------ changing it

    def key(self, name: str) -> Scalar:
        """The key of a field, spelt as the file spells fields."""
        return scalar(camel_case(name) if self.walk.style.is_camel else name)

    def entry(self, name: str, value: Written | str | bool | int) -> Entry:
        """A new entry for a field."""
        return Entry(
            self.key(name), scalar(value) if isinstance(value, (str, bool, int)) else value
        )

    def fields(self, **values: Written | str | bool | int) -> Group:
        """A new message with these fields, in this order."""
        return mapping(*(self.entry(name, value) for name, value in values.items()))

    def rename(self, each: Entry, name: str) -> None:
        """Give an entry another key."""
        each.key = self.key(name)

    def drop(self, each: Entry) -> None:
        """Take an entry out."""
        self.group.remove(each, self.walk.style.pad)

    def comment_out(self, each: Entry) -> str:
        """Take an entry out and leave its text as a comment; of one in flow style, or in a JSON
        text, which has none, nothing.

        :return: what has become of it, in words.
        """
        style, at = self.walk.style, self.group.entries.index(each)
        text = ""
        if not style.is_json and not self.group.is_flow and each.column is not None:
            one = Group(self.group.is_mapping, [each], False, each.column)
            each.before, before = None, each.before
            text = style.write(one, each.column)
            each.before = before
            each.between = each.between and ":"
            each.value = scalar("")
        lines = _commented(text.splitlines(), each.column or 0)
        following = self.group.entries[at + 1 : at + 2]
        self.drop(each)
        pad = style.pad(each.column or 0)
        if following:
            following[0].above[:0] = lines
        else:
            self.group.tail = "".join(pad + line for line in lines) + self.group.tail
        return "it is a comment now" if text else "it is taken out"

    def replace(self, each: Entry, *others: Entry) -> None:
        """Put other entries in the place of one."""
        at = next(i for i, other in enumerate(self.group.entries) if other is each)
        lost = Counter(comments_at(each))
        for other in others:
            lost.subtract(comments_at(other))
        lost.subtract(comments_at(Entry(None, scalar(0), each.before)))
        others[0].above += [text for text, count in lost.items() for _ in range(count)]
        for index, other in enumerate(others):
            other.line = other.line or each.line
            if index == 0:
                other.before, other.column = each.before, each.column
        self.group.entries[at : at + 1] = others

    def add(self, name: str, value: Written | str | bool | int, line: int = 0) -> Entry:
        """A new entry at the end."""
        new = self.entry(name, value)
        new.line = line or self.group.line
        self.group.entries.append(new)
        return new

    def moved(self, name: str, each: Entry) -> Entry:
        """An entry with the value of another, to be put elsewhere under this name."""
        new = Entry(self.key(name), scalar(""), line=each.line)
        # Its comments go along.
        new.between, each.between = each.between, None
        new.put(each.value)
        return new

    def ensure(self, name: str, line: int) -> Spot | None:
        """The message in a field, which is made where it is not written; `None` where what is
        written there is no mapping.
        """
        found = self.group.get(name)
        if found is None or _is_null(found.value):
            if found is not None:
                self.drop(found)
            found = self.add(name, mapping(), line)
        inner = self.descriptor.fields_by_name[name].message_type
        if not isinstance(found.value, Group) or not found.value.is_mapping or inner is None:
            return None
        return Spot(self.walk, found.value, inner, (self.path, name))


def _step(each: Entry) -> str:
    return snake_case(each.name) if each.key is not None else ""


def _commented(lines: list[str], column: int) -> list[str]:
    """Lines as comments that stand at a column; the first is there already."""
    rest = (line[column:] if not line[:column].strip() else line.lstrip() for line in lines[1:])
    return [f"# {line}".rstrip() for line in (*lines[:1], *rest)]


def _is_null(part: Written) -> bool:
    return isinstance(part, Scalar) and part.value is None and not part.is_alias


#: What a rule for a field does: it gets the mapping and the entry, and changes them.
FieldRule = Callable[[Spot, Entry], None]
MessageRule = Callable[[Spot], None]


@dataclass
class Rules:
    """What is done beyond what the schema says: `fields` for those that are in v2 only, by message
    of v3 and name; `messages` for a whole mapping of a message of v3, before it is walked, `after`
    once it was.
    """

    fields: dict[tuple[str, str], FieldRule] = field(default_factory=dict)
    messages: dict[str, list[MessageRule]] = field(default_factory=dict)
    after: dict[str, list[MessageRule]] = field(default_factory=dict)
