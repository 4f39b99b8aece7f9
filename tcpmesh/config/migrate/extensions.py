"""Wherever a configuration names an extension: an old name, an untyped `config`, no config."""

from __future__ import annotations

from tcpmesh.config.migrate.names import (
    HTTP_FILTER,
    PACKAGES,
    modern_name,
    type_for,
    type_of_protocol_options,
    type_per_route,
)
from tcpmesh.config.migrate.spot import HOST, Rules, Spot
from tcpmesh.config.migrate.versions import current
from tcpmesh.config.migrate.written import Entry, Group, Scalar, Written, entry, mapping, scalar
from tcpmesh.config.text.problems import path_of

_TLS = "envoy.extensions.transport_sockets.tls.v3."
_TRANSPORT_SOCKET = "envoy.config.core.v3.TransportSocket"
_CLUSTER = "envoy.config.cluster.v3.Cluster"

#: Those of which a file need not have a config today either.
_BARE = frozenset(("envoy.config.cluster.v3.Cluster.CustomClusterType",))


def add_type(spot: Spot, each: Entry, full_name: str) -> None:
    """Put an `@type` at the beginning of the mapping in an entry."""
    url = entry("@type", HOST + full_name)
    if isinstance(each.value, Scalar) and not each.value.is_alias:
        each.put(mapping(url))
        return
    group = spot.walk.claim(spot, each, full_name)
    if group is not None and not group.is_mapping:
        spot.trouble(each, "expected a mapping here, not a list", "correct it, then migrate")
    elif group is not None and group.get("@type") is None:
        url.line = each.line
        group.entries.insert(0, url)


def tls_type(spot: Spot) -> str:
    """The type of a TLS transport socket, by where it stands."""
    is_upstream = "filter_chains" not in map(str, path_of(spot.path))
    return _TLS + ("UpstreamTlsContext" if is_upstream else "DownstreamTlsContext")


def _extension(spot: Spot) -> None:
    """An extension by its name: rename it, and see to its `typed_config`."""
    kind = spot.descriptor.full_name
    named = spot.group.get("name")
    config, typed = spot.group.get("config"), spot.group.get("typed_config")
    if named is None or not isinstance(named.value, Scalar):
        if config is not None:
            spot.trouble(config, "it has no name that would say what this configures", "name it")
        return
    name = _with_modern_name(spot, kind, named)
    if config is not None:
        if _without_v1(spot, config):
            _give_type(spot, config, kind, name)
    elif typed is not None:
        group = typed.value
        if isinstance(group, Group) and group.is_mapping and group.get("@type") is None:
            _give_type(spot, typed, kind, name)
    elif not _needs_none(spot, kind, name):
        full_name = _type(spot, kind, name)
        if current(full_name) is not None:
            new = spot.add("typed_config", mapping(entry("@type", HOST + full_name)), named.line)
            spot.say(new, f"{name} has a typed_config with its @type: the name chooses nothing")
        elif name.startswith("envoy."):
            spot.trouble(named, f"Envoy no longer has {name}", "take it out, or use another one")


def _without_v1(spot: Spot, config: Entry) -> bool:
    """Take out `deprecated_v1: true`, which says that `value` has the settings of v1; false where
    there are such settings, which only somebody who knows them can rewrite.
    """
    group = config.value
    mark = group.get("deprecated_v1") if isinstance(group, Group) else None
    if not isinstance(group, Group) or mark is None or not isinstance(mark.value, Scalar):
        return True
    inner = Spot(spot.walk, group, spot.descriptor, (spot.path, "config"))
    value = group.get("value")
    if mark.value.value is True and value is not None:
        lifted = _lifted(value.value)
        if lifted is None:
            hint = "the page on migrating has each part of v1 beside its v3 form"
            spot.trouble(config, "these are settings of the v1 API", hint)
            return False
        inner.replace(value, *(inner.moved(name, each) for name, each in lifted.items()))
    inner.drop(mark)
    inner.say(mark, "the settings of v1 become those of today")
    return True


def _lifted(value: Written) -> dict[str, Entry] | None:
    """The settings of tcp_proxy in v1, where they have one route without conditions."""
    if not isinstance(value, Group) or not value.is_mapping:
        return None
    found: dict[str, Entry] = {}
    for each in value.entries:
        if each.name == "stat_prefix":
            found["stat_prefix"] = each
        elif each.name == "route_config":
            route = only_route(each.value)
            if route is None:
                return None
            found["cluster"] = route
        else:
            return None
    return found or None


