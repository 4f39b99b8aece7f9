"""HTTP: routes, header matchers, the connection manager.  tcpmesh has no HTTP, but a file that has
some is only of use if all of it is migrated.
"""

from __future__ import annotations

from tcpmesh.config.migrate.clusters import is_null, value_of
from tcpmesh.config.migrate.names import HTTP_FILTER, modern_name
from tcpmesh.config.migrate.spot import HOST, FieldRule, MessageRule, Rules, Spot
from tcpmesh.config.migrate.written import (
    Entry,
    Group,
    Scalar,
    Written,
    entry,
    mapping,
    scalar,
    sequence,
)

_ROUTE = "envoy.config.route.v3."
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FILTER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
_GZIP = "envoy.extensions.compression.gzip.compressor.v3.Gzip"
_COMPRESSOR = "envoy.extensions.filters.http.compressor.v3.Compressor"
_TRACER = "envoy.config.trace.v3.Tracing.Http"

_HTTP = "envoy.extensions.filters.http."

_TRACERS_GONE = {f"envoy.tracers.{name}" for name in ("dynamic_ot", "lightstep", "opencensus")}
_FILTERS_GONE = {f"envoy.filters.http.{name}" for name in ("dynamo", "squash")}

_MATCHER = "envoy.type.matcher.v3.StringMatcher"


def regex(spot: Spot, value: Written) -> Group:
    """A regular expression: all are RE2's now."""
    return mapping(Entry(spot.key("regex"), value))


def _safe_regex(name: str) -> FieldRule:
    """A rule that makes `safe_regex` of a field, which may lie in a `string_match`."""

    def rule(spot: Spot, each: Entry) -> None:
        new = spot.entry("safe_regex", mapping(spot.moved("regex", each)))
        if name == "string_match":
            new = spot.entry("string_match", mapping(new))
        spot.replace(each, new)
        spot.say(each, f"{each.name!r} becomes {name}, an expression of RE2, which is anchored")

    return rule


def _regex(spot: Spot, each: Entry) -> None:
    if spot.group.get("value") is None:
        spot.drop(each)
        spot.say(each, "'regex' without a value is taken out")


def _value(spot: Spot, each: Entry) -> None:
    """`value` of a query parameter, or of a header in the first v2 releases; with `regex: true` it
    is an expression.
    """
    is_regex = value_of(spot, "regex") is True
    inner = spot.moved("regex" if is_regex else "exact", each)
    inner = spot.entry("safe_regex", mapping(inner)) if is_regex else inner
    spot.replace(each, spot.entry("string_match", mapping(inner)))
    spot.say(each, "'value' becomes string_match")
    flag = spot.group.get("regex")
    if flag is not None:
        spot.drop(flag)


def _header_matches(spot: Spot) -> None:
    """The ways to match a header that are in one string matcher now."""
    for kind in ("exact", "prefix", "suffix", "contains", "safe_regex"):
        each = spot.group.get(f"{kind}_match")
        if each is None or is_null(each):
            continue
        spot.replace(each, spot.entry("string_match", mapping(spot.moved(kind, each))))
        spot.say(each, f"{each.name!r} becomes string_match", is_needed=False)


def _virtual_cluster(spot: Spot, each: Entry) -> None:
    """`pattern` and `method` of a virtual cluster, which are header matchers now."""
    pattern, method = spot.group.get("pattern"), spot.group.get("method")
    matchers = []
    if pattern is not None:
        path = spot.entry("safe_regex", mapping(spot.moved("regex", pattern)))
        matchers.append(_header(spot, ":path", path))
    if method is not None:
        matchers.append(_header(spot, ":method", spot.moved("exact", method)))
    spot.replace(each, spot.entry("headers", sequence(*matchers)))
    for other in (pattern, method):
        if other is not None and other is not each:
            spot.drop(other)
    spot.say(each, f"{each.name!r} becomes headers")


def _header(spot: Spot, name: str, match: Entry) -> Group:
    return mapping(spot.entry("name", name), spot.entry("string_match", mapping(match)))


def _route_runtime(spot: Spot, each: Entry) -> None:
    """`runtime` of a route: a share of 100, of which the fraction is told now."""
    inner = each.value if isinstance(each.value, Group) else mapping()
    key, default = inner.get("runtime_key"), inner.get("default_value")
    share = spot.fields(denominator="HUNDRED")
    share.entries.insert(
        0, spot.moved("numerator", default) if default else spot.entry("numerator", 0)
    )
    fraction = mapping(spot.entry("default_value", share))
    if key is not None:
        fraction.entries.append(spot.moved("runtime_key", key))
    spot.replace(each, spot.entry("runtime_fraction", fraction))
    spot.say(each, "'runtime' becomes runtime_fraction")


