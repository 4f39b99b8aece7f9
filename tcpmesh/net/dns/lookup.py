"""From a name to addresses, in the order in which c-ares looks: /etc/hosts, then DNS with the
search list.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import dns.name
import dns.resolver

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed

from tcpmesh.facts import dataclass
from tcpmesh.net.dns.client import DnsClient
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.values.address import Address
from tcpmesh.wire.names import Found, is_hostname, parse_hosts

DNS_PORT = 53

LOOPBACK = {"A": "127.0.0.1", "AAAA": "::1"}


@dataclass(frozen=True)
class SystemDns:
    """What /etc/resolv.conf says (resolv.conf(5))."""

    servers: tuple[Address, ...] = (Address("127.0.0.1", DNS_PORT),)
    search: tuple[str, ...] = ()
    ndots: int = 1


def system_dns(path: str = "/etc/resolv.conf") -> SystemDns:
    """The system's servers and search list; the local host and no list where the file names no
    server or cannot be read.
    """
    resolver = dns.resolver.Resolver(configure=False)
    try:
        resolver.read_resolv_conf(path)
    except (OSError, dns.resolver.NoResolverConfiguration):
        return SystemDns()
    servers = tuple(Address(str(server), DNS_PORT) for server in resolver.nameservers)
    domains = [each for each in resolver.search or [resolver.domain] if each != dns.name.root]
    search = tuple(each.to_text(omit_final_dot=True) for each in domains)
    return SystemDns(
        servers or SystemDns.servers, search, 1 if resolver.ndots is None else resolver.ndots
    )


class HostsFile:
    """/etc/hosts, read again when it has changed."""

    def __init__(self, path: str = "/etc/hosts") -> None:
        self._path = Path(path)
        self._seen: Any = None
        self._names: dict[str, tuple[str, ...]] = {}

    def find(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, of both kinds; none where it is not there."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._names = parse_hosts(self._path.read_text(errors="replace"))
                self._seen = seen
        except OSError:
            return ()
        return self._names.get(name.lower().rstrip("."), ())


class Lookup:
    """Finds the addresses of one kind that a name has."""

    def __init__(
        self, client: DnsClient, hosts: HostsFile, search: tuple[str, ...], ndots: int
    ) -> None:
        self._client = client
        self._hosts = hosts
        self._search = search
        self._ndots = ndots

    def addresses(self, name: str, kind: str) -> Deferred[tuple[Found, ...]]:
        """All addresses of this kind, A or AAAA; none where the name has none.

        :return: fails with `ResolutionFailed`; cancel it to give up.
        """
        if not is_hostname(name):
            return fail(ResolutionFailed(f"{name!r} is no name of a host"))
        local = self._local(name, kind)
        return succeed(local) if local is not None else self._ask(name, kind)

    def candidates(self, name: str) -> list[str]:
        """The full names to ask for, in order (resolv.conf(5), `search` and `ndots`)."""
        if name.endswith("."):
            return [name]
        longer = [f"{name}.{domain}." for domain in self._search]
        return [f"{name}.", *longer] if name.count(".") >= self._ndots else [*longer, f"{name}."]

    def _local(self, name: str, kind: str) -> tuple[Found, ...] | None:
        found = tuple(Found(host) for host in self._hosts.find(name) if kind_of(host) == kind)
        if found:
            return found
        plain = name.lower().rstrip(".")
        if plain == "localhost" or plain.endswith(".localhost"):
            return (Found(LOOPBACK[kind]),)
        return None

    @inlineCallbacks
    def _ask(self, name: str, kind: str) -> Generator[Deferred[Any], Any, tuple[Found, ...]]:
        for candidate in self.candidates(name):
            answer = yield self._client.ask(candidate, kind)
            if answer.addresses:
                return answer.addresses  # type: ignore[no-any-return]
        return ()


def kind_of(host: str) -> str:
    """The record type that a numeric address is found in."""
    return "AAAA" if ":" in host else "A"
