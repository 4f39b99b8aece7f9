"""The kinds of objects that a text can become in the filter state: Envoy's object factories.

Who reads an object asks for its kind, not only for its name: `envoy.tcp_proxy.cluster` counts only
where it is a `ClusterName`. Which kinds a log shows, and which can be hashed, differs in Envoy from
kind to kind without a rule, and is kept.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from xxhash import xxh64_intdigest

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address
from tcpmesh.values.stream.filter_state import Field, HashableText, StateObject, Text
from tcpmesh.wire.numbers import unsigned

TCP_PROXY_CLUSTER = "envoy.tcp_proxy.cluster"
"""Where tcp_proxy looks for a `ClusterName` that goes before its `cluster`."""

IDLE_TIMEOUT_MS = "envoy.tcp_proxy.per_connection_idle_timeout_ms"
"""Where tcp_proxy looks for a `Long`: milliseconds that go before its `idle_timeout`."""

DYNAMIC_HOST = "envoy.upstream.dynamic_host"
DYNAMIC_PORT = "envoy.upstream.dynamic_port"
"""Where clusters of the type dynamic_forward_proxy look for a `Text` and a `Number`: the server and
the port that the client is for.
"""


@dataclass(frozen=True)
class Untyped(StateObject):
    """A string that a log shows as text only."""

    value: str

    @property
    def text(self) -> str:
        """The string itself."""
        return self.value

    @property
    def typed(self) -> None:
        """It has no form of its own in JSON."""


@dataclass(frozen=True)
class ClusterName(Untyped):
    """The cluster that a connection goes to."""


@dataclass(frozen=True)
class ServerName(Untyped):
    """The name to ask an upstream TLS server for."""


@dataclass(frozen=True)
class NetworkNamespace(Untyped):
    """The path of a network namespace."""


@dataclass(frozen=True)
class SubjectNames(Untyped):
    """Names, separated by commas, of which an upstream's certificate must have one."""


@dataclass(frozen=True)
class Protocols(StateObject):
    """Application protocols to offer an upstream, separated by commas; a log does not show them."""

    value: str


@dataclass(frozen=True)
class Flag(StateObject):
    """Yes or no."""

    value: bool

    @property
    def text(self) -> str:
        """In Envoy's words."""
        return "true" if self.value else "false"

    @property
    def typed(self) -> bool:
        """As JSON has it."""
        return self.value


@dataclass(frozen=True)
class Number(StateObject):
    """A whole number of 32 bits."""

    value: int

    @property
    def text(self) -> str:
        """In decimal."""
        return str(self.value)

    @property
    def typed(self) -> object:
        """As JSON has it."""
        return self.value


@dataclass(frozen=True)
class Long(Number):
    """A whole number of 64 bits; protobuf's JSON has it as a string."""

    @property
    def typed(self) -> str:
        """In decimal."""
        return str(self.value)


@dataclass(frozen=True)
class Ip(StateObject):
    """An IP address; a log shows it with a port of 0, as Envoy's does."""

    value: Address

    @property
    def text(self) -> str:
        """Address and port."""
        return str(self.value)

    @property
    def typed(self) -> object:
        """It has no form of its own in JSON."""
        return None


@dataclass(frozen=True)
class Endpoint(Ip):
    """An IP address and a port."""

    @property
    def hash(self) -> int:
        """xxHash64 of the text."""
        return xxh64_intdigest(self.text.encode())

    def field(self, name: str) -> Field:
        """`ip` or `port`."""
        fields: dict[str, Field] = {"ip": self.value.host, "port": self.value.port}
        return fields.get(name)


_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}


def _flag(text: str) -> Flag | None:
    word = text.lower()
    return Flag(word in _TRUE) if word in _TRUE or word in _FALSE else None


def _number(text: str) -> Number | None:
    number = unsigned(text, 32)
    return Number(number) if number is not None else None


def _long(text: str) -> Long | None:
    number = unsigned(text, 64)
    return Long(number) if number is not None else None


def _address(host: str, port: int) -> Address | None:
    try:
        return Address(str(ipaddress.ip_address(host)), port)
    except ValueError:
        return None


def _ip(text: str) -> Ip | None:
    address = _address(text, 0)
    return Ip(address) if address is not None else None


def _endpoint(text: str) -> Endpoint | None:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1] if ":" in host else ""
    elif ":" in host:
        return None
    number = unsigned(port, 16)
    address = _address(host, number) if colon and number is not None else None
    return Endpoint(address) if address is not None else None


Factory = Callable[[str], "StateObject | None"]

FACTORIES: dict[str, Factory] = {
    "envoy.bool": _flag,
    "envoy.filters.listener.original_dst.local_ip": _endpoint,
    "envoy.filters.listener.original_dst.remote_ip": _endpoint,
    "envoy.hashable_string": HashableText,
    "envoy.network.application_protocols": Protocols,
    "envoy.network.ip": _ip,
    "envoy.network.network_namespace": NetworkNamespace,
    "envoy.network.transport_socket.original_dst_address": _endpoint,
    "envoy.network.upstream_server_name": ServerName,
    "envoy.network.upstream_subject_alt_names": SubjectNames,
    "envoy.ratelimit.hits_addend": _number,
    "envoy.string": Text,
    TCP_PROXY_CLUSTER: ClusterName,
    "envoy.tcp_proxy.disable_tunneling": lambda text: Flag(text == "true"),
    IDLE_TIMEOUT_MS: _long,
    DYNAMIC_HOST: Text,
    DYNAMIC_PORT: _number,
}
"""What makes an object of a text, by Envoy's `factory_key`; `None` where the text is not fit for
that kind.
"""