def _mirror_policy(spot: Spot, each: Entry) -> None:
    spot.replace(each, spot.entry("request_mirror_policies", sequence(each.value)))
    spot.say(each, "'request_mirror_policy' becomes request_mirror_policies")


def _mirror_runtime(spot: Spot, each: Entry) -> None:
    default = spot.fields(numerator=0, denominator="TEN_THOUSAND")
    fraction = mapping(spot.entry("default_value", default), spot.moved("runtime_key", each))
    spot.replace(each, spot.entry("runtime_fraction", fraction))
    spot.say(each, "'runtime_key' becomes runtime_fraction")


# ---------------------------------------------------------------- CORS


def _origins(spot: Spot) -> None:
    """`allow_origin` and `allow_origin_regex`, which are string matchers of one list now."""
    found = [
        (each, name)
        for name in ("allow_origin", "allow_origin_regex")
        if (each := spot.group.get(name)) is not None
    ]
    matchers: list[Written] = []
    for each, name in found:
        items = each.value.entries if isinstance(each.value, Group) else [Entry(None, each.value)]
        for item in items:
            value = item.value
            inner = Entry(spot.key("exact"), value)
            if name.endswith("regex"):
                inner = spot.entry("safe_regex", regex(spot, value))
            matchers.append(mapping(inner))
    for index, (each, name) in enumerate(found):
        if index == 0:
            spot.replace(each, spot.entry("allow_origin_string_match", sequence(*matchers)))
        else:
            spot.drop(each)
        spot.say(each, f"{name!r} becomes allow_origin_string_match")


def _cors_enabled(spot: Spot, each: Entry) -> None:
    on = value_of(spot, "enabled") is not False
    share = spot.fields(numerator=100 if on else 0, denominator="HUNDRED")
    spot.replace(each, spot.entry("filter_enabled", spot.fields(default_value=share)))
    spot.say(each, "'enabled' becomes filter_enabled")


# ---------------------------------------------------------------- the connection manager


def _idle_timeout(spot: Spot, each: Entry) -> None:
    inner = spot.ensure("common_http_protocol_options", each.line)
    if inner is None or inner.group.get("idle_timeout") is not None:
        spot.trouble(each, "'idle_timeout' is written twice", "keep one")
        return
    inner.group.entries.append(inner.moved("idle_timeout", each))
    spot.drop(each)
    spot.say(each, "'idle_timeout' moves into common_http_protocol_options")


def _operation_name(spot: Spot, each: Entry) -> None:
    value = str(value_of(spot, "operation_name")).upper()
    direction = "OUTBOUND" if value == "EGRESS" else "INBOUND"
    listener = spot.walk.listener
    if listener is not None and listener.group.get("traffic_direction") is None:
        listener.add("traffic_direction", direction, each.line)
    spot.drop(each)
    spot.say(each, f"'operation_name' becomes traffic_direction: {direction} of the listener")


def _header_tags(spot: Spot, each: Entry) -> None:
    items = each.value.entries if isinstance(each.value, Group) else [Entry(None, each.value)]
    tags = [
        mapping(
            Entry(spot.key("tag"), item.value),
            spot.entry("request_header", mapping(Entry(spot.key("name"), item.value))),
        )
        for item in items
    ]
    spot.replace(each, spot.entry("custom_tags", sequence(*tags)))
    spot.say(each, "'request_headers_for_tags' becomes custom_tags")


def _drop_fixed(spot: Spot, each: Entry) -> None:
    spot.drop(each)
    spot.say(each, "'type' is taken out: delays are fixed ones")


# ---------------------------------------------------------------- what Envoy has no more


def _tracer(name: str) -> MessageRule:
    """A rule for the field that names a tracer: one that Envoy dropped is put into a comment, since
    nothing else depends on it.
    """

    def rule(spot: Spot) -> None:
        each = spot.group.get(name)
        called = each.value.get("name") if each and isinstance(each.value, Group) else None
        if each is None or called is None or not isinstance(called.value, Scalar):
            return
        tracer = modern_name(_TRACER, str(called.value.value))
        if tracer in _TRACERS_GONE:
            gone = f"Envoy no longer has the tracer {called.value.value}"
            spot.say(each, f"{gone}: {spot.comment_out(each)}")

    return rule


def _filters(spot: Spot) -> None:
    """HTTP filters that Envoy dropped and that let every request pass as it is."""
    each = spot.group.get("http_filters")
    if each is None or not isinstance(each.value, Group) or each.value.is_mapping:
        return
    inner = Spot(spot.walk, each.value, spot.descriptor, (spot.path, "http_filters"))
    for item in list(each.value.entries):
        called = item.value.get("name") if isinstance(item.value, Group) else None
        name = str(called.value.value) if called and isinstance(called.value, Scalar) else ""
        if modern_name(HTTP_FILTER, name) in _FILTERS_GONE:
            become = inner.comment_out(item)
            inner.say(item, f"Envoy no longer has the filter {name}: {become}")


