"""The walk through a written configuration, by the v3 schema, that brings what is older up to date.

At each mapping the v3 message is known, and by its descriptor the v2 message that it was.  A key
that the v3 message has stays and its value is walked; one that only the v2 message had was renamed
(the schema says so), or has a rule that moves it (`rules`), or has no place any more, which is a
problem for a person.  A key that neither has is no business of a migration.

What Envoy takes although it is deprecated is replaced as well, but only in a file that has to
change anyway (`Change.is_needed` tells the two apart): a file that Envoy takes is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tcpmesh.config.migrate.outcome import Change, Trouble
from tcpmesh.config.migrate.versions import (
    GONE,
    current,
    enum_value,
    fields_of,
    is_old,
    newer,
    older,
    renamed,
)
from tcpmesh.config.migrate.written import (
    Entry,
    Group,
    Scalar,
    Style,
    Written,
    comments_at,
    mapping,
    quoted,
    scalar,
    snake_case,
)
from tcpmesh.config.text.problems import FieldPath, path_of, path_text
from tcpmesh.config.text.source import camel_case

#: The host part of the type URLs that are written.
HOST = "type.googleapis.com/"

#: Types with a text form of their own, which has nothing to migrate.
_OPAQUE = frozenset(
    f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue", "Duration", "Timestamp")
)

_TYPED_STRUCTS = frozenset(
    ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct", "udpa.type.v2.TypedStruct")
)


@dataclass(frozen=True)
class Spot:
    """A mapping on the walk: the message that it is, and where it stands."""

    walk: Walk
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

    def comment_out(self, each: Entry) -> None:
        """Take an entry out and leave its text as a comment; of a JSON text, which has none,
        nothing.
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


