"""What consistent hashing goes by: which facts of a client make the 64-bit number that chooses its
host.

There are two places to say so, and the one in a typed RING_HASH or MAGLEV policy, written in the
terms of an HTTP route, goes before the one in tcp_proxy.  The numbers are Envoy's: xxHash64 of the
address as text, without the port, or of an object's text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xxhash import xxh64_intdigest

from tcpmesh.values.stream.stream_info import StreamInfo

ClientHash = Callable[[StreamInfo], "int | None"]
"""The number of a client; `None` where there is nothing to go by, which means a random host."""

_BITS = (1 << 64) - 1


def proxy_hash(policies: Any) -> ClientHash | None:
    """What `hash_policy` of a tcp_proxy says, of which there is one at most; `None` where there is
    none.
    """
    for policy in policies:
        return source_hash if policy.HasField("source_ip") else _state_hash(policy.filter_state.key)
    return None


def route_hash(policies: Any) -> ClientHash | None:
    """What `consistent_hashing_lb_config.hash_policy` of a typed policy says; `None` where nothing
    is there.

    All policies that find something have a part in the number, up to one that is `terminal`;
    headers, cookies and query parameters find nothing in a TCP connection.
    """
    if not policies:
        return None
    parts = [
        (part, policy.terminal) for policy in policies if (part := _route_part(policy)) is not None
    ]

    def combined(info: StreamInfo) -> int | None:
        number: int | None = None
        for part, terminal in parts:
            found = part(info)
            if found is not None:
                number = found if number is None else ((number << 1 | number >> 63) & _BITS) ^ found
            if terminal and number is not None:
                break
        return number

    return combined


def _route_part(policy: Any) -> ClientHash | None:
    kind = policy.WhichOneof("policy_specifier")
    if kind == "filter_state":
        return _state_hash(policy.filter_state.key)
    return (
        source_hash
        if kind == "connection_properties" and policy.connection_properties.source_ip
        else None
    )


def source_hash(info: StreamInfo) -> int | None:
    """The number of a client by its address; one that came through a unix socket has none."""
    address = info.remote_address
    if not address.is_ip:
        return None
    return xxh64_intdigest(address.host.partition("%")[0].encode())


def _state_hash(key: str) -> ClientHash:
    def state_hash(info: StreamInfo) -> int | None:
        found = info.filter_state.get(key)
        return found.hash if found is not None else None

    return state_hash
