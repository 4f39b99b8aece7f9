"""The difference between two bootstraps by name: which listeners, clusters and secrets are added,
changed or removed, and what else has changed.

It is a pure function of the two messages, and may be worked out by a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from google.protobuf.message import Message

from tcpmesh.config.changes.fields import changed_fields, differing
from tcpmesh.config.changes.table import FIELDS, Row, Treatment
from tcpmesh.config.changes.uses import uses_of
from tcpmesh.config.fields.values import host_and_port
from tcpmesh.config.text.problems import Path, Problem, path_text
from tcpmesh.config.text.source_map import SourceMap
from tcpmesh.facts import dataclass
from tcpmesh.values.address import PATHS
from tcpmesh.values.lifecycle.reload import Change, How

Key: TypeAlias = "str | tuple[str, str]"

LISTS = ("listeners", "clusters", "secrets")
"""What `static_resources` has."""


@dataclass(frozen=True)
class Part:
    """A listener, a cluster or a secret that is other than it was, or in one of the two only."""

    change: Change
    before: Any
    """Its message; `None` where it is added."""

    after: Any
    """The same; `None` where it is removed."""

    index: int = 0
    """Where in its list it is now."""


@dataclass(frozen=True)
class Difference:
    """What is other."""

    listeners: tuple[Part, ...] = ()
    clusters: tuple[Part, ...] = ()
    secrets: tuple[Part, ...] = ()
    settings: tuple[Change, ...] = ()
    """Of the fields beside these."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of it, in order of the schema."""
        parts = (*self.listeners, *self.clusters, *self.secrets)
        return (*(part.change for part in parts), *self.settings)


def difference(before: Any, after: Any) -> Difference:
    """What is other in the second `bootstrap.v3.Bootstrap`.

    A listener or cluster that uses a static secret that has changed has changed itself.
    """
    old, new = before.static_resources, after.static_resources
    secrets = tuple(_parts("secret", _secrets(old.secrets), _secrets(new.secrets)))
    other = frozenset(part.change.name for part in secrets)
    return Difference(
        tuple(_parts("listener", by_name(old.listeners), by_name(new.listeners), other)),
        tuple(_parts("cluster", _clusters(old.clusters), _clusters(new.clusters), other)),
        secrets,
        tuple(_settings(before, after)),
    )


def by_name(listeners: Iterable[Any]) -> dict[str, tuple[int, Any]]:
    """The listeners of a bootstrap with their places in its list: of several with one name the
    first, as they are served, and those without name by their address.
    """
    found: dict[str, tuple[int, Any]] = {}
    for index, each in enumerate(listeners):
        name = each.name or unnamed(each)
        while name in found and not each.name:
            name += "'"
        found.setdefault(name, (index, each))
    return found


def unnamed(listener: Any) -> str:
    """What a listener without name is called."""
    host, port = host_and_port(listener.address)
    return f"({host}:{port})" if port else f"({host})"


def addresses_of(listener: Any) -> frozenset[tuple[str, int]]:
    """The addresses of a listener, of which nobody else can have one: those with a port."""
    found = [listener.address, *(each.address for each in listener.additional_addresses)]
    places = map(host_and_port, found)
    return frozenset((host, port) for host, port in places if port or host.startswith(PATHS))


def _clusters(messages: Iterable[Any]) -> dict[str, tuple[int, Any]]:
    return {each.name: (index, each) for index, each in enumerate(messages)}


def _secrets(messages: Iterable[Any]) -> dict[tuple[str, str], tuple[int, Any]]:
    found = ((each.WhichOneof("type") or "", each.name) for each in messages)
    return dict(zip(found, enumerate(messages), strict=True))


def _parts(
    kind: str,
    before: Mapping[Any, tuple[int, Any]],
    after: Mapping[Any, tuple[int, Any]],
    secrets: frozenset[str] = frozenset(),
) -> Iterator[Part]:
    for key, (index, new) in after.items():
        name = key if isinstance(key, str) else key[1]
        if key not in before:
            yield Part(Change(kind, name, How.ADDED), None, new, index)
            continue
        old = before[key][1]
        fields = changed_fields(old, new) if old != new else ()
        used = uses_of(new, secrets) if secrets else ()
        if old != new or used:
            fields += tuple(f"secret {each}" for each in used)
            yield Part(Change(kind, name, How.CHANGED, fields), old, new, index)
    for key, (_, old) in before.items():
        if key not in after:
            name = key if isinstance(key, str) else key[1]
            yield Part(Change(kind, name, How.REMOVED), old, None)


# What is beside the resources


def _settings(before: Any, after: Any) -> Iterator[Change]:
    for path, old, new, _ in _other_settings(before, after, FIELDS, ()):
        how = How.ADDED if old is None else How.REMOVED if new is None else How.CHANGED
        fields = changed_fields(old, new) if how is How.CHANGED and _is_message(old) else ()
        yield Change("setting", path_text(path), how, fields)


def _is_message(value: Any) -> bool:
    """Whether it has fields that a user names."""
    is_message = isinstance(value, Message)
    return is_message and not value.DESCRIPTOR.full_name.startswith("google.protobuf.")


def _other_settings(
    before: Any, after: Any, rows: Mapping[str, Row], path: Path
) -> Iterator[tuple[Path, Any, Any, Row]]:
    """The fields that differ, each with both values, `None` for none, and its row."""
    for name, row in rows.items():
        if path == ("static_resources",) and name in LISTS:
            continue
        old, new = _value(before, name), _value(after, name)
        if row.fields:
            if old is not None or new is not None:
                yield from _other_settings(old, new, row.fields, (*path, name))
        elif old != new:
            yield (*path, name), old, new, row


def _value(message: Any, name: str) -> Any:
    """The value of a field; `None` where it is not set, or is an empty list."""
    if message is None:
        return None
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        return list(getattr(message, name)) or None
    if field.has_presence:
        return getattr(message, name) if message.HasField(name) else None
    return getattr(message, name) or None


def settled_problems(before: Any, after: Any, places: SourceMap) -> tuple[Problem, ...]:
    """What is other in the second bootstrap and cannot change while the proxy runs: each with its
    line and the reason.
    """
    problems = []
    for path, old, new, row in _other_settings(before, after, FIELDS, ()):
        part = row.settled_part
        is_settled = part is not None and part(old) != part(new)
        if row.treatment is Treatment.SETTLED or is_settled:
            # The first field that differs, where it is inside of a message.
            both = _is_message(old) and _is_message(new)
            inner: Path = next(differing(old, new, path)) if both and part is None else path
            text = f"it cannot change while the proxy runs ({row.reason})"
            problems.append(Problem(places.at(*inner), path_text(inner), text))
    return tuple(problems)
