"""What a DNS cache is told (`DnsCacheConfig`), and by which keys names are found in it."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass
from tcpmesh.values.dns import Family

MOST_HOSTS = 1024
MOST_PENDING = 1024
HOST_TTL = 300.0
REFRESH_RATE = 60.0
LEAST_REFRESH = 5.0
QUERY_TIMEOUT = 5.0

LONGEST = 255
"""Characters of a name; nobody can have a longer one."""


@dataclass(frozen=True)
class CacheSettings:
    """Times in seconds."""

    name: str
    family: Family
    most_hosts: int
    host_ttl: float
    """For how long a name stays that nobody asks for, at least: until it would be looked up
    again.
    """

    refresh_rate: float
    """When to look a name up again whose answer says nothing of that."""

    least_refresh: float
    """When to, at the earliest, where it does."""

    query_timeout: float
    """For how long an answer is waited for; 0 to leave that to the resolver."""

    most_pending: int
    """Clients that may wait for names."""

    forgets_failures: bool
    """Whether a name is not kept that could not be looked up."""

    first: tuple[str, ...]
    """The keys of names that are looked up before anybody asks."""


def settings_of(message: Any) -> CacheSettings:
    """Those of a `common.dynamic_forward_proxy.v3.DnsCacheConfig`."""

    def given(field: str, default: float) -> float:
        return seconds(getattr(message, field)) if message.HasField(field) else default

    breaker = message.dns_cache_circuit_breaker
    limited = breaker.HasField("max_pending_requests")
    family = message.DESCRIPTOR.fields_by_name["dns_lookup_family"].enum_type
    return CacheSettings(
        name=message.name,
        family=Family[family.values_by_number[message.dns_lookup_family].name],
        most_hosts=message.max_hosts.value if message.HasField("max_hosts") else MOST_HOSTS,
        host_ttl=given("host_ttl", HOST_TTL),
        refresh_rate=given("dns_refresh_rate", REFRESH_RATE),
        least_refresh=given("dns_min_refresh_rate", LEAST_REFRESH),
        query_timeout=given("dns_query_timeout", QUERY_TIMEOUT),
        most_pending=breaker.max_pending_requests.value if limited else MOST_PENDING,
        forgets_failures=getattr(message, "disable_dns_refresh_on_failure", False),
        first=tuple(key_of(each.address, each.port_value) for each in message.preresolve_hostnames),
    )


def key_of(host: str, port: int) -> str:
    """The key of a name: itself and a port, which is the given one unless the name has its own, as
    a client may ask for it.
    """
    return host if _own_port(host) is not None else f"{host}:{port}"


def host_and_port_of(key: str) -> tuple[str, int]:
    """What a key says."""
    host, _, port = key.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, int(port)


def _own_port(host: str) -> int | None:
    name, colon, port = host.rpartition(":")
    if not colon or not name or host.endswith("]") or not (port.isascii() and port.isdecimal()):
        return None
    return int(port) if len(port) <= 5 and int(port) <= 65535 else None
