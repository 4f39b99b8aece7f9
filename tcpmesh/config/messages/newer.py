"""Fields and types of Envoy 1.40 that no released `xds-protos` has yet, for what a TCP proxy may
reach.

Without this table they would be called unknown, and a user would look for a typo that is not there.
A row that the installed package has is never asked for and does no harm.

A few of them work all the same.  Their values travel in the message as protobuf keeps every field
that its schema does not know: by number, so that those that come from a management server, which
has the newer schema, are read in the same way.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tcpmesh.config.text.source import camel_case

_CONFIG = "envoy.config."
_EXTENSIONS = "envoy.extensions."

#: The fields, by the full name of their message.
FIELDS: dict[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        _CONFIG + "bootstrap.v3.Bootstrap": "enable_worker_cpu_affinity",
        _CONFIG + "bootstrap.v3.MemoryAllocatorManager": "soft_memory_limit_bytes "
        "max_per_cpu_cache_size_bytes "
        "max_unfreed_memory_bytes",
        _CONFIG + "cluster.v3.CircuitBreakers.Thresholds.RetryBudget": "budget_interval",
        _CONFIG
        + "cluster.v3.Cluster": "stats_matcher per_connection_buffer_high_watermark_timeout "
        "queuing_policies",
        _CONFIG + "cluster.v3.Cluster.PreconnectPolicy": "preconnect_enabled_metadata",
        _CONFIG + "cluster.v3.OutlierDetection": "detect_degraded_hosts",
        _CONFIG + "core.v3.BindConfig": "validate_network_namespaces",
        _CONFIG + "core.v3.HealthCheck": "name",
        _CONFIG + "core.v3.HealthCheck.HttpHealthCheck": "use_alpn_protocol",
        _CONFIG + "core.v3.PathConfigSource": "poll_interval",
        _CONFIG + "core.v3.SocketOption": "ip_version",
        _CONFIG + "core.v3.WatchedDirectory": "watch_modify",
        _CONFIG + "endpoint.v3.Endpoint": "observability_name",
        _CONFIG + "listener.v3.AdditionalAddress": "tcp_keepalive",
        _CONFIG
        + "listener.v3.Listener": "stats_matcher per_connection_buffer_high_watermark_timeout "
        "tcp_keepalive",
        _CONFIG + "listener.v3.Listener.ConnectionBalanceConfig": "cpu_locality_balance",
        _CONFIG + "metrics.v3.DogStatsdSink": "scale_histogram_units_to_milliseconds",
        _CONFIG + "metrics.v3.StatsConfig": "allow_default_tag_overrides",
        _CONFIG + "metrics.v3.StatsdSink": "scale_histogram_units_to_milliseconds",
        _EXTENSIONS + "clusters.dns.v3.DnsCluster": "dns_min_refresh_rate",
        _EXTENSIONS + "common.ratelimit.v3.LocalRateLimitDescriptor": "shadow_mode",
        _EXTENSIONS + "common.ratelimit.v3.RateLimitDescriptor": "is_negative_hits",
        _EXTENSIONS
        + "common.ratelimit.v3.RateLimitDescriptor.RateLimitOverride": "unit_multiplier",
        _EXTENSIONS
        + "filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair": "value_string_encoding",
        _EXTENSIONS + "filters.network.ext_authz.v3.ExtAuthz": "shadow_mode",
        _EXTENSIONS + "filters.network.ext_proc.v3.MetadataOptions": "receiving_namespaces",
        _EXTENSIONS
        + "filters.network.ext_proc.v3.NetworkExternalProcessor": "connection_attributes",
        _EXTENSIONS + "filters.network.geoip.v3.Geoip": "client_ip",
        _EXTENSIONS + "filters.network.set_filter_state.v3.Config": "on_downstream_tls_handshake "
        "on_downstream_data",
        _EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy": "proxy_protocol_tlv_merge_policy "
        "check_drain_close",
        _EXTENSIONS
        + "filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions": "flush_access_log_on_start",
        _EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig": "formatters",
        _EXTENSIONS + "load_balancing_policies.override_host.v3.OverrideHost": "selected_host_key",
        _EXTENSIONS + "matching.common_inputs.network.v3.FilterStateInput": "field",
        _EXTENSIONS + "network.dns_resolver.cares.v3.CaresDnsResolverConfig": "qcache_max_ttl",
        _EXTENSIONS
        + "stat_sinks.graphite_statsd.v3.GraphiteStatsdSink": "scale_histogram_units_to_milliseconds",
        _EXTENSIONS
        + "transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport": "default_proxy_address",
        _EXTENSIONS
        + "transport_sockets.tls.v3.CertificateValidationContext": "suppress_client_ca_list",
        _EXTENSIONS + "transport_sockets.tls.v3.TlsCertificate": "tls_params",
    }.items()
}

#: The strings among them that tcpmesh reads: the numbers of the fields, by message and name.
STRINGS = {(_CONFIG + "core.v3.HealthCheck", "name"): 27}

_LENGTH_DELIMITED = 2

#: The messages, by full name.
TYPES = frozenset(
    _EXTENSIONS + name
    for name in (
        "clusters.composite.v3.ClusterConfig",
        "clusters.original_dst.v3.OriginalDstCluster",
        "filters.listener.set_filter_state.v3.Config",
        "filters.network.tcp_bandwidth_limit.v3.TcpBandwidthLimit",
        "health_checkers.udp.v3.UdpHealthCheck",
        "load_balancing_policies.load_aware_locality.v3.LoadAwareLocality",
        "network.socket_interface.sockmap.v3.Sockmap",
    )
)


def is_newer_field(message: str, field: str) -> bool:
    """Whether Envoy has a field, in either spelling, that the installed schema may lack."""
    return any(field in (name, camel_case(name)) for name in FIELDS.get(message, ()))


def set_newer_string(message: Message, field: str, value: str) -> None:
    """Put a string of `STRINGS` into a message."""
    number = STRINGS[message.DESCRIPTOR.full_name, field]
    data = value.encode("utf-8", "surrogatepass")
    message.MergeFromString(_varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data)


def newer_string(message: Message, field: str) -> str:
    """A string of `STRINGS`, which may be a field of the installed schema by now; empty where it is
    not set.
    """
    if field in message.DESCRIPTOR.fields_by_name:
        return str(getattr(message, field))
    number = STRINGS[message.DESCRIPTOR.full_name, field]
    unknown = UnknownFieldSet(message)
    fields = [unknown[index] for index in range(len(unknown))]
    found = [field.data for field in fields if field.field_number == number]
    return found[-1].decode("utf-8", "replace") if found and isinstance(found[-1], bytes) else ""


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes((*data, number))


def newer_text(what: str) -> str:
    """What to say of such a field or type."""
    return (
        f"{what}: Envoy 1.40 knows it, the installed xds-protos {installed()} does not, and "
        f"tcpmesh does not support it yet"
    )


def installed() -> str:
    """The version of the installed schema."""
    try:
        return version("xds-protos")
    except PackageNotFoundError:
        return "package"
