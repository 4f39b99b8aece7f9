"""Operators for the way of a client to its host."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tcpmesh.accesslog.fields.value import Build, Value
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import NO_UPSTREAM, StreamInfo, UpstreamInfo


def host_name(host: HostSpec) -> str:
    """The name that the configuration gives a host, or its address."""
    return host.hostname or str(host.address)


def host_name_without_port(host: HostSpec) -> str:
    """The same, but for a port at its end."""
    if not host.hostname:
        return host.address.host
    name, colon, port = host.hostname.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host.hostname


def _of(ask: Callable[[UpstreamInfo], Value]) -> Build:
    return lambda operator: lambda info, at: ask(info.upstream)


def _of_host(ask: Callable[[HostSpec], Value]) -> Build:
    def value(upstream: UpstreamInfo) -> Value:
        host = upstream.host
        return None if host is None else ask(host)

    return _of(value)


def _joined(ask: Callable[[UpstreamInfo], Iterable[str]]) -> Build:
    return _of(lambda upstream: ",".join(ask(upstream)) or None)


def _host(info: StreamInfo, at: Moment) -> Value:
    """UPSTREAM_HOST, which nearly every record has."""
    upstream = info.upstream
    host = upstream.attempted[-1] if upstream.connect_ended is not None else upstream.failed_host
    return None if host is None else str(host.address)


def _cluster(info: StreamInfo, at: Moment) -> Value:
    """UPSTREAM_CLUSTER, which many have."""
    return info.upstream.cluster.observability_name or None


def _close_type(info: StreamInfo, at: Moment) -> Value:
    """Of clients whom no filter was to see there is no upstream side, in Envoy's eyes."""
    has_none = info.upstream is NO_UPSTREAM and not info.listener.has_filters
    return None if has_none else info.upstream.close_type.value


OPERATORS: dict[str, Build] = {
    "UPSTREAM_HOST": lambda operator: _host,
    "UPSTREAM_HOST_NAME": _of_host(host_name),
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": _of_host(host_name_without_port),
    "UPSTREAM_HOSTS_ATTEMPTED": _joined(
        lambda upstream: (str(each.address) for each in upstream.attempted)
    ),
    "UPSTREAM_HOST_NAMES_ATTEMPTED": _joined(
        lambda upstream: (host_name(each) for each in upstream.attempted)
    ),
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": _joined(
        lambda upstream: (host_name_without_port(each) for each in upstream.attempted)
    ),
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED": lambda operator: (
        lambda info, at: str(info.upstream_id) if info.upstream_id else None
    ),
    "UPSTREAM_CONNECTION_ID": lambda operator: lambda info, at: info.upstream_id,
    "UPSTREAM_CLUSTER": lambda operator: _cluster,
    "UPSTREAM_CLUSTER_RAW": _of(lambda upstream: upstream.cluster.name or None),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": _of(lambda upstream: len(upstream.attempted)),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": _of(lambda upstream: upstream.failure_reason or None),
    "UPSTREAM_LOCAL_CLOSE_REASON": _of(lambda upstream: upstream.local_close_reason or None),
    "UPSTREAM_DETECTED_CLOSE_TYPE": lambda operator: _close_type,
}
