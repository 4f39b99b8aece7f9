"""Clusters: hosts, TLS, options of HTTP, DNS servers, health checks."""

from __future__ import annotations

from tcpmesh.config.migrate.extensions import add_type, tls_type
from tcpmesh.config.migrate.spot import HOST, Rules, Spot
from tcpmesh.config.migrate.written import Entry, Group, Scalar, entry, mapping, scalar, sequence

CLUSTER = "envoy.config.cluster.v3.Cluster"
_HEALTH_CHECK = "envoy.config.core.v3.HealthCheck"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_COMMON_OPTIONS = ("common_http_protocol_options", "upstream_http_protocol_options")
_CARES = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


def value_of(spot: Spot, name: str) -> str | int | float | bool | None:
    """What a field of a message is set to, where that is a scalar."""
    found = spot.group.get(name)
    return found.value.value if found is not None and isinstance(found.value, Scalar) else None


def is_null(each: Entry | None) -> bool:
    """Whether nothing is written in an entry."""
    return each is None or (
        isinstance(each.value, Scalar) and each.value.value is None and not each.value.is_alias
    )


def _hosts(spot: Spot, each: Entry) -> None:
    """`hosts`: a list of addresses, which became endpoints of a `load_assignment`."""
    if not is_null(spot.group.get("load_assignment")):
        spot.trouble(each, "both 'hosts' and 'load_assignment' are written", "keep one of them")
        return
    hosts = spot.walk.claim(spot, each, "hosts")
    if hosts is not None and hosts.is_mapping:
        each.put(sequence(spot.fields(endpoint=_endpoint(spot, each))))
    elif hosts is not None:
        for item in hosts.entries:
            address = item.value
            item.value = spot.fields(endpoint=spot.fields(address=address))
    name = value_of(spot, "name")
    locality = mapping(spot.moved("lb_endpoints", each))
    new = spot.entry(
        "load_assignment",
        spot.fields(cluster_name="" if name is None else str(name), endpoints=sequence(locality)),
    )
    spot.replace(each, new)
    spot.say(each, "'hosts' becomes load_assignment")


def _endpoint(spot: Spot, each: Entry) -> Group:
    return spot.fields(address=each.value)


def tls_context(spot: Spot, each: Entry) -> None:
    """`tls_context`, of a cluster or a filter chain, which became a transport socket."""
    if is_null(each):
        spot.drop(each)
        spot.say(each, "'tls_context' without a value is taken out")
        return
    if not is_null(spot.group.get("transport_socket")):
        spot.trouble(each, "both 'tls_context' and 'transport_socket' are written", "keep one")
        return
    full_name = tls_type(spot)
    typed = spot.moved("typed_config", each)
    add_type(spot, typed, full_name)
    socket = mapping(spot.entry("name", "envoy.transport_sockets.tls"), typed)
    spot.replace(each, spot.entry("transport_socket", socket))
    name = full_name.rpartition(".")[2]
    spot.say(each, f"'tls_context' becomes a transport_socket, with {name}")


# ---------------------------------------------------------------- HTTP


def _http_options(spot: Spot) -> None:
    """Options of HTTP, which became those of an extension of the cluster."""
    http1, http2 = (_written(spot, f"{name}_protocol_options") for name in ("http", "http2"))
    common = [each for name in _COMMON_OPTIONS if (each := _written(spot, name))]
    written = [*common, *(each for each in (http1, http2) if each is not None)]
    if not written or _written(spot, "typed_extension_protocol_options") is not None:
        return
    options = [spot.moved(each.name, each) for each in common]
    if str(value_of(spot, "protocol_selection")).upper() == "USE_DOWNSTREAM_PROTOCOL":
        chosen = [each for each in (http1, http2) if each is not None]
        name = "use_downstream_protocol_config"
    else:
        # With both, HTTP/2 was spoken.
        chosen = [each for each in (http2, http1) if each is not None][:1]
        name = "explicit_http_config"
    inner = [spot.moved(each.name, each) for each in chosen]
    if not inner and name == "explicit_http_config":
        inner = [spot.entry("http_protocol_options", mapping())]
    typed = mapping(
        entry("@type", HOST + _HTTP_OPTIONS), *options, spot.entry(name, mapping(*inner))
    )
    _put_http_options(spot, [*chosen, *(e for e in written if e not in chosen)], typed)


