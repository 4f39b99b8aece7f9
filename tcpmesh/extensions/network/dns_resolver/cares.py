"""The resolver that Envoy uses unless told otherwise, here over Twisted: same sources, same order,
same patience as c-ares.

A name is looked for in /etc/hosts first, then with the search list of /etc/resolv.conf at the
servers given here, else at those of /etc/resolv.conf.  Each server is given
`query_timeout_seconds`, twice as long in each of `query_tries` rounds; an answer that does not fit
into a datagram is fetched over TCP.  Each question has a socket of its own, so nothing has to be
said of shared ones (`udp_max_queries`, `max_udp_channel_duration`, `reinit_channel_on_timeout`).
Left out: `filter_unroutable_families`, and /etc/nsswitch.conf, which c-ares reads for the order.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)
from zope.interface import implementer

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.interfaces import IDnsResolver
from tcpmesh.net.dns.client import DnsClient, DnsOptions
from tcpmesh.net.dns.lookup import DNS_PORT, HostsFile, Lookup, SystemDns, system_dns
from tcpmesh.net.dns.resolve import TimedOut, find
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.address import Address
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found, is_numeric


@extension(CaresDnsResolverConfig)
@implementer(IDnsResolver)
class CaresResolver:
    """Built from a `CaresDnsResolverConfig`."""

    def __init__(self, message: Any, context: MainContext) -> None:
        # Of all resolvers together, and shown as long as the process lives.
        store = context.store
        self._total = store.counter("dns.cares.resolve_total")
        self._failed = store.counter("dns.cares.get_addr_failure")
        self._none = store.counter("dns.cares.not_found")
        self._timeouts = store.counter("dns.cares.timeouts")
        self._pending = store.gauge("dns.cares.pending_resolutions", Merge.MAIN)
        store.counter("dns.cares.reinits")
        system = system_dns()
        servers = _servers(message, system)
        client = DnsClient(
            context.network.clock, servers, _options(message), context.random, self._timed_out
        )
        search = () if message.dns_resolver_options.no_default_search_domain else system.search
        self._lookup = Lookup(client, HostsFile(), search, system.ndots)

    def resolve(self, name: str, family: Family) -> Deferred[tuple[Found, ...]]:
        """The addresses of a name.  As in Envoy each lookup counts, and one of both kinds together
        or of a number is one.
        """
        if family is Family.ALL or is_numeric(name):
            return self._counted(find(name, family, self._lookup.addresses))
        return find(
            name, family, lambda name, kind: self._counted(self._lookup.addresses(name, kind))
        )

    def _counted(self, lookup: Deferred[tuple[Found, ...]]) -> Deferred[tuple[Found, ...]]:
        self._total.tally += 1
        self._pending.add(1)
        return lookup.addCallbacks(self._answered, self._unanswered)

    def _answered(self, found: tuple[Found, ...]) -> tuple[Found, ...]:
        self._pending.add(-1)
        if not found:
            self._none.tally += 1
        return found

    def _unanswered(self, failure: Failure) -> Failure:
        self._pending.add(-1)
        if not failure.check(CancelledError, TimedOut):
            self._failed.tally += 1
        return failure

    def _timed_out(self) -> None:
        self._timeouts.tally += 1


def _servers(message: Any, system: SystemDns) -> tuple[Address, ...]:
    given = tuple(
        Address(host, port or DNS_PORT) for host, port in map(host_and_port, message.resolvers)
    )
    if not given or message.use_resolvers_as_fallback:
        return system.servers + given
    return given


def _options(message: Any) -> DnsOptions:
    given: dict[str, Any] = {}
    if message.HasField("query_timeout_seconds"):
        given["timeout"] = float(message.query_timeout_seconds.value)
    if message.HasField("query_tries"):
        given["tries"] = message.query_tries.value
    if message.HasField("edns0_max_payload_size"):
        given["payload"] = message.edns0_max_payload_size.value
    return DnsOptions(
        tcp=message.dns_resolver_options.use_tcp_for_dns_lookups,
        rotate=message.rotate_nameservers,
        **given,
    )
