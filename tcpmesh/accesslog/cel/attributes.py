"""What expressions of CEL may ask of a connection: Envoy's attributes, those that TCP has.

An attribute that is not there is left out of what the expression is given, and an expression that
needs it has no value then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from envoy.config.core.v3 import base_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tcpmesh.accesslog.fields.addresses import port_of
from tcpmesh.accesslog.fields.connection import server_name
from tcpmesh.accesslog.fields.state import shared_entries
from tcpmesh.accesslog.fields.times import pool_ready_seconds
from tcpmesh.accesslog.fields.value import encoded
from tcpmesh.connection.state_objects import Endpoint
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.filter_state import StateObject
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_Attribute = Callable[[StreamInfo, Moment], Any]

#: Bits of `response.flags`, from the lowest.
_BITS = """
    LH UH UT LR UR UF UC UO NR DI FI RL UAEX RLSE DC URX SI IH DPE UMSDR RFCF NFCF DT UPE NC OM DF
    DO DR UDO
    """
_FLAGS = {ResponseFlag[name]: 1 << bit for bit, name in enumerate(_BITS.split())}


def _flags(info: StreamInfo, at: Moment) -> int:
    return sum(bit for flag, bit in _FLAGS.items() if flag in info.flags)


def _text(text: str) -> str:
    """A text as the library takes it: what is no UTF-8 is replaced."""
    return text if text.isascii() else encoded(text).decode("utf-8", "replace")


def _started(info: StreamInfo, at: Moment) -> Timestamp:
    found = Timestamp()
    found.FromMicroseconds(round(at.wall_of(info.started) * 1e6))
    return found


def _long(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    found = Duration()
    found.FromMicroseconds(round(seconds * 1e6))
    return found


def _duration(info: StreamInfo, at: Moment) -> Duration | None:
    return None if info.ended is None else _long(info.ended - info.started)


def _pool_ready(info: StreamInfo, at: Moment) -> Duration | None:
    return _long(pool_ready_seconds(info))


def _of_host(ask: Callable[[HostSpec], Any]) -> _Attribute:
    def value(info: StreamInfo, at: Moment) -> Any:
        host = info.upstream.host
        return None if host is None else ask(host)

    return value


def _locality(host: HostSpec) -> base_pb2.Locality:
    place = host.locality
    return base_pb2.Locality(region=place.region, zone=place.zone, sub_zone=place.sub_zone)


def _upstream_local(info: StreamInfo, at: Moment) -> str | None:
    address = info.upstream.local_address
    return None if address is None else str(address)


def _of(ask: Callable[[StreamInfo], Any]) -> _Attribute:
    return lambda info, at: ask(info)


_ATTRIBUTES: dict[str, dict[str, _Attribute]] = {
    "connection": {
        "id": _of(lambda info: info.id),
        "mtls": _of(lambda info: False),
        "requested_server_name": _of(lambda info: server_name(info.hello.server_name) or ""),
        "termination_details": _of(lambda info: _text(info.termination_details) or None),
    },
    "source": {
        "address": _of(lambda info: str(info.remote_address)),
        "port": _of(lambda info: port_of(info.remote_address)),
    },
    "destination": {
        "address": _of(lambda info: str(info.local_address)),
        "port": _of(lambda info: port_of(info.local_address)),
    },
    "upstream": {
        "address": _of_host(lambda host: str(host.address)),
        "port": _of_host(lambda host: port_of(host.address)),
        "local_address": _upstream_local,
        "locality": _of_host(_locality),
        "transport_failure_reason": _of(lambda info: info.upstream.failure_reason),
        "cx_pool_ready_duration": _pool_ready,
        "request_attempt_count": _of(lambda info: len(info.upstream.attempted)),
    },
    "request": {
        "headers": _of(lambda info: {}),
        "headers_bytes": _of(lambda info: 0),
        "time": _started,
        "size": _of(lambda info: info.bytes[0]),
        "total_size": _of(lambda info: info.bytes[0]),
        "duration": _duration,
    },
    "response": {
        "headers": _of(lambda info: {}),
        "trailers": _of(lambda info: {}),
        "headers_bytes": _of(lambda info: 0),
        "flags": _flags,
        "size": _of(lambda info: info.bytes[3]),
        "total_size": _of(lambda info: info.bytes[3]),
        "code_details": _of(lambda info: info.details or None),
    },
    "xds": {
        "cluster_name": _of(lambda info: info.upstream.cluster.name or None),
        "cluster_metadata": _of(lambda info: _metadata(info.upstream.cluster)),
        "upstream_host_metadata": _of_host(lambda host: host.metadata),
        "upstream_host_locality_metadata": _of_host(lambda host: host.locality_metadata),
        "filter_chain_name": _of(lambda info: info.listener.filter_chain_name),
        "listener_metadata": _of(lambda info: info.listener.metadata or base_pb2.Metadata()),
        "listener_direction": _of(lambda info: info.listener.direction),
    },
}


def _metadata(cluster: Any) -> Any:
    return (cluster.metadata or base_pb2.Metadata()) if cluster.name else None


def _dynamic_metadata(info: StreamInfo) -> Any:
    message = base_pb2.Metadata()
    for name, values in info.metadata.items():
        message.filter_metadata[name].update(_plain(values))
    return message


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(key): _plain(inner) for key, inner in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _object(value: StateObject) -> Any:
    """An object of filter state: the bytes of its text, or its fields where it has some."""
    if isinstance(value, Endpoint):
        return {name: value.field(name) for name in ("ip", "port")}
    return encoded(value.text) if value.text is not None else None


def _objects(entries: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: _object(entry.value) for key, entry in entries.items()}
    return {key: value for key, value in found.items() if value is not None}


_WHOLE: dict[str, Callable[[StreamInfo], Any]] = {
    "metadata": _dynamic_metadata,
    "filter_state": lambda info: _objects(info.filter_state.entries),
    "upstream_filter_state": lambda info: _objects(shared_entries(info)),
}


def variables(
    names: Mapping[str, Collection[str] | None], node: Any, info: StreamInfo, at: Moment
) -> dict[str, Any]:
    """What an expression is given.

    :param names: the variables that it speaks of, and which of their fields; `None` for all.
    :param node: the `core.v3.Node` that this proxy is, or `None`.
    """
    found: dict[str, Any] = {}
    for name, fields in names.items():
        if name in _WHOLE:
            found[name] = _WHOLE[name](info)
        elif name in _ATTRIBUTES:
            known = _ATTRIBUTES[name]
            asked = {field: known[field](info, at) for field in fields or known if field in known}
            if name == "xds" and node is not None:
                asked["node"] = node
            found[name] = {field: value for field, value in asked.items() if value is not None}
    return found
