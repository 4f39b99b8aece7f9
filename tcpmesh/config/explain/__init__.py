"""What a configuration comes to: the effective value of each setting, with the line that says so,
or that it is Envoy's default.

Not a second reading of the configuration: the message that would be served is walked along the rows
of `support`, so a field shows up as soon as it is supported, and `defaults` says what counts where
it is not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tcpmesh.config.explain import no_effect
from tcpmesh.config.explain.defaults import DEFAULTS
from tcpmesh.config.explain.rows import Default, Inside
from tcpmesh.config.explain.runtime import RuntimeExplainer, values_of
from tcpmesh.config.fields.to_plain import Json, is_secret, leaf, plain_value
from tcpmesh.config.load import Loaded
from tcpmesh.config.messages.types import extension_type, full_name_of, new_message, unpack
from tcpmesh.config.support import TABLE, Support
from tcpmesh.config.text.problems import Path, Place, path_text
from tcpmesh.facts import dataclass

#: Fields that are groups of their own, or are in the heading of one.
_APART = frozenset(
    {
        "envoy.config.bootstrap.v3.Bootstrap.static_resources",
        "envoy.config.listener.v3.Listener.name",
        "envoy.config.listener.v3.Listener.filter_chains",
        "envoy.config.listener.v3.Listener.default_filter_chain",
        "envoy.config.listener.v3.Listener.listener_filters",
        "envoy.config.listener.v3.FilterChain.name",
        "envoy.config.listener.v3.FilterChain.filters",
        "envoy.config.cluster.v3.Cluster.name",
        "envoy.config.endpoint.v3.ClusterLoadAssignment.cluster_name",
        "envoy.config.endpoint.v3.ClusterLoadAssignment.endpoints",
        "envoy.config.endpoint.v3.LocalityLbEndpoints.lb_endpoints",
        "envoy.config.endpoint.v3.Endpoint.address",
    }
)

_STATIC_LAYER = "envoy.config.bootstrap.v3.RuntimeLayer.static_layer"


@dataclass(frozen=True)
class Setting:
    """One effective value.

    `place` is where it is written, or `None` for Envoy's default.  `value` is as in Envoy's JSON.
    `note` says for people what a value such as zero stands for, or what happens without one;
    `ignored` says why it has no effect, where it has none; `is_ours` that the default is that of
    tcpmesh, and Envoy has another or none.
    """

    name: str
    value: Json
    place: Place | None
    note: str = ""
    meaning: str = ""
    ignored: str = ""
    is_ours: bool = False


@dataclass(frozen=True)
class Group:
    """The settings of one listener, filter chain, filter, cluster, host, or of the process."""

    kind: str
    name: str
    place: Place
    settings: tuple[Setting, ...]
    groups: tuple[Group, ...] = field(default=())


def explain(loaded: Loaded) -> tuple[Group, ...]:
    """The process, then all listeners, then all clusters, in the order of the configuration."""
    return tuple(_Explainer(loaded).groups())


class _Explainer:
    def __init__(self, loaded: Loaded) -> None:
        self._bootstrap = loaded.bootstrap
        self._places = loaded.places
        self._runtime = RuntimeExplainer(loaded.bootstrap)

    def groups(self) -> Iterator[Group]:
        """All of them."""
        static = self._bootstrap.static_resources
        yield self._group("process", "", self._bootstrap, ())
        for index, listener in enumerate(static.listeners):
            yield self._listener(listener, ("static_resources", "listeners", index))
        for index, cluster in enumerate(static.clusters):
            path: Path = ("static_resources", "clusters", index)
            assignment: Path = (*path, "load_assignment", "endpoints")
            yield self._group(
                "cluster",
                cluster.name,
                cluster,
                path,
                self._hosts(cluster.load_assignment.endpoints, assignment),
            )

    def _group(
        self, kind: str, name: str, message: Message, path: Path, groups: Iterable[Group] = ()
    ) -> Group:
        return Group(
            kind,
            name,
            self._places.at(*path),
            tuple(self._settings(message, path, len(path))),
            tuple(groups),
        )

    def _listener(self, listener: Any, path: Path) -> Group:
        name = listener.name or str(plain_value(listener.address))
        return self._group("listener", name, listener, path, self._chains(listener, path))

    def _chains(self, listener: Any, path: Path) -> Iterator[Group]:
        yield from self._extensions(
            "listener filter", listener.listener_filters, (*path, "listener_filters")
        )
        for index, chain in enumerate(listener.filter_chains):
            yield self._chain(
                "filter chain", chain, (*path, "filter_chains", index), chain.name or f"#{index}"
            )
        if listener.HasField("default_filter_chain"):
            chain = listener.default_filter_chain
            yield self._chain(
                "default filter chain", chain, (*path, "default_filter_chain"), chain.name
            )

    def _chain(self, kind: str, chain: Any, path: Path, name: str) -> Group:
        return self._group(
            kind, name, chain, path, self._extensions("filter", chain.filters, (*path, "filters"))
        )

    def _extensions(self, kind: str, entries: Any, path: Path) -> Iterator[Group]:
        for index, entry in enumerate(entries):
            content = unpack(entry.typed_config)
            if content is not None:
                name = f"{entry.name} ({extension_type(entry.typed_config)})"
                group = self._group(kind, name, content, (*path, index, "typed_config"))
                yield Group(kind, name, self._places.at(*path, index), group.settings)

    def _hosts(self, localities: Any, path: Path) -> Iterator[Group]:
        for i, locality in enumerate(localities):
            shared = [
                self._of_locality(each)
                for each in self._settings(locality, (*path, i), len(path) + 1)
            ]
            for j, host in enumerate(locality.lb_endpoints):
                here: Path = (*path, i, "lb_endpoints", j)
                settings = (*self._settings(host, here, len(here)), *shared)
                yield Group(
                    "host",
                    str(plain_value(host.endpoint.address)),
                    self._places.at(*here),
                    settings,
                )

    def _of_locality(self, setting: Setting) -> Setting:
        """The weight of a locality must not be taken for that of its hosts."""
        if setting.name != "load_balancing_weight":
            return setting
        return Setting(
            "locality_weight",
            setting.value,
            setting.place,
            setting.note,
            setting.meaning,
            setting.ignored,
        )

    # One message

    def _settings(self, message: Message, path: Path, base: int) -> Iterator[Setting]:
        """The settings of a message, in the order of its rows."""
        full_name = message.DESCRIPTOR.full_name
        rows, defaults = TABLE.get(full_name, {}), DEFAULTS.get(full_name, {})
        values = {field.name: value for field, value in message.ListFields()}
        names = [*rows, *(name for name in values if name not in rows)]
        for name in names:
            descriptor: Any = message.DESCRIPTOR.fields_by_name[name]
            if f"{full_name}.{name}" in _APART:
                continue
            default = defaults.get(name, Default()).of(message)
            if name not in values and leaf(descriptor) and self._places.written(*path, name):
                values[name] = getattr(message, name)
            unread = no_effect.reason(message, name)
            if name in values:
                row = rows.get(name) if full_name in TABLE else Support("supported")
                row = Support("no effect", unread) if row is not None and unread else row
                yield from self._set(descriptor, values[name], row, default, (*path, name), base)
            elif not unread:
                yield from self._unset(message, descriptor, default, (*path, name), base)

    def _set(
        self,
        descriptor: FieldDescriptor,
        value: Any,
        row: Support | None,
        default: Default,
        path: Path,
        base: int,
    ) -> Iterator[Setting]:
        name = path_text(path[base:])
        if descriptor.full_name == _STATIC_LAYER:
            yield from self._runtime_values(value, path)
        elif is_secret(descriptor):
            yield Setting(name, "[redacted]", self._places.at(*path), meaning=default.meaning)
        elif row is None:
            shown, place = plain_value(value, descriptor), self._place(path, descriptor)
            yield Setting(name, shown, place, ignored="not supported yet")
        elif row.level == "no effect":
            shown, place = plain_value(value, descriptor), self._place(path, descriptor)
            yield Setting(name, shown, place, ignored=row.reason)
        elif leaf(descriptor):
            shown = plain_value(value, descriptor)
            note = default.zero if shown in (0, "0s", "0%") and shown is not False else ""
            if descriptor.name == "runtime_key":
                note = self._runtime.note(value)
            yield Setting(name, shown, self._place(path, descriptor), note, default.meaning)
        else:
            yield from self._message(descriptor, value, path, base, default)

    def _place(self, path: Path, descriptor: FieldDescriptor) -> Place:
        """Where the value of a field comes from: of two sources that have it the second, unless
        that says no more than the zero of a field that cannot tell its zero from nothing.
        """
        zeros: tuple[object, ...] = ()
        if not descriptor.has_presence and not descriptor.is_repeated:
            is_text = descriptor.cpp_type == FieldDescriptor.CPPTYPE_STRING
            first = descriptor.enum_type.values[0].name if descriptor.enum_type else 0
            zeros = ("",) if is_text else (first, 0, "0", "false")
        return self._places.at(*path, but_not=zeros)

    def _runtime_values(self, struct: Any, path: Path) -> Iterator[Setting]:
        """The values of a static runtime layer, each by its key."""
        for each in values_of(struct):
            yield Setting(
                f"runtime {each.key}",
                each.value,
                self._places.at(*path, *each.path),
                meaning=self._runtime.meaning(each.key),
                ignored=self._runtime.ignored(each.key),
            )

    def _message(
        self, descriptor: FieldDescriptor, value: Any, path: Path, base: int, default: Default
    ) -> Iterator[Setting]:
        """What is inside of a message, of each of a list, or of an extension."""
        if descriptor.is_repeated:
            for index, item in enumerate(value):
                yield from self._message_at(item, (*path, index), base, default)
        else:
            yield from self._message_at(value, path, base, default)

    def _message_at(self, value: Any, path: Path, base: int, default: Default) -> Iterator[Setting]:
        is_extension = value.DESCRIPTOR.full_name == "google.protobuf.Any"
        content = unpack(value) if is_extension else value
        inner = list(self._settings(content, path, base)) if content is not None else []
        if is_extension or not value.ListFields():
            shown: Json = extension_type(value) if is_extension else {}
            yield Setting(
                path_text(path[base:]), shown, self._places.at(*path), meaning=default.meaning
            )
        yield from inner

    def _unset(
        self, message: Message, descriptor: FieldDescriptor, default: Default, path: Path, base: int
    ) -> Iterator[Setting]:
        name = path_text(path[base:])
        if isinstance(default.value, Inside):
            yield from self._settings(new_message(full_name_of(descriptor)), path, base)
            return
        value = default.value(message) if callable(default.value) else default.value
        if value is not None or default.unset:
            unset = default.unset if value is None else ""
            yield Setting(name, value, None, unset, default.meaning, is_ours=default.is_ours)


def as_dict(groups: tuple[Group, ...]) -> dict[str, Any]:
    """An explanation for machines: the process, and lists of listeners and clusters."""
    return {
        "process": next(_group_dict(group) for group in groups if group.kind == "process"),
        "listeners": [_group_dict(group) for group in groups if group.kind == "listener"],
        "clusters": [_group_dict(group) for group in groups if group.kind == "cluster"],
    }


def _group_dict(group: Group) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "name": group.name,
        "source": _place_dict(group.place),
        "settings": [_setting_dict(setting) for setting in group.settings],
        "groups": [_group_dict(inner) for inner in group.groups],
    }


def _setting_dict(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": setting.value,
        "source": _place_dict(setting.place) if setting.place is not None else "default",
        "is_ours": setting.is_ours,
        "note": setting.note,
        "meaning": setting.meaning,
        "ignored": setting.ignored,
    }


def _place_dict(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column}