def only_route(config: Written) -> Entry | None:
    """The cluster of the only route in `routes`, where that has no conditions."""
    routes = config.get("routes") if isinstance(config, Group) else None
    items = routes.value.entries if routes and isinstance(routes.value, Group) else []
    only = items[0].value if len(items) == 1 else None
    is_plain = isinstance(only, Group) and len(only.entries) == 1
    return only.get("cluster") if isinstance(only, Group) and is_plain else None


def _with_modern_name(spot: Spot, kind: str, named: Entry) -> str:
    assert isinstance(named.value, Scalar)
    old = str(named.value.value)
    name = modern_name(kind, old)
    if name != old:
        named.value = scalar(name)
        spot.say(named, f"{old} is called {name} now", is_needed=False)
    return name


def _needs_none(spot: Spot, kind: str, name: str) -> bool:
    """Whether an extension need not be configured, or is elsewhere."""
    elsewhere = any(spot.group.get(each) for each in ("config_discovery", "disabled"))
    return kind in _BARE or elsewhere or not name


def _type(spot: Spot, kind: str, name: str) -> str:
    if kind == _TRANSPORT_SOCKET and name in ("tls", "envoy.transport_sockets.tls"):
        return tls_type(spot)
    return type_for(kind, name)


def _give_type(spot: Spot, each: Entry, kind: str, name: str) -> None:
    """Turn an untyped config into a typed one."""
    full_name = _type(spot, kind, name)
    if not full_name:
        spot.trouble(
            each,
            f"nobody knows which type configures {name!r}",
            "write typed_config with the @type of that extension",
        )
    elif current(full_name) is None:
        spot.trouble(each, f"Envoy no longer has {name}", "take it out, or use another one")
    else:
        was = each.name
        add_type(spot, each, full_name)
        spot.rename(each, "typed_config")
        text = "typed_config gets" if was == "typed_config" else f"{was!r} becomes typed_config, of"
        spot.say(each, f"{text} the @type {full_name}")


def _per_filter(spot: Spot, each: Entry) -> None:
    """What a route says to filters, by their names."""
    _type_all(spot, each, "typed_per_filter_config", HTTP_FILTER)


def _protocol_options(spot: Spot, each: Entry) -> None:
    """What a cluster says to filters, by their names."""
    _type_all(spot, each, "typed_extension_protocol_options", "envoy.config.listener.v3.Filter")


def _type_all(spot: Spot, each: Entry, name: str, kind: str) -> None:
    if isinstance(each.value, Group) and each.value.is_mapping:
        for pair in each.value.entries:
            is_http = kind == HTTP_FILTER
            full_name = (
                type_per_route(pair.name) if is_http else type_of_protocol_options(pair.name)
            )
            if not full_name or current(full_name) is None:
                spot.trouble(pair, f"nobody knows which type configures {pair.name!r} here")
                return
            add_type(spot, pair, full_name)
    was = each.name
    spot.rename(each, name)
    spot.say(each, f"{was!r} becomes {name}, each value with its @type")


def _modern_keys(spot: Spot) -> None:
    """The names of filters as keys are renamed as the filters are."""
    each = spot.group.get("typed_per_filter_config")
    if each is None or not isinstance(each.value, Group) or not each.value.is_mapping:
        return
    for pair in each.value.entries:
        name = modern_name(HTTP_FILTER, pair.name)
        if name != pair.name:
            spot.say(pair, f"{pair.name} is called {name} now", is_needed=False)
            pair.key = scalar(name)


def add_to(rules: Rules) -> None:
    """Add what this module knows to the rules of a migration."""
    for kind in PACKAGES:
        rules.fields[kind, "config"] = lambda spot, each: None
        rules.messages.setdefault(kind, []).append(_extension)
    route = "envoy.config.route.v3."
    for message in ("Route", "VirtualHost", "WeightedCluster.ClusterWeight"):
        rules.fields[route + message, "per_filter_config"] = _per_filter
        rules.messages.setdefault(route + message, []).append(_modern_keys)
    rules.fields[_CLUSTER, "extension_protocol_options"] = _protocol_options
