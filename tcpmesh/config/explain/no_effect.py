"""What a configuration says and nothing acts on, because of what it says elsewhere in the same
message: times of DNS in a cluster that resolves no names, the settings of a policy that is not
chosen.

Fields on which nothing ever acts are rows of `support`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tcpmesh.config.fields.values import binds_to_port

Reason: TypeAlias = "Callable[[Any], str]"
"""Why a field of this message has no effect; empty where it has one."""


def reason(message: Any, name: str) -> str:
    """Why a field of a message has no effect there; empty where it has one."""
    found = REASONS.get(message.DESCRIPTOR.full_name, {}).get(name)
    return found(message) if found is not None else ""


def _resolves(cluster: Any) -> bool:
    kind = cluster.WhichOneof("cluster_discovery_type")
    return kind == "type" and cluster.type in (cluster.STRICT_DNS, cluster.LOGICAL_DNS)


def _without_names(cluster: Any) -> str:
    if _resolves(cluster):
        return ""
    if cluster.HasField("cluster_type"):
        return "the cluster_type has settings of its own"
    return "only clusters of type STRICT_DNS and LOGICAL_DNS resolve names"


def _without_original_dst(cluster: Any) -> str:
    is_one = (
        cluster.cluster_type.name == "envoy.cluster.original_dst"
        if cluster.HasField("cluster_type")
        else cluster.type == cluster.ORIGINAL_DST
    )
    return "" if is_one else "only clusters of type ORIGINAL_DST have it"


def _of_policy(policy: str) -> Reason:
    """The settings of one `lb_policy`."""

    def unchosen(cluster: Any) -> str:
        if cluster.HasField("load_balancing_policy"):
            return "load_balancing_policy has settings of its own"
        chosen = cluster.LbPolicy.Name(cluster.lb_policy)
        return "" if chosen == policy else f"it is for {policy}, and lb_policy is {chosen}"

    return unchosen


def _other_policy(cluster: Any) -> str:
    says_so = cluster.lb_policy == cluster.LOAD_BALANCING_POLICY_CONFIG
    if says_so or not cluster.HasField("load_balancing_policy"):
        return ""
    return "load_balancing_policy says how a host is chosen"


def _without_filters(listener: Any) -> str:
    if listener.listener_filters or listener.use_original_dst.value:
        return ""
    return "there are no listener filters"


def _without_socket(listener: Any) -> str:
    return "" if binds_to_port(listener) else "bind_to_port is false: it has no socket"


def _one_attempt(proxy: Any) -> str:
    if proxy.max_connect_attempts.value > 1:
        return ""
    return "there is one attempt: see max_connect_attempts"


def _only_counted(field: str, default: int) -> Reason:
    """The length of a row of failures, for which hosts may be left out in none of all cases."""

    def counted(outliers: Any) -> str:
        share = getattr(outliers, field)
        enforced = share.value if outliers.HasField(field) else default
        return "" if enforced else f"it is only counted: {field} is 0"

    return counted


def _apart(outliers: Any) -> str:
    if outliers.split_external_local_origin_errors:
        return ""
    return "failures of the network are not counted apart: see split_external_local_origin_errors"


def _never_external(outliers: Any) -> str:
    if not outliers.split_external_local_origin_errors:
        return ""
    return "all failures of TCP are of local origin: split_external_local_origin_errors is true"


def _first(*reasons: Reason) -> Reason:
    """The first reason that there is."""
    return lambda message: next(filter(None, (each(message) for each in reasons)), "")


#: By message type and field.
REASONS: Mapping[str, Mapping[str, Reason]] = {
    "envoy.config.cluster.v3.Cluster": {
        **dict.fromkeys(
            (
                "dns_refresh_rate",
                "dns_failure_refresh_rate",
                "respect_dns_ttl",
                "dns_jitter",
                "dns_lookup_family",
            ),
            _without_names,
        ),
        "cleanup_interval": _without_original_dst,
        "original_dst_lb_config": _without_original_dst,
        "ring_hash_lb_config": _of_policy("RING_HASH"),
        "maglev_lb_config": _of_policy("MAGLEV"),
        "least_request_lb_config": _of_policy("LEAST_REQUEST"),
        "round_robin_lb_config": _of_policy("ROUND_ROBIN"),
        "lb_policy": _other_policy,
    },
    "envoy.config.cluster.v3.OutlierDetection": {
        "consecutive_5xx": _first(_never_external, _only_counted("enforcing_consecutive_5xx", 100)),
        "consecutive_gateway_failure": _first(
            _never_external, _only_counted("enforcing_consecutive_gateway_failure", 0)
        ),
        "enforcing_consecutive_5xx": _never_external,
        "enforcing_consecutive_gateway_failure": _never_external,
        "consecutive_local_origin_failure": _first(
            _apart, _only_counted("enforcing_consecutive_local_origin_failure", 100)
        ),
        "enforcing_consecutive_local_origin_failure": _apart,
        "enforcing_local_origin_success_rate": _apart,
        "enforcing_failure_percentage_local_origin": _apart,
    },
    "envoy.config.listener.v3.Listener": {
        "listener_filters_timeout": _without_filters,
        "continue_on_listener_filters_timeout": _without_filters,
        **dict.fromkeys(
            (
                "tcp_backlog_size",
                "enable_reuse_port",
                "max_connections_to_accept_per_socket_event",
                "socket_options",
            ),
            _without_socket,
        ),
    },
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": {"backoff_options": _one_attempt},
}
