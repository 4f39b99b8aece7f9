"""Operators for addresses: of both ends of the client's connection and of the upstream's."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from tcpmesh.accesslog.fields.value import Build, Typed, Value, Yield
from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.address import INTERNAL, Address
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.wire.numbers import signed


class _NoPort(Typed):
    """The port of an address that has none: nothing in a text, null in JSON, as in Envoy."""

    __slots__ = ()

    def __str__(self) -> str:
        return ""


NO_PORT = _NoPort(None)

_Find = Callable[[StreamInfo], "Address | None"]

_FINDS: dict[str, _Find] = {
    "DOWNSTREAM_REMOTE": lambda info: info.remote_address,
    "DOWNSTREAM_DIRECT_REMOTE": lambda info: info.direct_remote_address,
    "DOWNSTREAM_LOCAL": lambda info: info.local_address,
    "DOWNSTREAM_DIRECT_LOCAL": lambda info: info.direct_local_address,
    "UPSTREAM_LOCAL": lambda info: info.upstream.local_address,
    "UPSTREAM_REMOTE": lambda info: info.upstream.remote_address,
}


def port_of(address: Address | None) -> int | None:
    """A port; only an IP address has one."""
    return None if address is None or not address.is_ip else address.port


def _address(find: _Find) -> Build:
    def text(info: StreamInfo, at: Moment) -> Value:
        address = find(info)
        return None if address is None else str(address)

    return lambda operator: text


def _port(find: _Find) -> Build:
    def port(info: StreamInfo, at: Moment) -> Value:
        address = find(info)
        return None if address is None else address.port if address.is_ip else NO_PORT

    return lambda operator: port


def _host(find: _Find) -> Build:
    """The address without its port; the argument is the length of the prefix to show."""

    def build(operator: Operator) -> Yield:
        length = signed(operator.argument or "", 32)

        def text(info: StreamInfo, at: Moment) -> Value:
            address = find(info)
            return None if address is None else _masked(address, length)

        return text

    return build


def _masked(address: Address, length: int | None) -> str:
    if length is None or not address.is_ip:
        return address.host
    if length < 0:
        return ""
    ip = ipaddress.ip_address(address.host.partition("%")[0])
    return str(ipaddress.ip_network((ip, min(length, ip.max_prefixlen)), strict=False))


def _endpoint_id(info: StreamInfo, at: Moment) -> Value:
    """What tells one use of an internal listener from another; empty for a listener with a
    socket.
    """
    address = info.local_address
    if not address.is_internal:
        return ""
    prefix = f"{INTERNAL}{info.listener.name}/"
    if not address.host.startswith(prefix):
        return address.listener_and_endpoint[1]
    return address.host.removeprefix(prefix)


def _round_trip(info: StreamInfo, at: Moment) -> Value:
    """Envoy says 0 of every TCP connection."""
    return 0 if info.direct_remote_address.is_ip else None


OPERATORS: dict[str, Build] = {
    "DOWNSTREAM_CX_RTT": lambda operator: _round_trip,
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID": lambda operator: _endpoint_id,
    **{f"{side}_ADDRESS": _address(find) for side, find in _FINDS.items()},
    **{f"{side}_ADDRESS_WITHOUT_PORT": _host(find) for side, find in _FINDS.items()},
    **{f"{side}_PORT": _port(find) for side, find in _FINDS.items()},
}