def _health_endpoint(spot: Spot, each: Entry) -> None:
    """`endpoint` of the health check filter: a path, which is a header now."""
    matcher = _header(spot, ":path", spot.moved("exact", each))
    spot.replace(each, spot.entry("headers", sequence(matcher)))
    spot.say(each, "'endpoint' becomes headers")


def _buffer_time(spot: Spot, each: Entry) -> None:
    spot.drop(each)
    spot.say(each, "'max_request_time' is taken out: request_timeout of the manager is for that")


# ---------------------------------------------------------------- gzip


def _gzip(spot: Spot) -> None:
    """The gzip filter, which is one library of the compressor now."""
    named, config = spot.group.get("name"), None
    name = str(value_of(spot, "name"))
    config = spot.group.get("config") or spot.group.get("typed_config")
    if name not in ("envoy.gzip", "envoy.filters.http.gzip") or named is None:
        return
    old = config.value if config is not None and isinstance(config.value, Group) else mapping()
    is_ours = old.get("@type")
    if is_ours is not None and "Gzip" not in str(getattr(is_ours.value, "value", "")):
        return
    common = [
        spot.moved(new, each)
        for was, new in (("content_length", "min_content_length"), ("content_type", "content_type"))
        if (each := old.get(was)) is not None
    ]
    response = [spot.entry("common_config", mapping(*common))] if common else []
    response += _kept(spot, old, "disable_on_etag_header", "remove_accept_encoding_header")
    library = mapping(
        entry("@type", HOST + _GZIP), *_kept(spot, old, "memory_level", "window_bits")
    )
    typed = mapping(
        entry("@type", HOST + _COMPRESSOR),
        *([spot.entry("response_direction_config", mapping(*response))] if response else []),
        spot.entry(
            "compressor_library",
            mapping(spot.entry("name", "gzip"), spot.entry("typed_config", library)),
        ),
    )
    named.value = scalar("envoy.filters.http.compressor")
    new = spot.entry("typed_config", typed)
    if config is None:
        spot.group.entries.append(new)
    else:
        spot.replace(config, new)
    spot.say(named, "the gzip filter is the compressor with its gzip library now")


def _kept(spot: Spot, old: Group, *names: str) -> list[Entry]:
    return [spot.moved(name, each) for name in names if (each := old.get(name)) is not None]


def add_to(rules: Rules) -> None:
    """Add what this module knows to the rules of a migration."""
    header = _ROUTE + "HeaderMatcher"
    parameter = _ROUTE + "QueryParameterMatcher"
    virtual_cluster = _ROUTE + "VirtualCluster"
    fault = "envoy.extensions.filters.common.fault.v3.FaultDelay"
    rules.fields |= {
        (_ROUTE + "RouteMatch", "regex"): _safe_regex("safe_regex"),
        (_ROUTE + "RouteMatch", "runtime"): _route_runtime,
        (header, "regex_match"): _safe_regex("string_match"),
        (header, "value"): _value,
        (header, "regex"): _regex,
        (_MATCHER, "regex"): _safe_regex("safe_regex"),
        (parameter, "value"): _value,
        (parameter, "regex"): _regex,
        (virtual_cluster, "pattern"): _virtual_cluster,
        (virtual_cluster, "method"): _virtual_cluster,
        (_ROUTE + "RouteAction", "request_mirror_policy"): _mirror_policy,
        (_ROUTE + "RouteAction.RequestMirrorPolicy", "runtime_key"): _mirror_runtime,
        (_ROUTE + "CorsPolicy", "allow_origin"): lambda spot, each: None,
        (_ROUTE + "CorsPolicy", "allow_origin_regex"): lambda spot, each: None,
        (_ROUTE + "CorsPolicy", "enabled"): _cors_enabled,
        (_HCM, "idle_timeout"): _idle_timeout,
        (_HCM + ".Tracing", "operation_name"): _operation_name,
        (_HCM + ".Tracing", "request_headers_for_tags"): _header_tags,
        (fault, "type"): _drop_fixed,
        (_HTTP + "health_check.v3.HealthCheck", "endpoint"): _health_endpoint,
        (_HTTP + "buffer.v3.Buffer", "max_request_time"): _buffer_time,
    }
    rules.messages.setdefault(header, []).append(_header_matches)
    rules.messages.setdefault(_ROUTE + "CorsPolicy", []).append(_origins)
    rules.messages.setdefault(_FILTER, []).insert(0, _gzip)
    rules.messages.setdefault(_HCM, []).append(_filters)
    rules.messages.setdefault(_HCM + ".Tracing", []).append(_tracer("provider"))
    rules.messages.setdefault("envoy.config.trace.v3.Tracing", []).append(_tracer("http"))
