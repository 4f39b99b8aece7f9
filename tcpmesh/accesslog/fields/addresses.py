"""Operators for addresses: of both ends of the client's connection and of the upstream's."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from tcpmesh.accesslog.fields.value import Build, Value, Yield
from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.address import Address
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.wire.numbers import signed

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
    """A port; a unix socket has none."""
    return None if address is None or not address.is_ip else address.port


def _address(find: _Find) -> Build:
    def text(info: StreamInfo, at: Moment) -> Value:
        address = find(info)
        return None if address is None else str(address)

    return lambda operator: text


def _port(find: _Find) -> Build:
    return lambda operator: lambda info, at: port_of(find(info))


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


OPERATORS: dict[str, Build] = {
    **{f"{side}_ADDRESS": _address(find) for side, find in _FINDS.items()},
    **{f"{side}_ADDRESS_WITHOUT_PORT": _host(find) for side, find in _FINDS.items()},
    **{f"{side}_PORT": _port(find) for side, find in _FINDS.items()},
}
