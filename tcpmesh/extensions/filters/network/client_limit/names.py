"""Who is one client: an address, all addresses of a prefix, or a server name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from tcpmesh.config.schema.own import client_limit_pb2
from tcpmesh.listener.matching.networks import number_of
from tcpmesh.values.stream.stream_info import StreamInfo

IPV4, IPV6 = 32, 64
"""The lengths of prefixes where nothing is said."""


def client_namer(message: Any) -> Callable[[StreamInfo], str]:
    """The name of a connection's client, as a `ClientLimit` message has it; empty for one that has
    none.
    """
    if message.client == client_limit_pb2.ClientLimit.SERVER_NAME:
        return _server_name
    return partial(_prefix, *prefix_lengths(message))


def prefix_lengths(message: Any) -> tuple[int, int]:
    """Of IPv4 and IPv6."""
    ipv4, ipv6 = message.ipv4_prefix_len, message.ipv6_prefix_len
    return (
        ipv4.value if message.HasField("ipv4_prefix_len") else IPV4,
        ipv6.value if message.HasField("ipv6_prefix_len") else IPV6,
    )


def _server_name(info: StreamInfo) -> str:
    return info.hello.server_name.lower()


def _prefix(ipv4: int, ipv6: int, info: StreamInfo) -> str:
    address = info.remote_address
    host = address.host
    if address.family == socket.AF_INET and ipv4 == 32:
        return host
    return network_name(host, ipv4, ipv6) if address.is_ip else ""


def network_name(host: str, ipv4: int, ipv6: int) -> str:
    """The text of the network that a numeric address is in."""
    number, bits = number_of(host)
    length = ipv4 if bits == 32 else ipv6
    shift = bits - length
    packed = (number >> shift << shift).to_bytes(bits // 8, "big")
    text = socket.inet_ntop(socket.AF_INET if bits == 32 else socket.AF_INET6, packed)
    return text if length == bits else f"{text}/{length}"
