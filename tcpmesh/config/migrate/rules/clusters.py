"""Clusters: hosts, TLS, options of HTTP, DNS servers, health checks."""

from __future__ import annotations

from tcpmesh.config.migrate.rules.extensions import add_type, tls_type
from tcpmesh.config.migrate.walk import HOST, Rules, Spot
from tcpmesh.config.migrate.written import Entry, Group, Scalar, entry, mapping, scalar, sequence

CLUSTER = "envoy.config.cluster.v3.Cluster"
_HEALTH_CHECK = "envoy.config.core.v3.HealthCheck"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
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
    if not is_null(spot.group.get("transport_socket")):
        spot.trouble(each, "both 'tls_context' and 'transport_socket' are written", "keep one")
        return
    if is_null(each):
        spot.drop(each)
        spot.say(each, "'tls_context' without a value is taken out")
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
    group = spot.group
    names = ("common_http_protocol_options", "upstream_http_protocol_options")
    common = [found for name in names if not is_null(found := group.get(name))]
    http2, http1 = group.get("http2_protocol_options"), group.get("http_protocol_options")
    written = [*common, *(found for found in (http1, http2) if not is_null(found))]
    selection = group.get("protocol_selection")
    has_options = not is_null(group.get("typed_extension_protocol_options"))
    if not written or has_options or any(each is None for each in written):
        return
    first = min((each for each in written if each), key=group.entries.index)
    options = [spot.moved(each.name, each) for each in common]
    if str(value_of(spot, "protocol_selection")).upper() == "USE_DOWNSTREAM_PROTOCOL":
        inner = [
            spot.moved(each.name, each) for each in (http1, http2) if each and not is_null(each)
        ]
        options.append(spot.entry("use_downstream_protocol_config", mapping(*inner)))
    else:
        only = http2 if http2 is not None and not is_null(http2) else http1
        inner = [spot.moved(only.name, only)] if only and not is_null(only) else []
        inner = inner or [spot.entry("http_protocol_options", mapping())]
        options.append(spot.entry("explicit_http_config", mapping(*inner)))
    typed = mapping(entry("@type", HOST + _HTTP_OPTIONS), *options)
    new = spot.entry("typed_extension_protocol_options", mapping(entry(_HTTP_OPTIONS, typed)))
    for each in (*written, selection):
        if each is not None and each is not first:
            spot.drop(each)
    spot.replace(first, new)
    for each in written:
        if each is not None:
            text = f"{each.name!r} moves into typed_extension_protocol_options"
            spot.say(each, text, is_needed=False)


# ---------------------------------------------------------------- DNS


def _dns_resolvers(spot: Spot) -> None:
    """DNS servers of a cluster's own, which became the configuration of a resolver."""
    servers, tcp = spot.group.get("dns_resolvers"), spot.group.get("use_tcp_for_dns_lookups")
    first = servers if not is_null(servers) else tcp
    if first is None or is_null(first) or not is_null(spot.group.get("typed_dns_resolver_config")):
        return
    config = mapping(entry("@type", HOST + _CARES))
    if servers is not None and not is_null(servers):
        config.entries.append(spot.moved("resolvers", servers))
    if tcp is not None and not is_null(tcp):
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
