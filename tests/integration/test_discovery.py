"""A real `twistd tcpmesh` whose clusters are names, with a real DNS server."""

from __future__ import annotations

import socket
from typing import Any

import dns.message

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tcpmesh.testing.child import Child, connectable, free_port, wait_for
from tcpmesh.testing.upstreams import Named
from tests.integration.test_serve import bootstrap, listener, tcp
from tests.names import DnsServer, answer

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


class DiscoveryTests(TestCase):
    """From start to changed records."""

    timeout = 60

    def setUp(self) -> None:
        """A DNS server that is silent until `hosts` are set, and upstreams of one port on two
        addresses.
        """
        self.hosts: list[str] | None = None
        self.dns = DnsServer(reactor, self.reply)
        self.addCleanup(self.dns.close)
        self.backend = free_port("127.0.0.2")
        for number, name in ((2, "two"), (3, "three")):
            upstream = reactor.listenTCP(self.backend, Named(name), interface=f"127.0.0.{number}")
            self.addCleanup(upstream.stopListening)

    def reply(self, query: dns.message.Message) -> bytes | None:
        """The hosts, each with a time to live of a second."""
        if self.hosts is None:
            return None
        return answer(query, *(f"svc.test. 1 IN A {host}" for host in self.hosts)).to_wire()

    def config(self, port: int, kind: str) -> str:
        """A listener, and a cluster of this type that is the name svc.test."""
        servers = (
            f"resolvers: [{tcp('127.0.0.1', self.dns.address.port)}], query_timeout_seconds: 1"
        )
        resolver = f'{{name: r, typed_config: {{"@type": {CARES}, {servers}}}}}'
        hosts = f"[{{lb_endpoints: [{{endpoint: {{address: {tcp('svc.test', self.backend)}}}}}]}}]"
        return bootstrap(
            listener("l", tcp("127.0.0.1", port), "cluster: c"),
            f"  - {{name: c, type: {kind}, load_assignment: {{cluster_name: c, endpoints: "
            f"{hosts}}}, dns_lookup_family: V4_ONLY,"
            f" dns_refresh_rate: 0.1s, typed_dns_resolver_config: {resolver}}}\n",
        )

    def follow(self, kind: str) -> Deferred[Any]:
        """Run the scenario in a thread, for the DNS server and the upstreams are in this
        process.
        """
        return deferToThread(self.scenario, kind)

    def scenario(self, kind: str) -> None:
        """Start without DNS, then with one host, then with another, then without DNS again."""
        port = free_port()
        with Child(self.config(port, kind)) as proxy:
            proxy.wait(
                lambda: self.dns.queries and proxy.admin_address,
                "the first question",
            )
            self.assertFalse(connectable("127.0.0.1", port))
            self.assertIn("PRE_INITIALIZING", proxy.admin("/ready")[1])
            self.hosts = ["127.0.0.2"]
            proxy.wait_ready()
            self.assertEqual(b"two", greeting(port))
            self.hosts = ["127.0.0.3"]
            wait_for(lambda: greeting(port) == b"three", "the new host")
            self.hosts = None
            wait_for(
                lambda: (
                    proxy.stat("cluster.c.update_attempt") > proxy.stat("cluster.c.update_success")
                ),
                "a question",
            )
            self.assertEqual(b"three", greeting(port))
            self.assertNotIn("Traceback", proxy.output)

    def address_lost(self) -> None:
        """Start without DNS, and listen on the port that the child waits to open."""
        port = free_port()
        config = self.config(port, "STRICT_DNS").replace(
            "filter_chains:", "enable_reuse_port: false, filter_chains:"
        )
        with Child(config) as proxy:
            proxy.wait(
                lambda: self.dns.queries and proxy.admin_address,
                "the first question",
            )
            with socket.create_server(("127.0.0.1", port)):
                self.hosts = ["127.0.0.2"]
                self.assertEqual(1, proxy.wait_exit())
            self.assertIn(f"cannot listen on '127.0.0.1:{port}'", proxy.output)
            self.assertNotIn("Traceback", proxy.output)

    def test_address_lost_while_waiting(self) -> Deferred[Any]:
        """An address that another process takes before the clusters are ready ends the start, exit
        status 1.
        """
        return deferToThread(self.address_lost)

    def test_strict(self) -> Deferred[Any]:
        """STRICT_DNS waits for its first answer, follows the records, and keeps its hosts where
        nobody answers.
        """
        return self.follow("STRICT_DNS")

    def test_logical(self) -> Deferred[Any]:
        """So does LOGICAL_DNS."""
        return self.follow("LOGICAL_DNS")


def greeting(port: int) -> bytes:
    """All that a client of this port is sent."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.settimeout(10)
        return b"".join(iter(lambda: sock.recv(100), b""))
