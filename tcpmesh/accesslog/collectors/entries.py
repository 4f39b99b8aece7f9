"""A connection as an access log service hears of it: `data.accesslog.v3.TCPAccessLogEntry`.

Each field is filled where Envoy fills it, and with what Envoy fills it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from envoy.data.accesslog.v3 import accesslog_pb2
from google.protobuf import wrappers_pb2

from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.accesslog.collectors.texts import valid
from tcpmesh.connection.state_objects import Long
from tcpmesh.values.address import Address
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.filter_state import StateObject
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.stream_info import StreamInfo, UpstreamInfo

MOST_DEPTH = 50
"""Values within values of metadata; what is further inside is null."""

_FLAGS = {
    ResponseFlag.LH: "failed_local_healthcheck",
    ResponseFlag.UH: "no_healthy_upstream",
    ResponseFlag.UT: "upstream_request_timeout",
    ResponseFlag.LR: "local_reset",
    ResponseFlag.UR: "upstream_remote_reset",
    ResponseFlag.UF: "upstream_connection_failure",
    ResponseFlag.UC: "upstream_connection_termination",
    ResponseFlag.UO: "upstream_overflow",
    ResponseFlag.NR: "no_route_found",
    ResponseFlag.DI: "delay_injected",
    ResponseFlag.FI: "fault_injected",
    ResponseFlag.RL: "rate_limited",
    ResponseFlag.RLSE: "rate_limit_service_error",
    ResponseFlag.DC: "downstream_connection_termination",
    ResponseFlag.URX: "upstream_retry_limit_exceeded",
    ResponseFlag.SI: "stream_idle_timeout",
    ResponseFlag.IH: "invalid_envoy_request_headers",
    ResponseFlag.DPE: "downstream_protocol_error",
    ResponseFlag.UMSDR: "upstream_max_stream_duration_reached",
    ResponseFlag.RFCF: "response_from_cache_filter",
    ResponseFlag.NFCF: "no_filter_config_found",
    ResponseFlag.DT: "duration_timeout",
    ResponseFlag.UPE: "upstream_protocol_error",
    ResponseFlag.NC: "no_cluster_found",
    ResponseFlag.OM: "overload_manager",
    ResponseFlag.DF: "dns_resolution_failure",
    ResponseFlag.DR: "downstream_remote_reset",
}
"""The flags that the message has a field for; UAEX has one of another kind, and two have none."""

_LOG_TYPES = {each: accesslog_pb2.AccessLogType.Value(each.value) for each in LogType}


class Entries:
    """Makes the entries of one log.

    :param states: the names of the filter state that goes with each
        (`filter_state_objects_to_log`).
    """

    def __init__(self, states: Iterable[str], tags: CustomTags) -> None:
        self._states: Sequence[str] = tuple(states)
        self._tags = tags

    def of(self, info: StreamInfo, at: Moment) -> Any:
        """The `TCPAccessLogEntry` of a connection at a moment."""
        entry = accesslog_pb2.TCPAccessLogEntry()
        properties = entry.connection_properties
        properties.received_bytes, _, _, properties.sent_bytes = info.bytes
        properties.SetInParent()
        self._fill(entry.common_properties, info, at)
        return entry

    def of_http(self, info: StreamInfo, at: Moment) -> Any:
        """The `HTTPAccessLogEntry` of a connection, as if it were a request."""
        entry = accesslog_pb2.HTTPAccessLogEntry()
        entry.request.request_body_bytes, _, _, entry.response.response_body_bytes = info.bytes
        entry.request.SetInParent()
        entry.response.SetInParent()
        self._fill(entry.common_properties, info, at)
        return entry

    def _fill(self, common: Any, info: StreamInfo, at: Moment) -> None:
        read, for_upstream, from_upstream, sent = info.bytes
        common.downstream_wire_bytes_received = read
        common.downstream_wire_bytes_sent = sent
        common.upstream_wire_bytes_received = from_upstream
        common.upstream_wire_bytes_sent = for_upstream
        common.stream_id = info.stream_id
        common.access_log_type = _LOG_TYPES[at.log_type]
        common.connection_termination_details = valid(info.termination_details)
        _fill_addresses(common, info)
        _fill_times(common, info, at)
        _fill_upstream(common, info.upstream)
        _fill_hello(common, info)
        if info.flags:
            _fill_flags(common.response_flags, info.flags)
        for namespace, values in info.metadata.items():
            _fill_struct(common.metadata.filter_metadata[valid(namespace)], values, MOST_DEPTH)
        self._fill_states(common, info)
        for name, value in self._tags.of(info, at):
            common.custom_tags[name] = value

    def _fill_states(self, common: Any, info: StreamInfo) -> None:
        for key in self._states:
            found = info.filter_state.get(key)
            message = _wrapped(found) if found is not None else None
            if message is not None:
                common.filter_state_objects[key].Pack(message)


def _fill_addresses(common: Any, info: StreamInfo) -> None:
    fill_address(common.downstream_remote_address, info.remote_address)
    fill_address(common.downstream_direct_remote_address, info.direct_remote_address)
    fill_address(common.downstream_local_address, info.local_address)


def fill_address(message: Any, address: Address) -> None:
    """A `core.v3.Address`."""
    if address.is_internal:
        name, endpoint = map(valid, address.listener_and_endpoint)
        message.envoy_internal_address.server_listener_name = name
        message.envoy_internal_address.endpoint_id = endpoint
    elif address.port or not address.host.startswith(("/", "@", ".")):
        message.socket_address.address = address.host
        message.socket_address.port_value = address.port
    else:
        message.pipe.path = valid(address.host)


def _fill_times(common: Any, info: StreamInfo, at: Moment) -> None:
    """When it began, and how long it took; what has not ended says that."""
    microseconds = round(at.wall_of(info.started) * 1e6)
    start = common.start_time
    start.seconds, rest = divmod(microseconds, 1_000_000)
    start.nanos = rest * 1000
    if info.ended is None:
        common.intermediate_log_entry = True
        return
    duration = common.duration
    whole, nanos = divmod(round(max(0.0, info.ended - info.started) * 1e9), 1_000_000_000)
    duration.seconds, duration.nanos = whole, nanos


def _fill_upstream(common: Any, upstream: UpstreamInfo) -> None:
    common.upstream_request_attempt_count = len(upstream.attempted)
    host = upstream.host
    if host is not None:
        fill_address(common.upstream_remote_address, host.address)
        common.upstream_cluster = upstream.cluster.name
    local = upstream.local_address
    if local is not None:
        fill_address(common.upstream_local_address, local)
    if upstream.failure_reason:
        # A text of a log has underscores for its blanks.
        common.upstream_transport_failure_reason = valid(upstream.failure_reason).replace("_", " ")


def _fill_hello(common: Any, info: StreamInfo) -> None:
    hello = info.hello
    if hello.server_name:
        common.tls_properties.tls_sni_hostname = valid(hello.server_name)
    if hello.ja3:
        common.tls_properties.ja3_fingerprint = hello.ja3
    if hello.failure:
        common.downstream_transport_failure_reason = hello.failure


def _fill_flags(message: Any, flags: ResponseFlag) -> None:
    for flag, name in _FLAGS.items():
        if flag in flags:
            setattr(message, name, True)
    if ResponseFlag.UAEX in flags:
        message.unauthorized_details.reason = (
            accesslog_pb2.ResponseFlags.Unauthorized.EXTERNAL_SERVICE
        )


def _wrapped(found: StateObject) -> Any:
    """An object of filter state as a message; `None` where its kind has no such form."""
    value = found.typed
    if isinstance(found, Long):
        return wrappers_pb2.UInt64Value(value=found.value)
    if isinstance(value, bool):
        return wrappers_pb2.BoolValue(value=value)
    if isinstance(value, int):
        return wrappers_pb2.UInt32Value(value=value) if 0 <= value < 1 << 32 else None
    if isinstance(value, str):
        return wrappers_pb2.StringValue(value=valid(value))
    return None


def _fill_struct(message: Any, values: Mapping[str, Any], depth: int) -> None:
    """A `google.protobuf.Struct`."""
    message.SetInParent()
    for key, value in values.items():
        _fill_value(message.fields[valid(key)], value, depth)


def _fill_value(message: Any, value: Any, depth: int) -> None:
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = valid(value)
    elif isinstance(value, Mapping) and depth:
        _fill_struct(message.struct_value, value, depth - 1)
    elif isinstance(value, list | tuple) and depth:
        message.list_value.SetInParent()
        for each in value:
            _fill_value(message.list_value.values.add(), each, depth - 1)
    else:
        message.null_value = 0
