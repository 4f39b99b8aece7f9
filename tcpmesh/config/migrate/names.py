"""Well-known names of extensions: what they are called now, and which type they stand for.

In v2 the name of an extension chose it, so a file needs no `@type`.  Where there is none it is
found by the rule that `envoy.filters.network.tcp_proxy` is configured by a message of the package
`envoy.extensions.filters.network.tcp_proxy.v3`; which message of that, and which extensions do not
keep the rule, stands here.
"""

from __future__ import annotations

from tcpmesh.config.messages.types import main_type
from tcpmesh.config.migrate.versions import current

_NETWORK = "envoy.config.listener.v3.Filter"
_LISTENER = "envoy.config.listener.v3.ListenerFilter"
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
_LOG = "envoy.config.accesslog.v3.AccessLog"
_SINK = "envoy.config.metrics.v3.StatsSink"
_TRACER = "envoy.config.trace.v3.Tracing.Http"

#: Where the extensions of each kind are, by the message that names one: what their names begin
#: with, and the packages of their types.
PACKAGES: dict[str, tuple[str, str]] = {
    _NETWORK: ("envoy.filters.network.", "envoy.extensions.filters.network."),
    _LISTENER: ("envoy.filters.listener.", "envoy.extensions.filters.listener."),
    _HTTP: ("envoy.filters.http.", "envoy.extensions.filters.http."),
    _LOG: ("envoy.access_loggers.", "envoy.extensions.access_loggers."),
    _SINK: ("envoy.stat_sinks.", "envoy.extensions.stat_sinks."),
    _TRACER: ("envoy.tracers.", "envoy.extensions.tracers."),
    "envoy.config.core.v3.TransportSocket": (
        "envoy.transport_sockets.",
        "envoy.extensions.transport_sockets.",
    ),
    "envoy.config.core.v3.HealthCheck.CustomHealthCheck": (
        "envoy.health_checkers.",
        "envoy.extensions.health_checkers.",
    ),
    "envoy.config.overload.v3.ResourceMonitor": (
        "envoy.resource_monitors.",
        "envoy.extensions.resource_monitors.",
    ),
    "envoy.config.route.v3.RetryPolicy.RetryHostPredicate": (
        "envoy.retry_host_predicates.",
        "envoy.extensions.retry.host.",
    ),
    "envoy.config.route.v3.RetryPolicy.RetryPriority": (
        "envoy.retry_priorities.",
        "envoy.extensions.retry.priority.",
    ),
    "envoy.config.cluster.v3.Cluster.CustomClusterType": (
        "envoy.clusters.",
        "envoy.extensions.clusters.",
    ),
    "envoy.extensions.filters.network.thrift_proxy.v3.ThriftFilter": (
        "envoy.filters.thrift.",
        "envoy.extensions.filters.network.thrift_proxy.",
    ),
}

#: Names of former times whose last part is another one today.
_RENAMED = {
    (_HTTP, "envoy.http_dynamo_filter"): "envoy.filters.http.dynamo",
    (_HTTP, "envoy.rate_limit"): "envoy.filters.http.ratelimit",
    (_LOG, "envoy.file_access_log"): "envoy.access_loggers.file",
    (_LOG, "envoy.http_grpc_access_log"): "envoy.access_loggers.http_grpc",
    (_LOG, "envoy.tcp_grpc_access_log"): "envoy.access_loggers.tcp_grpc",
    (_TRACER, "envoy.dynamic.ot"): "envoy.tracers.dynamic_ot",
}

