"""What is known of one upstream connection beyond what its cluster says: what its transport socket
is told, Envoy's `TransportSocketOptions`, and how its socket is made ready; a value.

A connection of the proxy's own, such as that of a health check, has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.socket_options import ConnectOptions
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, FilterState


@dataclass(frozen=True)
class ProxyProtocolOptions:
    """What a PROXY header to the host is to say."""

    source: Address
    destination: Address
    extensions: bytes = b""
    """A block, as it is in a header."""


@dataclass(frozen=True)
class TransportSocketOptions:
    """See the module's text."""

    server_name: str = ""
    """The name to ask the host for, in place of the cluster's (SNI)."""

    application_protocols: tuple[str, ...] = ()
    """What to offer the host, in place of the cluster's (ALPN)."""

    fallback_protocols: tuple[str, ...] = ()
    """What to offer it where neither this nor the cluster says anything of that."""

    subject_names: tuple[str, ...] = ()
    """Names of which the host's certificate must have one."""

    proxy_protocol: ProxyProtocolOptions | None = None
    """What a PROXY header is to say of the client."""

    socket: ConnectOptions | None = None
    """How the socket is made ready beyond what the cluster says; its source goes before that of the
    cluster.
    """

    upstream_id: int = field(default=0, compare=False)
    """The number of the connection to the host."""

    filter_state: FilterState = field(default=NO_FILTER_STATE, compare=False)
    """The objects that the client shares with it."""

    host: HostSpec | None = field(default=None, compare=False)
    """The host; who connects to it fills that in."""

    @property
    def host_name(self) -> str:
        """The host's own name, for a cluster that asks each host for its own."""
        return "" if self.host is None else self.host.hostname


NO_OPTIONS = TransportSocketOptions()
"""Of a connection of which nothing is known."""


@dataclass(frozen=True)
class Passthrough:
    """What a connection to a listener in this process tells it of where it comes from: a value."""

    hops: int = 0
    """Through how many listeners of this process the client has come by then."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Dynamic metadata by its names, as plain values."""

    filter_state: FilterState = NO_FILTER_STATE
    """The objects that it shares."""


NOTHING_PASSED = Passthrough()
"""Where nothing is told."""