def _written(spot: Spot, name: str) -> Entry | None:
    """The entry of a field with a value that is not null."""
    each = spot.group.get(name)
    return None if is_null(each) else each


def _put_http_options(spot: Spot, written: list[Entry], typed: Group) -> None:
    """Put the options where the first of these was, and take the others out."""
    first = written[0]
    selection = spot.group.get("protocol_selection")
    for each in (*written, *([selection] if selection else [])):
        if each is not first:
            spot.drop(each)
    new = spot.entry("typed_extension_protocol_options", mapping(entry(_HTTP_OPTIONS, typed)))
    spot.replace(first, new)
    for each in written:
        text = f"{each.name!r} moves into typed_extension_protocol_options"
        spot.say(each, text, is_needed=False)


# ---------------------------------------------------------------- DNS


def _dns_resolvers(spot: Spot) -> None:
    """DNS servers of a cluster's own, which became the configuration of a resolver."""
    servers, tcp = _written(spot, "dns_resolvers"), _written(spot, "use_tcp_for_dns_lookups")
    first = servers or tcp
    if first is None or _written(spot, "typed_dns_resolver_config") is not None:
        return
    config = mapping(entry("@type", HOST + _CARES))
    if servers is not None:
        config.entries.append(spot.moved("resolvers", servers))
    if tcp is not None:
        options = mapping(spot.moved("use_tcp_for_dns_lookups", tcp))
        config.entries.append(spot.entry("dns_resolver_options", options))
        if tcp is not first:
            spot.drop(tcp)
    resolver = mapping(
        spot.entry("name", "envoy.network.dns_resolver.cares"), spot.entry("typed_config", config)
    )
    spot.replace(first, spot.entry("typed_dns_resolver_config", resolver))
    spot.say(first, f"{first.name!r} becomes typed_dns_resolver_config", is_needed=False)


def _lb_policy(spot: Spot) -> None:
    policy = spot.group.get("lb_policy")
    if policy and str(value_of(spot, "lb_policy")).upper() == "ORIGINAL_DST_LB":
        policy.value = scalar("CLUSTER_PROVIDED")
        spot.say(policy, "the value ORIGINAL_DST_LB is called CLUSTER_PROVIDED now")


def _overprovisioning(spot: Spot, each: Entry) -> None:
    """`disable_overprovisioning`: a factor of 100 % says the same."""
    if value_of(spot, each.name) is True:
        spot.replace(each, spot.entry("overprovisioning_factor", 100))
        spot.say(each, "'disable_overprovisioning' becomes overprovisioning_factor: 100")
    else:
        spot.drop(each)
        spot.say(each, "'disable_overprovisioning' is taken out: it is off anyway")


# ---------------------------------------------------------------- health checks


def _use_http2(spot: Spot, each: Entry) -> None:
    if value_of(spot, "use_http2") is True:
        spot.replace(each, spot.entry("codec_client_type", "HTTP2"))
        spot.say(each, "'use_http2' becomes codec_client_type: HTTP2")
    else:
        spot.drop(each)
        spot.say(each, "'use_http2' is taken out: it is off anyway")


def _service_name(spot: Spot, each: Entry) -> None:
    matcher = mapping(spot.moved("prefix", each))
    spot.replace(each, spot.entry("service_name_matcher", matcher))
    spot.say(each, "'service_name' becomes service_name_matcher: a prefix, as before")


def _redis_health_check(spot: Spot, each: Entry) -> None:
    typed = spot.moved("typed_config", each)
    add_type(spot, typed, "envoy.extensions.health_checkers.redis.v3.Redis")
    check = mapping(spot.entry("name", "envoy.health_checkers.redis"), typed)
    spot.replace(each, spot.entry("custom_health_check", check))
    spot.say(each, "'redis_health_check' becomes a custom_health_check")


def add_to(rules: Rules) -> None:
    """Add what this module knows to the rules of a migration."""
    http = f"{_HEALTH_CHECK}.HttpHealthCheck"
    rules.fields |= {
        (CLUSTER, "hosts"): _hosts,
        (CLUSTER, "tls_context"): tls_context,
        (
            "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
            "disable_overprovisioning",
        ): _overprovisioning,
        (http, "use_http2"): _use_http2,
        (http, "service_name"): _service_name,
        (_HEALTH_CHECK, "redis_health_check"): _redis_health_check,
    }
    rules.messages.setdefault(CLUSTER, []).extend((_lb_policy, _http_options, _dns_resolvers))