class Walk:
    """One text on its way to v3: `changes` and `troubles` are what came of it."""

    def __init__(self, style: Style, rules: Rules, anchors: dict[str, Written]) -> None:
        self.style = style
        self.rules = rules
        self.changes: list[Change] = []
        self.troubles: list[Trouble] = []
        self.listener: Spot | None = None
        """The listener that is being walked, for what moves up to it."""
        self.rate_limit_service: Group | None = None
        """What the bootstrap said for all filters, for what moves down to them."""
        self._anchors = anchors
        self._seen: dict[tuple[int, str], str] = {}

    def say(self, line: int, path: FieldPath, text: str, is_needed: bool = True) -> None:
        """Note a change."""
        self.changes.append(Change(line, path_text(path_of(path)), text, is_needed))

    def trouble(self, line: int, path: FieldPath, text: str, hint: str = "") -> None:
        """Note what cannot be rewritten."""
        self.troubles.append(Trouble(line, path_text(path_of(path)), text, hint))

    # ------------------------------------------------------------ messages

    def message(self, part: Written, descriptor: Descriptor, path: FieldPath, line: int) -> None:
        """Bring the mapping of a message, or whatever stands for it, up to date."""
        name = descriptor.full_name
        if name in _OPAQUE:
            return
        group = self._once(part, name, line, path)
        if group is None:
            return
        if not group.is_mapping:
            # A list that an alias stands for.
            for index, item in enumerate(_flat(group)):
                self.message(item.value, descriptor, (path, index), item.line)
        elif name == "google.protobuf.Any":
            self._any(group, path)
        else:
            self.fields(group, descriptor, path)

    def _once(
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
        return self._once(each.value, kind, each.line, (spot.path, _step(each)), "rule")

    def fields(self, group: Group, descriptor: Descriptor, path: FieldPath) -> None:
        """Bring the fields of a message up to date: first those of this mapping, then what is in
        them.
        """
        spot = Spot(self, group, descriptor, path)
        self._drop_shadowed(spot)
        for each in list(group.entries):
            if any(each is other for other in group.entries):
                self._field(spot, each)
        for rule in self.rules.messages.get(descriptor.full_name, ()):
            rule(spot)
        known = fields_of(descriptor)
        old = older(descriptor)
        for each in list(group.entries):
            name = snake_case(each.name)
            if name in known:
                before = fields_of(old).get(name) if old is not None else None
                self._value(each, known[name], before, (path, name))
        for rule in self.rules.after.get(descriptor.full_name, ()):
            rule(spot)
        self._tell_doubled(spot)

    def _tell_doubled(self, spot: Spot) -> None:
        """A field of old times and the one that it becomes may both have been written."""
        seen: set[str] = set()
        for each in spot.group.entries:
            name = snake_case(each.name)
            if name in seen:
                text = f"{name!r} is written twice now, for an old field became it"
                spot.trouble(each, text, "keep one of them")
            seen.add(name)

    def _drop_shadowed(self, spot: Spot) -> None:
        """Of a key that is written twice the last one counts: the others would only confuse."""
        names = Counter(each.name for each in spot.group.entries)
        for each in list(spot.group.entries) if len(names) < len(spot.group.entries) else ():
            names[each.name] -= 1
            if names[each.name]:
                spot.comment_out(each)
                text = f"{each.name!r} is written again below, and only that counts"
                spot.say(each, text, is_needed=False)

    def _field(self, spot: Spot, each: Entry) -> None:
        """See to it that an entry has a key that the message has."""
        name = snake_case(each.name)
        rule = self.rules.fields.get((spot.descriptor.full_name, name))
        if rule is not None:
            rule(spot, each)
            return
        before = older(spot.descriptor)
        old = fields_of(before).get(name) if before is not None else None
        if old is None:
            return
        new = renamed(old, spot.descriptor)
        if name in fields_of(spot.descriptor):
            return
        if new is not None:
            spot.rename(each, new.name)
            spot.say(each, f"{name!r} is called {new.name!r} now")
        else:
            spot.trouble(
                each,
                f"Envoy no longer has the field {name!r} of {spot.descriptor.name}",
                "take it out, if you can do without",
            )

    # ------------------------------------------------------------ values

    def _value(
        self, each: Entry, field: FieldDescriptor, old: FieldDescriptor | None, path: FieldPath
    ) -> None:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            value = inner.fields_by_name["value"]
            if isinstance(each.value, Group) and each.value.is_mapping:
                for pair in each.value.entries:
                    self._single(pair, value, None, (path, pair.name))
        elif field.is_repeated and isinstance(each.value, Group) and not each.value.is_mapping:
            for index, item in enumerate(_flat(each.value)):
                self._single(item, field, old, (path, index))
        else:
            self._single(each, field, old, (path, 0) if field.is_repeated else path)

    def _single(
        self, each: Entry, field: FieldDescriptor, old: FieldDescriptor | None, path: FieldPath
    ) -> None:
        if field.message_type is not None:
            self.message(each.value, field.message_type, path, each.line)
        elif field.enum_type is not None and isinstance(each.value, Scalar):
            self._enum(each, each.value, field, old, path)

    def _enum(
        self,
        each: Entry,
        value: Scalar,
        field: FieldDescriptor,
        old: FieldDescriptor | None,
        path: FieldPath,
    ) -> None:
        if not isinstance(value.value, str) or value.is_alias:
            return
        now = enum_value(old, field, value.value)
        if not now:
            text = f"Envoy no longer has {value.value} for {field.name!r}"
            self.trouble(each.line, path, text, "choose another value")
        elif now != value.value:
            each.value = scalar(now)
            self.say(each.line, path, f"the value {value.value} is called {now} now")

    # ------------------------------------------------------------ Any

    def _any(self, group: Group, path: FieldPath) -> None:
        url = group.get("@type")
        if url is None or not isinstance(url.value, Scalar):
            return
        name = self.renew(url, url.value, (path, "@type"))
        if name in _TYPED_STRUCTS:
            self._typed_struct(group, path)
            return
        descriptor = current(name)
        if descriptor is not None and descriptor.full_name not in _OPAQUE:
            self.fields(group, descriptor, path)

    def _typed_struct(self, group: Group, path: FieldPath) -> None:
        url, inner = group.get("type_url"), group.get("value")
        if url is None or not isinstance(url.value, Scalar):
            return
        name = self.renew(url, url.value, (path, "type_url"))
        descriptor = current(name)
        if descriptor is not None and inner is not None:
            self.message(inner.value, descriptor, path, inner.line)

    def renew(self, each: Entry, url: Scalar, path: FieldPath) -> str:
        """Bring a type URL up to date; the full name of the type is returned."""
        host, slash, name = str(url.value).rpartition("/")
        now = newer(name) if is_old(name) else name
        if current(now) is None and (now != name or now in GONE):
            text = f"Envoy no longer has {name.rpartition('.')[2]} ({name})"
            self.trouble(each.line, path, text, "take the extension out, or use another one")
        elif now != name:
            new = scalar(f"{host}{slash}{now}" if slash else HOST + now)
            if url.text[:1] in "\"'":
                new = Scalar(quoted(str(new.value)), new.value)
            each.value = new
            self.say(each.line, path, f"the type {name} is {now} now")
        return now


def _flat(group: Group) -> Iterator[Entry]:
    """The elements that a repeated field takes from a list: a list in a list is no level."""
    for each in group.entries:
        if isinstance(each.value, Group) and not each.value.is_mapping:
            yield from _flat(each.value)
        else:
            yield each
