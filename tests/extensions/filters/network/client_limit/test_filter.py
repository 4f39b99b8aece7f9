"""client_limit before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost

from tests.extensions.filters.network.filtered import (
    FilteredTestCase,
    listener_filter,
    tcp_proxy,
    typed,
)
from tests.listener.test_sni_router import hello

ONE, TWO = "10.0.0.1", "10.0.0.2"
TYPE = "tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit"


def limit(**fields: Any) -> dict[str, Any]:
    """The filter."""
    return typed(TYPE, **{"stat_prefix": "p", **fields})


def rate(most: int, seconds: float) -> dict[str, Any]:
    """So many new connections at once, and one more each so many seconds."""
    return {"new_connections": {"max_tokens": most, "fill_interval": f"{seconds}s"}}


class LimitTestCase(FilteredTestCase):
    """A test of what such a filter does."""

    def stats(self) -> dict[str, int]:
        """Its statistics, without those that are 0."""
        return {name: value for name, value in self.mesh.stats("client_limit.p.").items() if value}

    def connect(self, source: str = "") -> Any:
        """A client."""
        client = super().connect(source)
        self.clients = [*getattr(self, "clients", ()), client]
        return client

    def ended(self, *sources: str) -> list[bool]:
        """Connect from each of these, and tell which were closed."""
        return [client.ended for client in [self.connect(source) for source in sources]]

    def all_leave(self) -> None:
        """All connections end."""
        for client in self.clients:
            client.transport.loseConnection()
        self.mesh.pump()
        self.end_hosts()


class ConnectionsTests(LimitTestCase):
    """So many connections of a client at a time."""

    def test_names(self) -> None:
        """All statistics are there from the start."""
        self.serve(limit(max_connections=1), tcp_proxy())
        self.assertEqual(
            {
                "active_connections",
                "entries",
                "entries_evicted",
                "entries_overflow",
                "limited_connections",
                "queue_overflow",
                "queue_timeout",
                "queued",
                "rate_limited",
                "waiting_connections",
            },
            set(self.mesh.stats("client_limit.p.")),
        )

    def test_each_client(self) -> None:
        """Each client has so many; one too many is closed without an upstream, and hurts nobody
        else; one that ends makes room, and who has none left is forgotten.
        """
        self.serve(limit(max_connections=2), tcp_proxy())
        kept = [self.connect(ONE) for _ in range(2)]
        self.assertEqual([True, False, False, True], self.ended(ONE, TWO, TWO, TWO))
        self.assertEqual(4, len(self.host.built))
        self.assertEqual(
            {"active_connections": 4, "limited_connections": 2, "entries": 2}, self.stats()
        )
        self.leave(kept[0])
        self.assertEqual([False], self.ended(ONE))
        self.all_leave()
        self.assertEqual({"limited_connections": 2}, self.stats())

    def test_why(self) -> None:
        """The log of a connection too many says so, and whose it was."""
        self.serve(limit(max_connections=1), tcp_proxy())
        self.ended(ONE, ONE)
        self.assertEqual(
            ["RL - client_limit[10.0.0.1] client_limit_over_connections"], self.logged()
        )

    def test_reset(self) -> None:
        """With RESET a connection too many is reset, with CLOSE closed."""
        for answer, is_reset in (("RESET", True), ("CLOSE", False)):
            self.serve(limit(max_connections=1, over_limit=answer), tcp_proxy())
            self.connect(ONE)
            client = self.connect(ONE)
            self.assertEqual((True, is_reset), (client.ended, client.lost_to(ConnectionLost)))

    def test_prefixes(self) -> None:
        """With a prefix length all addresses of a network are one client, and those of IPv6 are
        one by 64 bits where nothing is said.
        """
        self.serve(limit(max_connections=1, ipv4_prefix_len=24), tcp_proxy())
        self.assertEqual([False, True, False], self.ended(ONE, TWO, "10.0.1.1"))
        self.assertEqual(
            ["RL - client_limit[10.0.0.0/24] client_limit_over_connections"], self.logged()
        )
        self.serve(limit(max_connections=1), tcp_proxy())
        sources = "2001:db8:1:2::1", "2001:db8:1:2:3::1", "2001:db8:1:3::1"
        self.assertEqual([False, True, False], self.ended(*sources))
        self.serve(limit(max_connections=1, ipv6_prefix_len=128), tcp_proxy())
        self.assertEqual([False, False, False], self.ended(*sources))

    def test_exempt(self) -> None:
        """Exempt networks are not limited, nor counted."""
        exempt = [{"address_prefix": "10.0.0.0", "prefix_len": 31}]
        self.serve(limit(max_connections=1, exempt=exempt), tcp_proxy())
        self.assertEqual([False, False, False, True], self.ended(ONE, ONE, TWO, TWO))
        self.assertEqual(1, self.stats()["active_connections"])

    def test_runtime(self) -> None:
        """While the runtime switches it off nobody is closed, nor counted."""
        self.serve(
            limit(max_connections=1, runtime_enabled={"default_value": True, "runtime_key": "k"}),
            tcp_proxy(),
            layered_runtime={"layers": [{"name": "s", "static_layer": {"k": False}}]},
        )
        self.assertEqual([False, False], self.ended(ONE, ONE))
        self.assertEqual({}, self.stats())
        self.mesh.worker.context.runtime.update({"k": None})
        self.assertEqual([False, True], self.ended(ONE, ONE))

    def test_shadow_mode(self) -> None:
        """In shadow mode connections too many are counted, and let in."""
        self.serve(limit(max_connections=1, shadow_mode=True), tcp_proxy())
        self.assertEqual([False, False], self.ended(ONE, ONE))
        self.assertEqual(
            {"active_connections": 2, "limited_connections": 1, "entries": 1}, self.stats()
        )
        self.all_leave()
        self.assertEqual({"limited_connections": 1}, self.stats())

    def test_unlimited(self) -> None:
        """Where nothing is limited connections are counted, and nobody is closed."""
        self.serve(limit(), tcp_proxy())
        self.assertEqual([False] * 3, self.ended(ONE, ONE, ONE))
        self.assertEqual({"active_connections": 3, "entries": 1}, self.stats())

    def test_full_table(self) -> None:
        """Where all clients that are known have connections, a new one is not counted, and that
        is said.
        """
        self.serve(limit(max_connections=1, max_entries=1), tcp_proxy())
        self.assertEqual([False, False, False, True], self.ended(ONE, TWO, TWO, ONE))
        self.assertEqual(2, self.stats()["entries_overflow"])


class ServerNameTests(LimitTestCase):
    """Clients by the server name that they ask for."""

    def test_names_of_servers(self) -> None:
        """Connections for one name, however it is written, are one client's; those without one are
        not limited.
        """
        self.serve(
            limit(client="SERVER_NAME", max_connections=1),
            tcp_proxy(),
            listener={"listener_filters": [listener_filter("tls_inspector.v3.TlsInspector")]},
        )
        said = hello("one.test"), hello("ONE.test"), hello("two.test"), b"plain", b"plain"
        ended = [self.say(self.connect(ONE), first).ended for first in said]
        self.assertEqual([False, True, False, False, False], ended)
        self.assertEqual(
            ["RL - client_limit[one.test] client_limit_over_connections"], self.logged()
        )


class RateTests(LimitTestCase):
    """So many new connections of a client in a time."""

    def test_rate(self) -> None:
        """Each client has a bucket of its own, whose tokens come back evenly."""
        self.serve(limit(**rate(2, 4)), tcp_proxy())
        self.assertEqual([False, False, True, False], self.ended(ONE, ONE, ONE, TWO))
        self.assertEqual(["RL - client_limit[10.0.0.1] client_limit_over_rate"], self.logged())
        self.mesh.advance(4)
        self.assertEqual([False, True], self.ended(ONE, ONE))
        self.assertEqual(2, self.stats()["rate_limited"])

    def test_forgotten(self) -> None:
        """A client without connections is forgotten once its bucket is full again, and not
        before.
        """
        self.serve(limit(**rate(2, 4)), tcp_proxy())
        self.leave(self.connect(ONE))
        self.mesh.advance(7.9)
        self.assertEqual(1, self.stats()["entries"])
        self.mesh.advance(0.2)
        self.assertEqual({}, self.stats())

    def test_evicted(self) -> None:
        """Where there are too many clients the one is forgotten that came longest ago."""
        self.serve(limit(**rate(1, 9), max_entries=2), tcp_proxy())
        for source in (ONE, TWO, ONE):
            self.leave(self.connect(source))
        self.leave(self.connect("10.0.0.3"))
        self.assertEqual((2, 1), (self.stats()["entries"], self.stats()["entries_evicted"]))
        self.assertEqual([True, False], self.ended(ONE, TWO))

    def test_both(self) -> None:
        """Either limit holds; a connection that is one too many takes no token."""
        self.serve(limit(max_connections=1, **rate(2, 100)), tcp_proxy())
        first = self.connect(ONE)
        self.assertEqual([True], self.ended(ONE))
        self.leave(first)
        second = self.connect(ONE)
        self.assertFalse(second.ended)
        self.leave(second)
        self.assertEqual([True], self.ended(ONE))
        self.assertEqual(
            (1, 1), (self.stats()["limited_connections"], self.stats()["rate_limited"])
        )


class ShareKeyTests(LimitTestCase):
    """Filters that count together."""

    def test_one_table(self) -> None:
        """Those with one key and equal limits count a client together, and show the clients that
        they know by that key.
        """
        share = {"share_key": "k", "max_connections": 2}
        self.serve(
            limit(**share),
            limit(**share, stat_prefix="q"),
            limit(**{**share, "max_connections": 5}, stat_prefix="r"),
            tcp_proxy(),
        )
        self.assertEqual([False, True], self.ended(ONE, ONE))
        self.assertEqual(1, self.mesh.stat("client_limit.p.limited_connections"))
        self.all_leave()
        self.assertEqual(0, self.mesh.stat("client_limit.k.entries"))

    def test_removed(self) -> None:
        """With its filters a table is gone, whoever is still connected."""
        self.serve(limit(share_key="k", max_connections=2), tcp_proxy())
        self.connect(ONE)
        self.mesh.listeners.remove("l")
        self.assertEqual([], self.mesh.worker.context.limits.all())
        self.all_leave()
        self.assertEqual({}, self.mesh.stats("client_limit."))
