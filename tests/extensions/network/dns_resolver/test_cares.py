"""The resolver that Envoy uses by default."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rcode
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)
from zope.interface.verify import verifyObject

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from tcpmesh.extensions.network.dns_resolver import cares
from tcpmesh.extensions.network.dns_resolver.cares import CaresResolver
from tcpmesh.interfaces import IDnsResolver
from tcpmesh.net.dns.client import DnsClient, DnsOptions
from tcpmesh.net.dns.lookup import SystemDns
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found
from tests.mesh import parse
from tests.names import DnsServer, answer


class CaresTests(TestCase):
    """From names to addresses, at a server on a loopback address."""

    timeout = 20

    def setUp(self) -> None:
        """One server, which knows a.test and nothing else."""
        self.server = DnsServer(reactor, self.reply)
        self.addCleanup(self.server.close)
        self.store = Store()
        self.patch(
            cares, "system_dns", lambda: SystemDns((Address("192.0.2.1", 53),), ("search.test",), 1)
        )

    def reply(self, query: dns.message.Message) -> bytes | None:
        """An address for each kind of record of a.test."""
        name = query.question[0].name.to_text()
        if name == "silent.test.":
            return None
        if not name.startswith("a."):
            return answer(query, code=dns.rcode.NXDOMAIN).to_wire()
        kind = "A 127.0.0.2" if query.question[0].rdtype == dns.rdatatype.A else "AAAA ::2"
        return answer(query, f"{name} 9 IN {kind}").to_wire()

    def resolver(self, more: str = "") -> CaresResolver:
        """A resolver that asks the server, with further fields in YAML."""
        port = self.server.address.port
        servers = f"resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}]"
        return self.built(f"{servers}\n{more}")

    def built(self, text: str) -> CaresResolver:
        """A resolver of this configuration, in YAML."""
        context = MainContext(StockNetwork(reactor), self.store)
        return CaresResolver(parse(CaresDnsResolverConfig, text), context)

    def client_of(self, text: str) -> Any:
        """The servers and options that a configuration amounts to."""
        made: list[Any] = []

        class Client(DnsClient):
            def __init__(self, *arguments: Any) -> None:
                made.append(arguments)

        self.patch(cares, "DnsClient", Client)
        self.built(text)
        return made[0][1:3]

    def test_interface(self) -> None:
        """It is a resolver."""
        verifyObject(IDnsResolver, self.resolver())

    @inlineCallbacks
    def test_addresses(self) -> Any:
        """The records that a family asks for are the addresses, each with its time to live."""
        found = yield self.resolver().resolve("a.test", Family.ALL)
        self.assertEqual((Found("127.0.0.2", 9), Found("::2", 9)), found)
        self.assertEqual(
            {("udp", "a.test", "A"), ("udp", "a.test", "AAAA")}, set(self.server.queries)
        )

    @inlineCallbacks
    def test_search(self) -> Any:
        """The domains of the system are searched, unless that is switched off."""
        self.assertEqual(1, len((yield self.resolver().resolve("a", Family.V4_ONLY))))
        plain = self.resolver("dns_resolver_options: {no_default_search_domain: true}")
        self.assertEqual((), (yield plain.resolve("b", Family.V4_ONLY)))
        self.assertEqual(["a.search.test", "b"], [name for _, name, _ in self.server.queries])

    @inlineCallbacks
    def test_tcp(self) -> Any:
        """`use_tcp_for_dns_lookups` is heeded."""
        yield self.resolver("dns_resolver_options: {use_tcp_for_dns_lookups: true}").resolve(
            "a.test", Family.V4_ONLY
        )
        self.assertEqual([("tcp", "a.test", "A")], self.server.queries)

    @inlineCallbacks
    def test_statistics(self) -> Any:
        """Lookups, names that are not there, failures, and each question without answer, are
        counted under dns.cares.
        """
        self.patch(cares, "_options", lambda message: DnsOptions(timeout=0.25, tries=2))
        resolver = self.resolver()
        yield resolver.resolve("a.test", Family.V4_ONLY)
        yield resolver.resolve("b.test", Family.V4_ONLY)
        asked: Deferred[Any] = resolver.resolve("silent.test", Family.V4_ONLY)
        self.assertEqual(1, values_of(self.store)["dns.cares.pending_resolutions"])
        yield self.assertFailure(asked, ResolutionFailed)
        yield self.assertFailure(resolver.resolve("a..test", Family.V4_ONLY), ResolutionFailed)
        given_up = resolver.resolve("silent.test", Family.V4_ONLY)
        given_up.cancel()
        yield self.assertFailure(given_up, CancelledError)
        values = values_of(self.store)
        expected = {
            "resolve_total": 5,
            "not_found": 1,
            "get_addr_failure": 1,
            "timeouts": 2,
            "pending_resolutions": 0,
            "reinits": 0,
        }
        self.assertEqual(expected, {name: values[f"dns.cares.{name}"] for name in expected})

    @inlineCallbacks
    def test_lookups(self) -> Any:
        """Both kinds together are one lookup, one after the other are two; a number is one, too."""
        resolver = self.resolver()
        totals = []
        for name, family in (
            ("a.test", Family.ALL),
            ("b.test", Family.AUTO),
            ("127.0.0.1", Family.AUTO),
            ("a.test", Family.AUTO),
        ):
            yield resolver.resolve(name, family)
            totals.append(values_of(self.store)["dns.cares.resolve_total"])
        self.assertEqual([1, 3, 4, 5], totals)

    def test_servers(self) -> None:
        """Servers that are given are asked in place of the system's, or after them; port 53 is
        meant where none is given.
        """
        system, given = Address("192.0.2.1", 53), Address("192.0.2.9", 53)
        text = "resolvers: [{socket_address: {address: 192.0.2.9, port_value: 0}}]"
        self.assertEqual((system,), self.client_of("{}")[0])
        self.assertEqual((given,), self.client_of(text)[0])
        self.assertEqual(
            (system, given), self.client_of(f"{text}\nuse_resolvers_as_fallback: true")[0]
        )

    def test_options(self) -> None:
        """How often, how long and how servers are asked, by default as in Envoy."""
        self.assertEqual(DnsOptions(5.0, 4, False, False, 1232), self.client_of("{}")[1])
        text = (
            "query_timeout_seconds: 2\nquery_tries: 3\nrotate_nameservers: true\n"
            "edns0_max_payload_size: 1400"
        )
        self.assertEqual(DnsOptions(2.0, 3, False, True, 1400), self.client_of(text)[1])
