"""Listeners and what is in their filter chains: TLS, the PROXY header, access logs, TCP, Redis."""

from __future__ import annotations

from tcpmesh.config.migrate.clusters import is_null, tls_context
from tcpmesh.config.migrate.extensions import only_route
from tcpmesh.config.migrate.spot import HOST, Rules, Spot
from tcpmesh.config.migrate.written import (
    Entry,
    Group,
    Scalar,
    entry,
    mapping,
    scalar,
    sequence,
)
from tcpmesh.config.text.problems import FieldPath

_LISTENER = "envoy.config.listener.v3.Listener"
_CHAIN = "envoy.config.listener.v3.FilterChain"
_MATCH = "envoy.config.listener.v3.FilterChainMatch"
_TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_REDIS = "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
_FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
_VALIDATION = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext"
_PROXY_PROTOCOL = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"


def _reuse_port(spot: Spot) -> None:
    each = spot.group.get("reuse_port")
    if each is not None and spot.group.get("enable_reuse_port") is None:
        spot.rename(each, "enable_reuse_port")
        spot.say(each, "'reuse_port' is called enable_reuse_port now", is_needed=False)


def _enter(spot: Spot) -> None:
    spot.walk.listener = spot


# ---------------------------------------------------------------- the PROXY header


def _use_proxy_proto(spot: Spot) -> None:
    """`use_proxy_proto` of filter chains, which became a listener filter."""
    chains = spot.group.get("filter_chains")
    if chains is None or not isinstance(chains.value, Group):
        return
    items = [each.value for each in chains.value.entries]
    groups = [chains.value] if chains.value.is_mapping else items
    found = [
        (index, group, each)
        for index, group in enumerate(groups)
        if isinstance(group, Group) and (each := group.get("use_proxy_proto")) is not None
    ]
    wanted = [each for *_, each in found if _is_true(each)]
    if wanted and not _add_listener_filter(spot, wanted[0]):
        return
    for index, group, each in found:
        group.remove(each, spot.walk.style.pad)
        path: FieldPath = (((spot.path, "filter_chains"), index), "use_proxy_proto")
        text = "'use_proxy_proto' becomes the listener filter envoy.filters.listener.proxy_protocol"
        if not _is_true(each):
            text = "'use_proxy_proto' is taken out: it is off anyway"
        spot.walk.say(each.line, path, text, is_needed=False)


def _is_true(each: Entry) -> bool:
    return isinstance(each.value, Scalar) and each.value.value is True


def _add_listener_filter(spot: Spot, asked: Entry) -> bool:
    """Put the filter before all others; false where there is no list to put it in."""
    typed = mapping(entry("@type", HOST + _PROXY_PROTOCOL))
    new = mapping(
        spot.entry("name", "envoy.filters.listener.proxy_protocol"),
        spot.entry("typed_config", typed),
    )
    filters = spot.group.get("listener_filters")
    if filters is None or is_null(filters):
        if filters is not None:
            spot.drop(filters)
        chains = spot.group.get("filter_chains")
        added = spot.add("listener_filters", sequence(new), asked.line)
        # Where a reader looks for it: before the chains.
        spot.group.entries.remove(added)
        spot.group.entries.insert(spot.group.entries.index(chains) if chains else 0, added)
        return True
    if not isinstance(filters.value, Group) or filters.value.is_mapping:
        spot.trouble(filters, "'use_proxy_proto' needs a list here", "write listener_filters out")
        return False
    filters.value.entries.insert(0, Entry(None, new, line=asked.line))
    return True


def _deprecated_v1(spot: Spot, each: Entry) -> None:
    """`deprecated_v1: {bind_to_port: false}` of a listener, whose field it is now."""
    inner = each.value.get("bind_to_port") if isinstance(each.value, Group) else None
    if inner is None:
        spot.drop(each)
        spot.say(each, "'deprecated_v1' without bind_to_port is taken out", is_needed=False)
        return
    spot.replace(each, spot.moved("bind_to_port", inner))
    spot.say(each, "'deprecated_v1.bind_to_port' becomes bind_to_port", is_needed=False)


def _sni_domains(spot: Spot, each: Entry) -> None:
    spot.rename(each, "server_names")
    spot.say(each, "'sni_domains' is called 'server_names' now")


# ---------------------------------------------------------------- TLS


