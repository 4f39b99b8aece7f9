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
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tcpmesh.config.migrate.spot import HOST, Notes, Rules, Spot
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
    quoted,
    scalar,
    snake_case,
)
from tcpmesh.config.text.problems import FieldPath

#: Types with a text form of their own, which has nothing to migrate.
_OPAQUE = frozenset(
    f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue", "Duration", "Timestamp")
)

_TYPED_STRUCTS = frozenset(
    ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct", "udpa.type.v2.TypedStruct")
)


class Walk(Notes):
    """One text on its way to v3: `changes` and `troubles` are what came of it."""

    def __init__(self, style: Style, rules: Rules, anchors: dict[str, Written]) -> None:
        super().__init__(style, anchors)
        self.rules = rules

    # ------------------------------------------------------------ messages

    def message(self, part: Written, descriptor: Descriptor, path: FieldPath, line: int) -> None:
        """Bring the mapping of a message, or whatever stands for it, up to date."""
        name = descriptor.full_name
        if name in _OPAQUE:
            return
        group = self.once(part, name, line, path)
        if group is None:
            return
        group.line = group.line or line  # a new one has none
        if not group.is_mapping:
            # A list that an alias stands for.
            for index, item in enumerate(_flat(group)):
                self.message(item.value, descriptor, (path, index), item.line)
        elif name == "google.protobuf.Any":
            self._any(group, path)
        else:
            self.fields(group, descriptor, path)

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
