"""DNS caches in main: what is looked up, when again, and when forgotten."""

from __future__ import annotations

from typing import Any

from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from google.protobuf.json_format import ParseDict

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.names.cache import NameCache, NameCaches
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.registry import BrokenExtension, MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tcpmesh.values.link import Names, NamesGone, NameState, NameWanted, OpenNames, ToWorker
from tcpmesh.wire.names import Found
from tests.names import Names as Resolver

ONE = Address("127.0.0.1", 80)


class CacheTestCase(SynchronousTestCase):
    """A cache with a resolver that answers as told."""

    def setUp(self) -> None:
        """The names that there are."""
        self.names = Resolver(a=["127.0.0.1"], b=["127.0.0.2", "127.0.0.3"], failing=None)
        self.network = MemoryNetwork()
        self.store = Store()
        self.context = MainContext(self.network, self.store, resolver=self.names)
        self.told: list[ToWorker] = []

    def cache(self, **fields: Any) -> NameCache:
        """A cache with these fields."""
        self.message = ParseDict({"name": "c", **fields}, DnsCacheConfig())
        self.made = NameCache(self.message, self.context, self.told.append)
        self.addCleanup(self.made.stop)
        return self.made

    def news(self) -> list[Any]:
        """What was told since this was last asked: (key, hosts), and keys that are gone."""
        found: list[Any] = []
        for each in self.told:
            if isinstance(each, Names):
                found += [(s.key, *(a.host for a in s.addresses)) for s in each.names]
            elif isinstance(each, NamesGone):
                found += each.keys
        self.told.clear()
        return found

    def counted(self) -> dict[str, int]:
        """What is not 0."""
        prefix = "dns_cache.c."
        return {
            name.removeprefix(prefix): value
            for name, value in values_of(self.store).items()
            if name.startswith(prefix) and value
        }