#: Types that no rule finds, by what the name is today.
_TYPES = {
    "envoy.access_loggers.file": "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "envoy.access_loggers.http_grpc": (
        "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
    ),
    "envoy.access_loggers.tcp_grpc": (
        "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig"
    ),
    "envoy.clusters.aggregate": "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
    "envoy.clusters.dynamic_forward_proxy": (
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
    ),
    "envoy.clusters.redis": "envoy.extensions.clusters.redis.v3.RedisClusterConfig",
    "envoy.filters.http.csrf": "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    "envoy.filters.http.dynamic_forward_proxy": (
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig"
    ),
    "envoy.filters.http.fault": "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.filters.http.jwt_authn": (
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    ),
    "envoy.filters.http.grpc_http1_reverse_bridge": (
        "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig"
    ),
    "envoy.filters.http.grpc_stats": "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.filters.thrift.router": (
        "envoy.extensions.filters.network.thrift_proxy.router.v3.Router"
    ),
    "envoy.filters.thrift.rate_limit": (
        "envoy.extensions.filters.network.thrift_proxy.filters.ratelimit.v3.RateLimit"
    ),
    "envoy.retry_host_predicates.omit_canary_hosts": (
        "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"
    ),
    "envoy.retry_host_predicates.previous_hosts": (
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    ),
    "envoy.retry_priorities.previous_priorities": (
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    ),
    "envoy.stat_sinks.dog_statsd": "envoy.config.metrics.v3.DogStatsdSink",
    "envoy.stat_sinks.hystrix": "envoy.config.metrics.v3.HystrixSink",
    "envoy.stat_sinks.metrics_service": "envoy.config.metrics.v3.MetricsServiceConfig",
    "envoy.stat_sinks.statsd": "envoy.config.metrics.v3.StatsdSink",
    "envoy.tracers.datadog": "envoy.config.trace.v3.DatadogConfig",
    "envoy.tracers.dynamic_ot": "envoy.config.trace.v3.DynamicOtConfig",
    "envoy.tracers.lightstep": "envoy.config.trace.v3.LightstepConfig",
    "envoy.tracers.opencensus": "envoy.config.trace.v3.OpenCensusConfig",
    "envoy.tracers.xray": "envoy.config.trace.v3.XRayConfig",
    "envoy.tracers.zipkin": "envoy.config.trace.v3.ZipkinConfig",
}

#: What an HTTP filter is configured with at a route, where that is another type than at the
#: connection manager and not called after it.
_PER_ROUTE = {
    "envoy.extensions.filters.http.cors.v3.Cors": (
        "envoy.extensions.filters.http.cors.v3.CorsPolicy"
    ),
}

#: The names of HTTP filters that were called otherwise before, for the keys that stand for them.
HTTP_FILTER = _HTTP


def modern_name(kind: str, name: str) -> str:
    """What an extension of a kind is called today, by the name that it has in a file; the same
    where that is no name of former times.

    :param kind: the full name of the v3 message that names the extension.
    """
    if (kind, name) in _RENAMED:
        return _RENAMED[kind, name]
    prefix, _ = PACKAGES.get(kind, ("", ""))
    if not prefix or not name.startswith("envoy.") or name.startswith(prefix):
        return name
    middle, _, last = name.removeprefix("envoy.").rpartition(".")
    if middle not in ("", "listener"):
        return name
    modern = prefix + last
    return modern if modern in _TYPES or _by_rule(kind, last) or _is_former(kind, name) else name


def _is_former(kind: str, name: str) -> bool:
    """Whether a name is that of an extension which Envoy has dropped since."""
    dropped = {"envoy.gzip", "envoy.squash", "envoy.client_ssl_auth"}
    return name in dropped and kind in (_HTTP, _NETWORK)


def type_for(kind: str, name: str) -> str:
    """The full name of the type that configures the extension of a well-known name, old or new;
    empty where none is known.
    """
    modern = modern_name(kind, name)
    if modern in _TYPES:
        return _TYPES[modern]
    prefix, _ = PACKAGES.get(kind, ("", ""))
    return _by_rule(kind, modern.rpartition(".")[2]) if modern.startswith(prefix) else ""


def _by_rule(kind: str, last: str) -> str:
    package = PACKAGES[kind][1]
    for version in ("v3", "v3alpha"):
        found = main_type(f"{package}{last}.{version}", last)
        if found:
            return found
    return ""


def type_per_route(name: str) -> str:
    """The type with which a route configures the HTTP filter of a well-known name."""
    full_name = type_for(_HTTP, name)
    if full_name in _PER_ROUTE:
        return _PER_ROUTE[full_name]
    package = full_name.rpartition(".")[0]
    for candidate in (f"{full_name}PerRoute", f"{package}.PerRouteConfig"):
        if full_name and current(candidate) is not None:
            return candidate
    return full_name


def type_of_protocol_options(name: str) -> str:
    """The type of the options that a cluster has for the filter of a well-known name."""
    package = type_for(_NETWORK, name).rpartition(".")[0]
    last = name.rpartition(".")[2].removesuffix("_proxy").capitalize()
    candidate = f"{package}.{last}ProtocolOptions"
    return candidate if package and current(candidate) is not None else ""
