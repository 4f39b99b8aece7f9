"""What tcpmesh does with each field that Envoy knows: the one place that says so.

Envoy's schema is far larger than what tcpmesh acts on, and a field that is read and then forgotten is worse than an error: a limit
that limits nothing, an access list that lets everybody in.  So every message type in reach of the fields below has a row for each
field that may be set.  What has no row is refused, with its line, in the words "tcpmesh does not support it yet".

To support a field, give it a row here in the change that reads it; `docs/supported.md` is generated from these rows.

- `YES`: the field works as in Envoy.
- `only(...)`: these values work, as in Envoy; others are refused.
- `default_only(reason)`: may be written, but says nothing beyond the default: the rows of its own message type see to that.
- `no_effect(reason)`: accepted, and nothing happens, because nothing would for TCP in Envoy, or nothing that a connection notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tcpmesh.config.problems import Trail
from tcpmesh.config.report import Report
from tcpmesh.config.types import full_name_of, is_foreign, type_of_url, unpack


@dataclass(frozen=True)
class Support:
    """A row: how a field is treated; `values` are the only ones supported, where there are any."""

    level: str
    reason: str = ""
    values: tuple[str | int | bool, ...] = ()


#: The field works as in Envoy.
YES = Support("supported")


def only(*values: str | int | bool) -> Support:
    """These values work as in Envoy; the names of enum values, or plain values (also of a wrapper such as BoolValue)."""
    return Support("supported", values=values)


def default_only(reason: str) -> Support:
    """The field may be set to what it is when it is not set, and nothing reads it."""
    return Support("default only", reason)


def no_effect(reason: str) -> Support:
    """The field is accepted and nothing reads it."""
    return Support("no effect", reason)


Rows = Mapping[str, Support]

_HTTP_ONLY = no_effect("counts HTTP requests; Envoy does not use it for TCP")
_LABEL = no_effect("a label: only filters, matchers and load balancers that are not supported yet read it")

_BOOTSTRAP: dict[str, Rows] = {
    "envoy.config.bootstrap.v3.Bootstrap": {
        "node": YES,
        "static_resources": YES,
        "admin": YES,
    },
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": {
        "listeners": YES,
        "clusters": YES,
    },
    "envoy.config.bootstrap.v3.Admin": {
        "address": YES,
        "access_log_path": only("/dev/null"),
        "profile_path": no_effect("a file that only a CPU profiler would write, and there is none"),
    },
    "envoy.config.core.v3.Node": {
        "id": YES,
        "cluster": YES,
        "metadata": YES,
        "locality": YES,
    },
}

_CORE: dict[str, Rows] = {
    "envoy.config.core.v3.Locality": {"region": YES, "zone": YES, "sub_zone": YES},
    "envoy.config.core.v3.Address": {"socket_address": YES, "pipe": YES},
    "envoy.config.core.v3.SocketAddress": {
        "protocol": only("TCP"),
        "address": YES,
        "port_value": YES,
    },
    "envoy.config.core.v3.Pipe": {"path": YES, "mode": YES},
    "envoy.config.core.v3.BackoffStrategy": {"base_interval": YES, "max_interval": YES},
    "envoy.config.core.v3.TransportSocket": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.type.v3.Percent": {"value": YES},
}

_LISTENER: dict[str, Rows] = {
    "envoy.config.listener.v3.Listener": {
        "name": YES,
        "address": YES,
        "stat_prefix": YES,
        "filter_chains": YES,
        "default_filter_chain": YES,
        "per_connection_buffer_limit_bytes": YES,
        "metadata": _LABEL,
        "traffic_direction": no_effect("read only by the admin command that drains inbound listeners, which is not supported yet"),
        "enable_reuse_port": YES,
        "tcp_backlog_size": YES,
        "max_connections_to_accept_per_socket_event": YES,
        "bind_to_port": only(True),
        "use_original_dst": only(False),
        "transparent": only(False),
        "freebind": only(False),
    },
    "envoy.config.listener.v3.FilterChain": {
        "name": YES,
        "filter_chain_match": default_only("an empty one, which matches all connections"),
        "filters": YES,
        "metadata": _LABEL,
        "transport_socket": default_only("raw_buffer, plain TCP"),
    },
    "envoy.config.listener.v3.FilterChainMatch": {},
    "envoy.config.listener.v3.Filter": {"name": YES, "typed_config": YES},
}

_CLUSTER: dict[str, Rows] = {
    "envoy.config.cluster.v3.Cluster": {
        "name": YES,
        "alt_stat_name": YES,
        "type": only("STATIC"),
        "connect_timeout": YES,
        "per_connection_buffer_limit_bytes": YES,
        "lb_policy": only("ROUND_ROBIN"),
        "load_assignment": YES,
        "circuit_breakers": YES,
        "metadata": _LABEL,
        "transport_socket": default_only("raw_buffer, plain TCP"),
    },
    "envoy.config.endpoint.v3.ClusterLoadAssignment": {
        "cluster_name": YES,
        "endpoints": YES,
    },
    "envoy.config.endpoint.v3.LocalityLbEndpoints": {
        "locality": YES,
        "lb_endpoints": YES,
    },
    "envoy.config.endpoint.v3.LbEndpoint": {
        "endpoint": YES,
        "metadata": _LABEL,
    },
    "envoy.config.endpoint.v3.Endpoint": {
        "address": YES,
        "hostname": YES,
    },
    "envoy.config.cluster.v3.CircuitBreakers": {"thresholds": YES},
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": {
        "priority": only("DEFAULT"),
        "max_connections": YES,
        "max_requests": _HTTP_ONLY,
        "max_retries": _HTTP_ONLY,
    },
}

#: What an `@type` may name: each extension with its fields.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": {
        "stat_prefix": YES,
        "cluster": YES,
        "weighted_clusters": YES,
        "idle_timeout": YES,
        "max_connect_attempts": YES,
        "backoff_options": YES,
        "max_downstream_connection_duration": YES,
        "max_downstream_connection_duration_jitter_percentage": YES,
    },
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": {},
}

_EXTENSION_PARTS: dict[str, Rows] = {
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster": {"clusters": YES},
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": {"name": YES, "weight": YES},
}

#: Every message type that may be set, with its fields.
TABLE: Mapping[str, Rows] = {**_BOOTSTRAP, **_CORE, **_LISTENER, **_CLUSTER, **EXTENSIONS, **_EXTENSION_PARTS}


def check(message: Message, report: Report, allow_unsupported: bool = False) -> None:
    """Report each field that is set in a message and not supported: errors, or warnings for those who `allow_unsupported`."""
    _check_message(message, report.warning if allow_unsupported else report.error, None)


_Say = Callable[[Trail, str], None]


def _check_message(message: Message, say: _Say, trail: Trail) -> None:
    rows = TABLE[message.DESCRIPTOR.full_name]
    for field, value in message.ListFields():
        row = rows.get(field.name)
        if row is None:
            say((trail, field.name), "Envoy knows this field, tcpmesh does not support it yet")
        elif row.values:
            _check_value(field, value, row.values, say, (trail, field.name))
        elif row.level != "no effect" and field.message_type is not None:
            _check_inner(field, value, say, (trail, field.name))


def _check_value(field: FieldDescriptor, value: Any, allowed: tuple[str | int | bool, ...], say: _Say, trail: Trail) -> None:
    plain = value.value if field.message_type is not None else value
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(plain)
        if known is None:
            return
        plain = known.name
    if plain not in allowed:
        works = ", ".join(as_written(v) for v in allowed)
        say(trail, f"Envoy knows the value {as_written(plain)}, tcpmesh does not support it yet, only {works}")


def as_written(value: object) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_inner(field: FieldDescriptor, value: Any, say: _Say, trail: Trail) -> None:
    full_name = full_name_of(field)
    if full_name == "google.protobuf.Any":
        _check_extension(value, say, trail)
    elif full_name.startswith("google.protobuf."):
        return
    elif field.is_repeated:
        for index, item in enumerate(value):
            _check_message(item, say, (trail, index))
    else:
        _check_message(value, say, trail)


def _check_extension(value: Any, say: _Say, trail: Trail) -> None:
    full_name = type_of_url(value.type_url)
    content = unpack(value)
    if content is None:
        return
    if full_name in EXTENSIONS:
        _check_message(content, say, trail)
    elif not is_foreign(full_name):
        say((trail, "@type"), f"{full_name}: Envoy knows this extension, tcpmesh does not support it yet")
