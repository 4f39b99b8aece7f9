"""What counts where a configuration is silent, and what each setting does to a connection: the
words of `--mode explain`.

A field shows up in an explanation as soon as `support` has a row for it.  A row here adds the value
that it has when it is not set, and the sentence that says what it is for.  The values are those
that other rooms keep as constants; a test compares them, as a room below must not import them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcpmesh.config.explain.filters import FILTERS
from tcpmesh.config.explain.rows import INSIDE, Default, Defaults
from tcpmesh.config.explain.tls import TLS
from tcpmesh.config.fields.to_plain import Json
from tcpmesh.config.fields.values import binds_to_port

_MIB = 1 << 20
_BUFFER = "a side that holds more than this for the other stops being read"
_DNS_TYPES = (1, 2)


def _of_address(listener: Any) -> str:
    """What the address of a listener is for."""
    if binds_to_port(listener):
        return "clients are accepted here"
    return "nobody can connect here: other listeners hand on clients that wanted to"


def _of_dns(value: Json) -> Callable[[Any], Json]:
    """A default that only clusters with names to resolve have."""
    return lambda cluster: (
        value
        if cluster.WhichOneof("cluster_discovery_type") == "type" and cluster.type in _DNS_TYPES
        else None
    )


def _of_socket(value: Json) -> Callable[[Any], Json]:
    """A default that only listeners with a socket have."""
    return lambda listener: None if listener.HasField("internal_listener") else value


def _of_original_dst(value: Json) -> Callable[[Any], Json]:
    """A default that only ORIGINAL_DST clusters have."""
    return lambda cluster: value if cluster.type == cluster.ORIGINAL_DST else None


def _of_filters(value: Json) -> Callable[[Any], Json]:
    """A default that only listeners with listener filters have."""
    return lambda listener: (
        value if listener.listener_filters or listener.use_original_dst.value else None
    )


def _of_handshakes(chain: Any) -> Json:
    """A limit that Envoy does not have, where there is something to limit."""
    return "15s" if chain.HasField("transport_socket") else None


def _tenfold(options: Any) -> Json:
    return _seconds_text(10 * (options.base_interval.seconds + options.base_interval.nanos / 1e9))


def _seconds_text(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _same_as(*fields: str) -> Callable[[Any], Json]:
    """A default that is the value of the first of these durations that is set."""

    def value(message: Any) -> Json:
        found = next((getattr(message, name) for name in fields if message.HasField(name)), None)
        return _seconds_text(found.seconds + found.nanos / 1e9) if found is not None else None

    return value


def _longest_ejection(outliers: Any) -> Json:
    return _seconds_text(
        max(300.0, outliers.base_ejection_time.seconds + outliers.base_ejection_time.nanos / 1e9)
    )


_PROCESS: dict[str, Defaults] = {
    "envoy.config.bootstrap.v3.Bootstrap": {
        "node": Default("what this proxy calls itself"),
        "admin": Default(unset="there is no admin interface"),
        "stats_flush_interval": Default(
            "statistics are flushed and histograms merged this often", "5s"
        ),
    },
    "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat": {
        "json_format": Default("what a line of the application log looks like"),
        "text_format": Default("what a line of the application log looks like"),
    },
    "envoy.config.bootstrap.v3.Admin": {"address": Default("the admin interface listens here")},
    "envoy.config.bootstrap.v3.ClusterManager": {
        "local_cluster_name": Default(
            "the cluster that this proxy is part of, for zone aware routing"
        ),
    },
}

_LISTENER: dict[str, Defaults] = {
    "envoy.config.listener.v3.Listener": {
        "address": Default(meaning_of=_of_address),
        "stat_prefix": Default("names its statistics"),
        "per_connection_buffer_limit_bytes": Default(_BUFFER, _MIB, zero="no limit"),
        "enable_reuse_port": Default("other processes may share the port", _of_socket(True)),
        "tcp_backlog_size": Default(
            "so many clients may wait to be accepted",
            _of_socket("the system's net.core.somaxconn"),
        ),
        "max_connections_to_accept_per_socket_event": Default(
            "so many are accepted at a time", _of_socket("all that wait")
        ),
        "internal_listener": Default("clients come from clusters of this proxy, by its name"),
        "use_original_dst": Default(
            "whether clients go to the listener of the address that they wanted"
        ),
        "transparent": Default("whether it takes clients for any address"),
        "freebind": Default("whether its address may be one that no interface has"),
        "tcp_fast_open_queue_length": Default(
            "so many clients may send data with their SYN", _of_socket("as the system has it")
        ),
        "tcp_keepalive": Default("silent clients are probed", _of_socket("no")),
        "bind_to_port": Default(
            "whether it accepts clients itself, or serves only those handed to it"
        ),
        "listener_filters_timeout": Default(
            "listener filters must be done by then", _of_filters("15s"), zero="no limit"
        ),
        "continue_on_listener_filters_timeout": Default(
            "whether a client goes on when they are not", _of_filters(False)
        ),
    },
    "envoy.config.listener.v3.FilterChain": {
        "filter_chain_match": Default(
            "the connections that this chain takes", unset="all connections"
        ),
        "transport_socket": Default("how bytes go over the wire", unset="plain TCP"),
        "transport_socket_connect_timeout": Default(
            "a handshake must be done by then", _of_handshakes, zero="no limit", is_ours=True
        ),
    },
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": {
        "stat_prefix": Default("names its statistics"),
        "cluster": Default("clients are given to a host of this cluster"),
        "weighted_clusters": Default("each client is given to one of these, drawn by weight"),
        "idle_timeout": Default(
            "a connection without a byte in either direction for so long is closed",
            "3600s",
            zero="never",
        ),
        "max_connect_attempts": Default("so many hosts are tried for a client", 1),
        "backoff_options": Default(
            "the pause before another attempt", unset="no pause before another attempt"
        ),
        "max_downstream_connection_duration": Default(
            "a connection is closed after it", unset="no limit"
        ),
        "hash_policy": Default("what balancers by hash go by", unset="nothing: a random host"),
        "metadata_match": Default("only hosts with these labels", unset="all hosts"),
        "upstream_connect_mode": Default("when a host is connected to", "IMMEDIATE"),
    },
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig": {
        "hostname": Default("where a host of the cluster, a proxy, is asked to connect to"),
        "use_post": Default("whether it is asked by POST, and not by CONNECT", False),
        "propagate_response_headers": Default("whether filter state has its answer", False),
    },
    "envoy.config.core.v3.BackoffStrategy": {
        "base_interval": Default("the first pause is up to this"),
        "max_interval": Default("it doubles up to this", _tenfold),
    },
}

_CLUSTER: dict[str, Defaults] = {
    "envoy.config.cluster.v3.Cluster": {
        "alt_stat_name": Default("names its statistics"),
        "type": Default(
            "how hosts are found",
            lambda cluster: (
                "STATIC" if cluster.WhichOneof("cluster_discovery_type") is None else None
            ),
        ),
        "dns_refresh_rate": Default("names are looked up this often", _of_dns("5s")),
        "dns_failure_refresh_rate": Default("the pause after a failed lookup"),
        "respect_dns_ttl": Default("whether answers say how long they hold", _of_dns(False)),
        "dns_lookup_family": Default("which addresses of a name", _of_dns("AUTO")),
        "wait_for_warm_on_init": Default("whether listeners wait for its hosts", _of_dns(True)),
        "original_dst_lb_config": Default(
            "where else than in its addresses a client says where it wanted to go"
        ),
        "cleanup_interval": Default(
            "a host that no client names for so long is forgotten", _of_original_dst("5s")
        ),
        "connect_timeout": Default("an attempt to connect is given up after it", "5s"),
        "per_connection_buffer_limit_bytes": Default(_BUFFER, _MIB, zero="no limit"),
        "lb_policy": Default(
            "how a host is chosen",
            lambda cluster: None if cluster.HasField("load_balancing_policy") else "ROUND_ROBIN",
        ),
        "load_balancing_policy": Default("how a host is chosen"),
        "common_lb_config": Default(value=INSIDE),
        "health_checks": Default(
            "hosts are asked how they are", unset="none: every host counts as healthy"
        ),
        "outlier_detection": Default("hosts that fail clients are left out", unset="off"),
        "close_connections_on_host_health_failure": Default(
            "whether connections to a host that fails are closed", False
        ),
        "circuit_breakers": Default(value=INSIDE),
        "upstream_bind_config": Default(
            "the address that connections come from", unset="the system's choice"
        ),
        "transport_socket": Default("how bytes go over the wire", unset="plain TCP"),
    },
    "envoy.config.cluster.v3.CircuitBreakers": {"thresholds": Default(value=INSIDE)},
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": {
        "max_connections": Default(
            "with so many connections further clients are closed at once",
            1024,
            zero="all are closed",
        ),
        "max_pending_requests": Default(
            "so many clients may wait for their connection, further ones are closed",
            1024,
            zero="none may wait",
        ),
    },
    "envoy.config.cluster.v3.Cluster.CommonLbConfig": {
        "healthy_panic_threshold": Default(
            "with fewer healthy hosts than that all are used", "50%", zero="never"
        ),
        "update_merge_window": Default(
            "changes of health reach the balancer together within it", "1s", zero="at once"
        ),
        "zone_aware_lb_config": Default("hosts of the own zone come first"),
    },
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig": {
        "routing_enabled": Default("of the clients", "100%"),
        "min_cluster_size": Default("from so many hosts on", 6),
        "fail_traffic_on_panic": Default("whether nobody is served in panic", False),
    },
    "envoy.config.cluster.v3.Cluster.RingHashLbConfig": {
        "minimum_ring_size": Default(value=1024),
        "maximum_ring_size": Default(value=8 << 20),
        "hash_function": Default(value="XX_HASH"),
    },
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash": {
        "minimum_ring_size": Default(value=1024),
        "maximum_ring_size": Default(value=8 << 20),
    },
    "envoy.config.cluster.v3.Cluster.MaglevLbConfig": {"table_size": Default(value=65537)},
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev": {
        "table_size": Default(value=65537)
    },
    "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": {
        "choice_count": Default("hosts are compared", 2)
    },
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest": {
        "choice_count": Default("hosts are compared", 2)
    },
    "envoy.config.endpoint.v3.ClusterLoadAssignment": {"policy": Default(value=INSIDE)},
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": {
        "overprovisioning_factor": Default(
            "the next priority helps out where healthy hosts, times this percentage, are too few",
            140,
        ),
    },
    "envoy.config.endpoint.v3.LocalityLbEndpoints": {"priority": Default(value=0)},
    "envoy.config.endpoint.v3.LbEndpoint": {"load_balancing_weight": Default(value=1)},
}

_HEALTH: dict[str, Defaults] = {
    "envoy.config.core.v3.HealthCheck": {
        "timeout": Default("a check without an answer by then has failed"),
        "interval": Default("between two checks of a host"),
        "unhealthy_threshold": Default("failed checks in a row and a host is left out"),
        "healthy_threshold": Default("passed checks in a row and it is back"),
        "reuse_connection": Default("whether checks share a connection", True),
        "no_traffic_interval": Default(
            "between two checks while the cluster has no traffic", "60s"
        ),
        "unhealthy_interval": Default(
            "between two checks of an unhealthy host", _same_as("interval")
        ),
        "unhealthy_edge_interval": Default(
            "after the first failure", _same_as("unhealthy_interval", "interval")
        ),
        "healthy_edge_interval": Default("after the first success", _same_as("interval")),
    },
    "envoy.config.core.v3.HealthCheck.HttpHealthCheck": {
        "method": Default(value="GET"),
        "expected_statuses": Default("is healthy", unset="200"),
    },
    "envoy.config.cluster.v3.OutlierDetection": {
        "consecutive_5xx": Default("failures in a row and a host is left out", 5, zero="never"),
        "enforcing_consecutive_5xx": Default("percent of the time it really is", 100),
        "consecutive_gateway_failure": Default("the same, for failed connections", 5, zero="never"),
        "enforcing_consecutive_gateway_failure": Default("percent of the time it really is", 0),
        "interval": Default("hosts are looked at this often", "10s"),
        "base_ejection_time": Default(
            "a host is left out for so long, times how often it was", "30s"
        ),
        "max_ejection_time": Default("and never longer", _longest_ejection),
        "max_ejection_time_jitter": Default(value="0s"),
        "max_ejection_percent": Default("percent of the hosts may be left out, at most", 10),
        "always_eject_one_host": Default("whether one may be in any case", False),
        "success_rate_minimum_hosts": Default(value=5),
        "success_rate_request_volume": Default(value=100),
        "success_rate_stdev_factor": Default(value=1900),
        "enforcing_success_rate": Default("percent", 100),
        "failure_percentage_threshold": Default("percent", 85),
        "failure_percentage_minimum_hosts": Default(value=5),
        "failure_percentage_request_volume": Default(value=50),
        "enforcing_failure_percentage": Default("percent", 0),
        "split_external_local_origin_errors": Default(
            "whether failures of the network are counted apart", False
        ),
        "successful_active_health_check_uneject_host": Default(
            "whether a passed health check brings a host back", True
        ),
    },
}

_LISTENER_FILTERS: dict[str, Defaults] = {
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector": {
        "enable_ja3_fingerprinting": Default("whether logs may have JA3", False),
        "enable_ja4_fingerprinting": Default("whether logs may have JA4", False),
        "max_client_hello_size": Default("a client whose hello is larger is closed", 16384),
        "close_connection_on_client_hello_parsing_errors": Default(
            "whether clients that do not speak TLS are closed"
        ),
    },
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol": {
        "allow_requests_without_proxy_protocol": Default("whether a client may have no header"),
        "rules": Default("extensions that become metadata", unset="none"),
        "pass_through_tlvs": Default("extensions kept for a header to the host", unset="none"),
        "disallowed_versions": Default("a client with such a header is closed", unset="none"),
    },
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc": {
        "mark": Default("the packet mark of connections to hosts", zero="none"),
    },
    "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit": {
        "stat_prefix": Default("names its statistics"),
        "token_bucket": Default("a client that finds no token is closed"),
    },
    "envoy.type.v3.TokenBucket": {
        "max_tokens": Default("so many may come at once", zero="none may"),
        "tokens_per_fill": Default("so many more in each interval, one by one", 1),
        "fill_interval": Default("the interval"),
    },
}

_TCP_STATS: dict[str, Defaults] = {
    "envoy.extensions.transport_sockets.tcp_stats.v3.Config": {
        "transport_socket": Default("what goes over the wire"),
        "update_period": Default(
            "an open connection is counted this often", unset="when it ends, and not before"
        ),
    },
}

_PROXY_HEADERS: dict[str, Defaults] = {
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport": {
        "config": Default(value=INSIDE),
        "transport_socket": Default("what goes over the wire after the header"),
    },
    "envoy.config.core.v3.ProxyProtocolConfig": {
        "version": Default("of the header that tells a host of the client", "V1"),
        "pass_through_tlvs": Default("extensions that came with the client", unset="none"),
        "added_tlvs": Default("further extensions", unset="none"),
    },
}


def _read_again(source: Any) -> str:
    """When the file of a `core.v3.PathConfigSource` is read."""
    if source.HasField("watched_directory"):
        return "is read again when anything is moved into watched_directory"
    return "is read again when another file is moved to its place"


_DNS: dict[str, Defaults] = {
    "envoy.extensions.clusters.dns.v3.DnsCluster": {
        "dns_refresh_rate": Default("names are looked up this often", "5s"),
        "respect_dns_ttl": Default("whether answers say how long they hold", False),
        "dns_lookup_family": Default("which addresses of a name", "AUTO"),
    },
    "envoy.extensions.bootstrap.internal_listener.v3.InternalListener": {
        "buffer_size_kb": Default("KiB that each direction to an internal listener may hold", 1024),
    },
    "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport": {
        "passthrough_metadata": Default("what an internal listener is told", unset="none"),
        "transport_socket": Default("what is on the connection to it"),
    },
    "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig": {
        "name": Default("filters and clusters with this name have one cache"),
        "dns_lookup_family": Default("which addresses of a name", "AUTO"),
        "dns_refresh_rate": Default("a name without an answer is looked up again after it", "60s"),
        "dns_min_refresh_rate": Default("an answer holds so long at least", "5s"),
        "host_ttl": Default("a name that nobody asks for stays so long", "300s"),
        "max_hosts": Default("clients for further names are closed", 1024),
        "dns_query_timeout": Default("clients wait so long for a name", "5s"),
        "dns_cache_circuit_breaker": Default("further clients are closed", unset="1024 may wait"),
    },
    "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig": {
        "query_timeout_seconds": Default("an unanswered question is asked anew after it", 5),
        "query_tries": Default("questions before a lookup has failed", 4),
    },
}

_DISCOVERY: dict[str, Defaults] = {
    "envoy.config.core.v3.PathConfigSource": {
        "path": Default(meaning_of=_read_again),
        "poll_interval": Default("and is read this often in any case"),
    },
    "envoy.config.core.v3.WatchedDirectory": {
        "watch_modify": Default("also when something is written there in place"),
    },
}


#: What is known of each message type, by its full name.
DEFAULTS: Mapping[str, Defaults] = {
    **_PROCESS,
    **_LISTENER,
    **_LISTENER_FILTERS,
    **_CLUSTER,
    **_PROXY_HEADERS,
    **_TCP_STATS,
    **_HEALTH,
    **_DNS,
    **_DISCOVERY,
    **FILTERS,
    **TLS,
}