def _subject_alt_names(spot: Spot, each: Entry) -> None:
    """`verify_subject_alt_name`: names, which became matchers of any kind of name."""
    before = spot.group.get("match_subject_alt_names")
    names = spot.walk.claim(spot, each, "names") if isinstance(each.value, Group) else None
    if before is not None:
        spot.trouble(each, "both kinds of subject alternative names are written", "keep one")
        return
    if names is not None:
        for item in names.entries:
            item.value = mapping(_exact(spot, item))
    elif isinstance(each.value, Scalar) and not each.value.is_alias:
        each.put(mapping(_exact(spot, each)))
    spot.rename(each, "match_subject_alt_names")
    spot.say(each, "'verify_subject_alt_name' becomes match_subject_alt_names, exact ones")


def _alpn(spot: Spot, each: Entry) -> None:
    """`deprecated_v1: {alpn_protocols: "h2,http/1.1"}` of the first v2 releases."""
    inner = each.value.get("alpn_protocols") if isinstance(each.value, Group) else None
    if inner is None or not isinstance(inner.value, Scalar) or spot.group.get("alpn_protocols"):
        spot.drop(each)
        spot.say(each, "'deprecated_v1' is taken out: it says nothing that counts")
        return
    names = [scalar(name.strip()) for name in str(inner.value.value).split(",")]
    spot.replace(each, spot.entry("alpn_protocols", sequence(*names)))
    spot.say(each, "'deprecated_v1.alpn_protocols' becomes alpn_protocols")


def _exact(spot: Spot, item: Entry) -> Entry:
    return Entry(spot.key("exact"), item.value, line=item.line)


# ---------------------------------------------------------------- access logs


def _log_format(spot: Spot) -> None:
    """The formats of an access log, which are in a message of their own now."""
    if not is_null(spot.group.get("log_format")):
        return
    for name in ("format", "json_format", "typed_json_format"):
        each = spot.group.get(name)
        if each is None or is_null(each):
            continue
        if name == "format":
            source = mapping(spot.moved("inline_string", each))
            inner = spot.entry("text_format_source", source)
        else:
            inner = spot.moved("json_format", each)
        spot.replace(each, spot.entry("log_format", mapping(inner)))
        text = f"{name!r} becomes log_format"
        if name == "json_format":
            text += "; numbers and booleans are no longer written as strings"
        spot.say(each, text, is_needed=False)
        return


# ---------------------------------------------------------------- TCP and Redis


def _tcp_routes(spot: Spot, each: Entry) -> None:
    """`deprecated_v1.routes` of tcp_proxy: one route without conditions is a cluster."""
    cluster = only_route(each.value)
    if cluster is None:
        spot.trouble(
            each,
            "routes by address and port are matched by filter chains now",
            "write a filter chain for each, with filter_chain_match: prefix_ranges, "
            "destination_port, source_prefix_ranges, source_ports",
        )
        return
    spot.replace(each, spot.moved("cluster", cluster))
    spot.say(each, "'deprecated_v1' with its one route becomes cluster")


def _redis_cluster(spot: Spot, each: Entry) -> None:
    """`cluster` of redis_proxy: where everything goes that no prefix sends elsewhere."""
    inner = spot.ensure("prefix_routes", each.line)
    taken = ("catch_all_route", "catch_all_cluster")
    if inner is None or any(inner.group.get(name) is not None for name in taken):
        spot.trouble(each, "'cluster' has no place beside these prefix_routes", "write it there")
        return
    route = mapping(spot.moved("cluster", each))
    inner.add("catch_all_route", route, each.line)
    spot.drop(each)
    spot.say(each, "'cluster' becomes prefix_routes.catch_all_route")


def _catch_all_cluster(spot: Spot, each: Entry) -> None:
    spot.replace(each, spot.entry("catch_all_route", mapping(spot.moved("cluster", each))))
    spot.say(each, "'catch_all_cluster' becomes catch_all_route")


def add_to(rules: Rules) -> None:
    """Add what this module knows to the rules of a migration."""
    rules.fields |= {
        (_LISTENER, "deprecated_v1"): _deprecated_v1,
        (_CHAIN, "tls_context"): tls_context,
        (_MATCH, "sni_domains"): _sni_domains,
        (_VALIDATION, "verify_subject_alt_name"): _subject_alt_names,
        (
            "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
            "deprecated_v1",
        ): _alpn,
        (_TCP, "deprecated_v1"): _tcp_routes,
        (_REDIS, "cluster"): _redis_cluster,
        (f"{_REDIS}.PrefixRoutes", "catch_all_cluster"): _catch_all_cluster,
    }
    rules.messages.setdefault(_LISTENER, []).extend((_enter, _use_proxy_proto, _reuse_port))
    rules.messages.setdefault(_FILE_LOG, []).append(_log_format)