class CacheTests(CacheTestCase):
    """One cache."""

    def test_found(self) -> None:
        """A name is looked up once, and all its addresses are told, with the port of its key."""
        cache = self.cache()
        cache.want("b:80")
        state = NameState("b:80", (Address("127.0.0.2", 80), Address("127.0.0.3", 80)))
        self.assertEqual([Names("c", (state,))], self.told)
        cache.want("b:81")
        self.assertEqual(2, len(self.names.asked))
        self.assertEqual(
            {
                "dns_query_attempt": 2,
                "dns_query_success": 2,
                "host_added": 2,
                "host_address_changed": 2,
                "num_hosts": 2,
            },
            self.counted(),
        )

    def test_asked_again(self) -> None:
        """Who asks for what is known is told it again, and it is not looked up once more."""
        cache = self.cache()
        for _ in range(2):
            cache.want("a:80")
            self.assertEqual([("a:80", "127.0.0.1")], self.news())
        self.assertEqual(1, len(self.names.asked))

    def test_none(self) -> None:
        """A name without an address is known to have none, which is a success, and is looked up
        again after the refresh rate.
        """
        self.cache().want("nobody:80")
        self.assertEqual([("nobody:80",)], self.news())
        self.assertEqual(1, self.counted()["dns_query_success"])
        self.network.advance(59)
        self.assertEqual(1, len(self.names.asked))
        self.network.advance(1)
        self.assertEqual(2, len(self.names.asked))

    def test_failure(self) -> None:
        """A failure is told as a name without addresses, and tried again after the refresh rate, or
        with back-off.
        """
        self.cache().want("failing:80")
        self.assertEqual([("failing:80",)], self.news())
        self.assertEqual(1, self.counted()["dns_query_failure"])
        self.network.advance(60)
        self.assertEqual(2, len(self.names.asked))
        self.assertEqual([], self.news())

    def test_backoff(self) -> None:
        """With `dns_failure_refresh_rate` the waits after failures grow."""
        self.cache(dnsFailureRefreshRate={"baseInterval": "1s", "maxInterval": "4s"}).want(
            "failing:1"
        )
        for _ in range(100):
            self.network.advance(1)
        self.assertLess(25, len(self.names.asked))
        self.assertGreater(101, len(self.names.asked))

    def test_forgotten_failure(self) -> None:
        """With `disable_dns_refresh_on_failure` a name that fails is not kept."""
        self.cache(disableDnsRefreshOnFailure=True).want("failing:80")
        self.assertEqual([("failing:80",), "failing:80"], self.news())
        self.assertNotIn("num_hosts", self.counted())

    def test_failure_keeps_addresses(self) -> None:
        """A name that was found keeps its addresses where it cannot be looked up any more, or has
        none.
        """
        cache = self.cache()
        cache.want("a:80")
        self.news()
        answers: tuple[list[str] | None, ...] = (None, [])
        for records in answers:
            self.names.records["a"] = records
            self.network.advance(60)
        self.assertEqual([("a:80", (ONE,))], list(cache.hosts()))
        self.assertEqual([], self.news())

    def test_change(self) -> None:
        """Other addresses are told, and who follows the cache hears of it."""
        cache = self.cache()
        changes: list[int] = []
        end = cache.follow(lambda: changes.append(1))
        cache.want("a:80")
        self.names.records["a"] = ["127.0.0.9"]
        self.network.advance(5)
        self.assertEqual([("a:80", "127.0.0.1"), ("a:80", "127.0.0.9")], self.news())
        self.assertEqual(2, len(changes))
        end()
        self.names.records["a"] = ["127.0.0.8"]
        self.network.advance(5)
        self.assertEqual(2, len(changes))

    def test_time_to_live(self) -> None:
        """An answer holds as long as it says, and 5 s at least, or `dns_min_refresh_rate`."""
        for ttl, fields, wait in (
            (0, {}, 5),
            (7, {}, 7),
            (2, {"dnsMinRefreshRate": "1s"}, 2),
            (300, {"dnsRefreshRate": "1s"}, 300),
        ):
            self.names.ttl, self.names.asked = ttl, []
            cache = self.cache(**fields, hostTtl="1000s")
            cache.want("a:80")
            self.network.advance(wait - 0.5)
            self.assertEqual(1, len(self.names.asked), fields)
            self.network.advance(0.5)
            self.assertEqual(2, len(self.names.asked), fields)
            cache.stop()

    def test_unused(self) -> None:
        """A name that nobody has asked for in its time is forgotten when it would be looked up
        again.
        """
        cache = self.cache(hostTtl="12s")
        cache.want("a:80")
        self.network.advance(5)
        cache.want("a:80")
        self.network.advance(5)
        self.network.advance(5)
        self.assertEqual(4, len(self.names.asked))
        self.news()
        self.network.advance(5)
        self.assertEqual(["a:80"], self.news())
        self.assertEqual(1, self.counted()["host_removed"])
        self.assertEqual([], list(cache.hosts()))
        self.network.advance(1000)
        self.assertEqual(4, len(self.names.asked))

    def test_room(self) -> None:
        """A name too many is not looked up, nor is one that is too long, and who asks is told
        so.
        """
        cache = self.cache(maxHosts=1)
        cache.want("a:80")
        self.told.clear()
        for key in ("b:80", "x" * 300 + ":80"):
            cache.want(key)
            self.assertEqual([Names("c", (NameState(key, (), has_room=False),))], self.told)
            self.told.clear()
        self.assertEqual((1, 2), (len(self.names.asked), self.counted()["host_overflow"]))

    def test_timeout(self) -> None:
        """A question is given up after `dns_query_timeout`, whatever the resolver makes of that:
        what it says later is not heard.
        """

        class Deaf(Deferred[Any]):
            def cancel(self) -> None:
                pass

        deaf: Deaf = Deaf()
        self.patch(self.names, "resolve", lambda name, family: deaf)
        self.cache(dnsQueryTimeout="2s").want("a:80")
        self.network.advance(1.9)
        self.assertEqual([], self.news())
        self.network.advance(0.1)
        self.assertEqual([("a:80",)], self.news())
        counted = self.counted()
        self.assertEqual((1, 1), (counted["dns_query_timeout"], counted["dns_query_failure"]))
        deaf.callback((Found("127.0.0.1"),))
        self.assertEqual([], self.news())

    def test_patience(self) -> None:
        """A timeout of 0 leaves it to the resolver when to give up."""
        self.names.held = []
        self.cache(dnsQueryTimeout="0s").want("a:80")
        self.network.advance(100)
        self.assertEqual([], self.news())
        self.names.held[0].errback(ResolutionFailed("no server"))
        self.assertEqual([("a:80",)], self.news())

    def test_stopped(self) -> None:
        """A cache that is stopped asks and tells no more, and leaves no timer."""
        self.names.held = []
        cache = self.cache()
        cache.want("a:80")
        cache.want("b:80")
        self.names.held[0].callback((Found("127.0.0.1"),))
        cache.stop()
        self.news()
        self.assertEqual([], self.network.clock.getDelayedCalls())
        self.assertEqual([], self.news())

    def test_first(self) -> None:
        """Names to be looked up before anybody asks are, and a worker that joins is told of all
        that are known.
        """
        hosts = [{"address": "a", "portValue": 80}, {"address": "failing", "portValue": 1}]
        cache = self.cache(preresolveHostnames=hosts)
        states = (NameState("a:80", (ONE,)), NameState("failing:1", ()))
        self.assertEqual([Names("c", states)], list(cache.present()))

    def test_a_bug(self) -> None:
        """A resolver that raises has failed."""
        self.patch(self.names, "resolve", lambda name, family: [][0])
        self.cache().want("a:80")
        self.assertEqual([("a:80",)], self.news())


class CachesTests(CacheTestCase):
    """All caches."""

    def test_by_name(self) -> None:
        """There is one cache of a name, and another configuration of that name is refused."""
        caches = NameCaches(self.told.append)
        caches.serve(self.context)
        self.addCleanup(caches.stop)
        one = caches.get(DnsCacheConfig(name="c"))
        self.assertIs(one, caches.get(DnsCacheConfig(name="c")))
        other = ParseDict({"name": "c", "maxHosts": 3}, DnsCacheConfig())
        self.assertRaises(BrokenExtension, caches.get, other)

    def test_messages(self) -> None:
        """A worker opens caches and asks for names; what nobody has opened is not looked up."""
        caches = NameCaches(self.told.append)
        caches.serve(self.context)
        self.addCleanup(caches.stop)
        open_, want = (caches.receivers[kind] for kind in (OpenNames, NameWanted))
        want(NameWanted("c", "a:80"))
        self.assertEqual([], self.names.asked)
        open_(OpenNames(DnsCacheConfig(name="c")))
        want(NameWanted("c", "a:80"))
        self.assertEqual([("a:80", "127.0.0.1")], self.news())
        open_(OpenNames(DnsCacheConfig(name="c")))
        self.assertEqual([("a:80", "127.0.0.1")], self.news())
        open_(OpenNames(ParseDict({"name": "c", "maxHosts": 3}, DnsCacheConfig())))
        self.assertEqual([], self.news())
