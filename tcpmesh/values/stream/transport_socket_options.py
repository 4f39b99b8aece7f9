"""What a transport socket towards a host may have to know of the client that the connection is for:
Envoy's TransportSocketOptions, a value.

A connection of the proxy's own, such as that of a health check, has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, FilterState

Tlv = tuple[int, bytes]
"""Type and value of an extension of the PROXY protocol."""


@dataclass(frozen=True)
class ProxyProtocolOptions:
    """What a PROXY header to the host is to say."""

    source: Address
    destination: Address
    tlvs: tuple[Tlv, ...] = ()


@dataclass(frozen=True)
class TransportSocketOptions:
    """What is known of a client."""

    proxy_protocol: ProxyProtocolOptions | None = None

    upstream_id: int = field(default=0, compare=False)
    """The number of the connection to the host."""

    filter_state: FilterState = field(default=NO_FILTER_STATE, compare=False)
    """The objects that the client shares with it."""

    host: HostSpec | None = field(default=None, compare=False)
    """The host; who connects to it fills that in."""


NO_OPTIONS = TransportSocketOptions()
"""Of a connection without a client."""
