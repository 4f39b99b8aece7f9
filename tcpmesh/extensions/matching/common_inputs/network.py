"""The inputs of matching trees that every connection has: addresses, and what its first bytes say.

As in Envoy there is no input where the address is that of a unix socket, where no listener filter
has found out what is asked for, or where the filter state has no such object.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IMatchInput
from tcpmesh.listener.matching.client import is_local, transport_protocol
from tcpmesh.registry import Context, extension
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import StreamInfo


class NetworkInput:
    """An input without settings."""

    def __init__(self, message: Any, context: Context) -> None:
        """There are none."""


def _host(address: Address) -> str | None:
    return address.host if address.is_ip else None


def _port(address: Address) -> str | None:
    return str(address.port) if address.is_ip else None


@extension(network_inputs_pb2.DestinationIPInput)
@implementer(IMatchInput)
class DestinationIPInput(NetworkInput):
    """The address that the client wanted."""

    def get(self, info: StreamInfo) -> str | None:
        """As text, without the port."""
        return _host(info.local_address)


@extension(network_inputs_pb2.DestinationPortInput)
@implementer(IMatchInput)
class DestinationPortInput(NetworkInput):
    """The port that the client wanted."""

    def get(self, info: StreamInfo) -> str | None:
        """In decimal digits."""
        return _port(info.local_address)


@extension(network_inputs_pb2.SourceIPInput)
@implementer(IMatchInput)
class SourceIPInput(NetworkInput):
    """The address of the client."""

    def get(self, info: StreamInfo) -> str | None:
        """As text, without the port."""
        return _host(info.remote_address)


@extension(network_inputs_pb2.SourcePortInput)
@implementer(IMatchInput)
class SourcePortInput(NetworkInput):
    """The port of the client."""

    def get(self, info: StreamInfo) -> str | None:
        """In decimal digits."""
        return _port(info.remote_address)


@extension(network_inputs_pb2.DirectSourceIPInput)
@implementer(IMatchInput)
class DirectSourceIPInput(NetworkInput):
    """The other end of the socket."""

    def get(self, info: StreamInfo) -> str | None:
        """As text, without the port."""
        return _host(info.direct_remote_address)


@extension(network_inputs_pb2.SourceTypeInput)
@implementer(IMatchInput)
class SourceTypeInput(NetworkInput):
    """Whether the client is on this machine."""

    def get(self, info: StreamInfo) -> str | None:
        """`local`, or nothing."""
        return "local" if is_local(info) else None


@extension(network_inputs_pb2.ServerNameInput)
@implementer(IMatchInput)
class ServerNameInput(NetworkInput):
    """SNI."""

    def get(self, info: StreamInfo) -> str | None:
        """In lower case."""
        return info.hello.server_name.lower() or None


@extension(network_inputs_pb2.TransportProtocolInput)
@implementer(IMatchInput)
class TransportProtocolInput(NetworkInput):
    """What the client speaks."""

    def get(self, info: StreamInfo) -> str | None:
        """`tls`, or else `raw_buffer`."""
        return transport_protocol(info)


@extension(network_inputs_pb2.ApplicationProtocolInput)
@implementer(IMatchInput)
class ApplicationProtocolInput(NetworkInput):
    """What the client offers by ALPN."""

    def get(self, info: StreamInfo) -> str | None:
        """Each in single quotes, with commas between."""
        names = info.hello.application_protocols
        return ",".join(f"'{name}'" for name in names) if names else None


@extension(network_inputs_pb2.FilterStateInput)
@implementer(IMatchInput)
class FilterStateInput:
    """An object of the filter state, or a field of one."""

    def __init__(self, message: Any, context: Context) -> None:
        self._key: str = message.key
        self._field: str = getattr(message, "field", "")

    def get(self, info: StreamInfo) -> str | None:
        """The object as text."""
        found = info.filter_state.get(self._key)
        if found is None:
            return None
        if not self._field:
            return found.text
        value = found.field(self._field)
        return None if value is None else str(value)
