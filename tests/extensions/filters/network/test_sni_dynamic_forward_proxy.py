"""The filter sni_dynamic_forward_proxy with its cluster: clients that ask for a server by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.names import cache
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.registry import BrokenExtension
from tcpmesh.testing.harness import Server
from tcpmesh.testing.mesh import Mesh
from tcpmesh.wire.names import Found
from tests.dynamic_names import FRONT, Dynamic, filter_state
from tests.listener.test_sni_router import hello
from tests.names import Names

ROOT = Path(__file__).resolve().parents[4]
HOST, PORT = "envoy.upstream.dynamic_host", "envoy.upstream.dynamic_port"


class DynamicTestCase(SynchronousTestCase):
    """A proxy, name servers, and two hosts."""

    def setUp(self) -> None:
        """The names that there are."""
        self.names = Names(
            **{"a.test": ["127.0.1.1"], "b.test": ["127.0.1.2"], "failing.test": None}
        )
        self.dynamic = Dynamic()

    def serve(self, workers: int = 1) -> Mesh:
        """The proxy and the hosts."""
        self.mesh = self.dynamic.serve(self, self.names, workers)
        self.hosts: dict[str, Server] = {
            each: self.mesh.upstream(f"{each}:443") for each in ("127.0.1.1", "127.0.1.2")
        }
        return self.mesh

    def connect(self, name: str | None, first: bytes | None = None) -> Any:
        """A client that asks for this name, or sends something else."""
        client = self.mesh.connect(FRONT)
        client.transport.write(hello(name) if first is None else first)
        self.mesh.pump()
        return client

    def reached(self) -> list[int]:
        """How many clients each host has had."""
        return [len(each.built) for each in self.hosts.values()]

    def told(self, client: Any) -> str:
        """The record of a client, once it has left."""
        client.transport.abortConnection()
        self.mesh.pump()
        return self.mesh.logged("/log")[-1].strip()

    def counted(self) -> dict[str, int]:
        """What the cache has counted."""
        return self.mesh.moved("dns_cache.c.")


class SniDynamicForwardProxyTests(DynamicTestCase):
    """Clients and their hosts."""

    def test_by_name(self) -> None:
        """Each client gets to the server that it asks for, and what it has sent goes there."""
        self.serve()
        first = hello("A.test")
        client = self.connect(None, first)
        self.connect("b.test")
        self.assertEqual([1, 1], self.reached())
        self.assertEqual(first, bytes(self.hosts["127.0.1.1"].built[0].received))
        self.assertEqual("- 127.0.1.1:443 a.test:443 a.test 443 [-]", self.told(client))
        self.assertEqual(["a.test", "b.test"], [name for name, _ in self.names.asked])

    def test_waits(self) -> None:
        """Clients wait until their name is known, and it is looked up once for all of them."""
        self.names.held = []
        self.serve()
        clients = [self.connect("a.test") for _ in range(3)]
        self.assertEqual((1, 3), (len(self.names.held), self._waiting()))
        self.names.held[0].callback((Found("127.0.1.1"),))
        self.mesh.pump()
        self.assertEqual(([3, 0], 0), (self.reached(), self._waiting()))
        self.assertFalse(any(each.ended for each in clients))

    def _waiting(self) -> int:
        return 1024 - self.mesh.stat("dns_cache.c.circuit_breakers.rq_pending_remaining")

    def test_gone_meanwhile(self) -> None:
        """A client that leaves while it waits counts until there is an answer, as in Envoy."""
        self.names.held = []
        self.serve()
        client = self.connect("a.test")
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual((1, []), (self._waiting(), self.mesh.logged("/log")))
        self.names.held[0].callback((Found("127.0.1.1"),))
        self.mesh.pump()
        self.assertEqual((0, 1), (self._waiting(), len(self.mesh.logged("/log"))))

    def test_not_found(self) -> None:
        """A name that has no address, or cannot be looked up, has no host (UH); nor has a client
        without a name.
        """
        self.serve()
        for name in ("nobody.test", "failing.test"):
            client = self.connect(name)
            self.assertTrue(client.lost_to(ConnectionLost), client.reason)
            record = f"UH - - {name} 443 [tcp_initializion_failure:1]"
            self.assertEqual(record, self.mesh.logged("/log")[-1].strip())
        for first in (hello(None), b"GET / HTTP/1.1\r\n\r\n"):
            self.assertTrue(self.connect(None, first).ended)
            record = "UH - - - - [tcp_initializion_failure:1]"
            self.assertEqual(record, self.mesh.logged("/log")[-1].strip())
        self.assertEqual(4, self.mesh.stat("cluster.dynamic.upstream_cx_none_healthy"))

    def test_timeout(self) -> None:
        """Who waits for a server that nobody knows is let go after `dns_query_timeout`."""
        self.names.held = []
        self.dynamic.cache["dns_query_timeout"] = "2s"
        self.serve()
        client = self.connect("a.test")
        self.mesh.advance(1.9)
        self.assertFalse(client.ended)
        self.mesh.advance(0.1)
        self.assertTrue(client.ended)
        self.assertIn("UH - - a.test", self.mesh.logged("/log")[-1])
        self.names.held[0].addErrback(lambda failure: None)

    def test_no_room(self) -> None:
        """A client for a name too many is closed, and those for others go on."""
        self.dynamic.cache["max_hosts"] = 1
        self.serve()
        self.connect("a.test")
        client = self.connect("b.test")
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)
        self.assertEqual("- - - b.test 443 [-]", self.mesh.logged("/log")[-1].strip())
        self.connect("a.test")
        self.assertEqual([2, 0], self.reached())
        self.assertEqual(1, self.counted()["host_overflow"])

    def test_pending(self) -> None:
        """Where too many wait already, a client is closed, also one for a name that is known."""
        self.names.held = []
        self.dynamic.cache["dns_cache_circuit_breaker"] = {"max_pending_requests": 1}
        self.serve()
        self.connect("a.test")
        self.assertEqual(1, self.counted()["circuit_breakers.rq_pending_open"])
        self.assertTrue(self.connect("a.test").ended)
        self.assertEqual("- - - a.test - [-]", self.mesh.logged("/log")[-1].strip())
        self.assertEqual(1, self.counted()["dns_rq_pending_overflow"])
        self.names.held[0].callback((Found("127.0.1.1"),))
        self.mesh.pump()
        self.connect("a.test")
        self.assertEqual([2, 0], self.reached())

    def test_flood(self) -> None:
        """Any number of names leaves no more behind than there is room for."""
        self.dynamic.cache.update(max_hosts=10, host_ttl="10s")
        self.serve()
        for number in range(30):
            self.connect(f"n{number}.test")
        self.assertEqual((10, 20), (self.counted()["num_hosts"], self.counted()["host_overflow"]))
        self.mesh.advance(60)
        self.assertNotIn("num_hosts", self.counted())
        self.connect("a.test")
        self.assertEqual([1, 0], self.reached())

    def test_in_use(self) -> None:
        """A name that clients ask for again and again stays."""
        self.dynamic.cache["host_ttl"] = "10s"
        self.serve()
        for _ in range(8):
            self.connect("a.test")
            self.mesh.advance(4)
        self.assertEqual((1, [8, 0]), (self.counted()["host_added"], self.reached()))

    def test_filter_state(self) -> None:
        """Filter state goes before the name, and before the port."""
        self.dynamic.filters[:0] = [filter_state(HOST, "b.test"), filter_state(PORT, "443")]
        self.dynamic.sni["port_value"] = 9
        self.serve()
        client = self.connect("a.test")
        self.assertEqual([0, 1], self.reached())
        self.assertEqual("- 127.0.1.2:443 b.test:443 a.test 443 [-]", self.told(client))

    def test_port_that_is_none(self) -> None:
        """A port in filter state that is none does not count."""
        self.dynamic.filters.insert(0, filter_state(PORT, "70000"))
        self.serve()
        self.connect("a.test")
        self.assertEqual([1, 0], self.reached())

    def test_port_in_the_name(self) -> None:
        """A name may bring its own port, as in Envoy."""
        self.dynamic.filters.insert(0, filter_state(HOST, "a.test:444"))
        self.serve()
        host = self.mesh.upstream("127.0.1.1:444")
        self.connect("x.test")
        self.assertEqual(1, len(host.built))

    def test_without_port(self) -> None:
        """Without any port there is no host."""
        del self.dynamic.sni["port_value"]
        self.serve()
        self.connect("a.test")
        self.assertEqual(
            "UH - - a.test 0 [tcp_initializion_failure:1]", self.mesh.logged("/log")[-1].strip()
        )

    def test_moved(self) -> None:
        """A name that has another address now is connected to there, and the host of before is
        gone.
        """
        self.serve()
        self.connect("a.test")
        self.names.records["a.test"] = ["127.0.1.2"]
        self.mesh.advance(5)
        self.connect("a.test")
        self.assertEqual([1, 1], self.reached())
        self.assertEqual(["127.0.1.2:443"], self._shown())

    def _shown(self) -> list[str]:
        (status,) = self.mesh.main.cluster_statuses()
        return [str(each.address) for each in status.hosts]

    def test_one_address(self) -> None:
        """Two names with one address are two hosts."""
        self.names.records["b.test"] = ["127.0.1.1"]
        self.serve()
        for name in ("a.test", "b.test"):
            self.connect(name)
        self.mesh.advance(1)
        self.assertEqual(["127.0.1.1:443"] * 2, self._shown())
        (status,) = self.mesh.main.cluster_statuses()
        self.assertEqual(["a.test:443", "b.test:443"], [each.hostname for each in status.hosts])
        self.assertEqual([2, 0], self.reached())

    def test_further_addresses(self) -> None:
        """The further addresses of a name are tried in the same attempt."""
        self.names.records["a.test"] = ["127.0.1.9", "127.0.1.2"]
        self.serve()
        client = self.connect("a.test")
        self.assertEqual([0, 1], self.reached())
        self.assertIn("127.0.1.9:443 a.test:443", self.told(client))

    def test_first(self) -> None:
        """Names to be looked up before anybody asks are hosts from the start."""
        self.dynamic.cache["preresolve_hostnames"] = [{"address": "a.test", "port_value": 443}]
        self.serve()
        self.assertEqual(["127.0.1.1:443"], self._shown())
        self.connect("a.test")
        self.assertEqual(1, len(self.names.asked))

    def test_several_workers(self) -> None:
        """Several workers have one cache, and one that joins later knows what they know."""
        self.serve(workers=2)
        for _ in range(4):
            self.connect("a.test")
        self.assertEqual([4, 0], self.reached())
        self.assertEqual(1, len(self.names.asked))
        self.mesh.replace_worker(0)
        for _ in range(2):
            self.connect("a.test")
        self.assertEqual([6, 0], self.reached())
        self.assertEqual(1, len(self.names.asked))
        self.assertEqual(1, self.counted()["num_hosts"])

    def test_several_workers_wait(self) -> None:
        """Clients of several workers wait for one answer, and all who wait count."""
        self.names.held = []
        self.dynamic.cache["dns_cache_circuit_breaker"] = {"max_pending_requests": 2}
        self.serve(workers=2)
        clients = [self.connect("a.test") for _ in range(3)]
        self.assertEqual([False, False, True], [each.ended for each in clients])
        self.names.held[0].errback(ResolutionFailed("no server"))
        self.mesh.pump()
        self.assertTrue(all(each.ended for each in clients))

    def test_example(self) -> None:
        """configs/dynamic-forward-proxy.yaml lets out for the names that it says, and for no
        other.
        """
        self.names.records["www.example.com"] = ["127.0.1.1"]
        self.patch(cache, "resolver_for", lambda message, context: self.names)
        mesh = Mesh((ROOT / "configs" / "dynamic-forward-proxy.yaml").read_text())
        self.addCleanup(mesh.main.names.stop)
        host = mesh.upstream("127.0.1.1:443")
        for name in ("www.example.com", "localhost"):
            mesh.connect("127.0.0.1:10443").transport.write(hello(name))
            mesh.pump()
        self.assertEqual((1, 1), (len(host.built), len(self.names.asked)))

    def test_different_settings(self) -> None:
        """A cache that is configured in two ways is refused."""
        self.dynamic.sni["dns_cache_config"] = {**self.dynamic.cache, "max_hosts": 3}
        error = self.assertRaises(ConfigError, self.serve)
        self.assertIn("has other settings elsewhere", str(error))

    def test_another_listener(self) -> None:
        """A listener or a cluster that comes later with other settings of a cache is refused, and
        those that are there go on.
        """
        mesh = self.serve()
        other = Dynamic()
        other.listener["name"] = "other"
        other.listener["address"]["socket_address"]["port_value"] = 2
        for config in (other.sni, other.cluster["cluster_type"]["typed_config"]):
            config["dns_cache_config"] = {**other.cache, "max_hosts": 3}
        resources = Mesh(other.text(), start=False).bootstrap.static_resources
        listener, cluster = resources.listeners[0], resources.clusters[0]
        self.assertRaises(BrokenExtension, mesh.listeners.add_or_update, listener)
        self.assertRaises(BrokenExtension, mesh.clusters.add_or_update, cluster)
        self.connect("a.test")
        self.assertEqual([1, 0], self.reached())


class ClusterAloneTests(DynamicTestCase):
    """The cluster without the filter."""

    def setUp(self) -> None:
        """Nobody waits for names."""
        super().setUp()
        del self.dynamic.filters[0]
        self.dynamic.filters.insert(0, filter_state(PORT, "443"))

    def test_second_client(self) -> None:
        """The first client of a name finds no host, and has it looked up for others."""
        self.serve()
        self.names.held = []
        self.assertTrue(self.connect("a.test").ended)
        self.names.held[0].callback((Found("127.0.1.1"),))
        self.connect("a.test")
        self.assertEqual([1, 0], self.reached())

    def test_default_port(self) -> None:
        """Where nobody says a port it is 80, or 443 with TLS to the host."""
        del self.dynamic.filters[0]
        self.serve()
        self.connect("a.test")
        self.mesh.advance(1)
        (status,) = self.mesh.main.cluster_statuses()
        self.assertEqual(["127.0.1.1:80"], [str(each.address) for each in status.hosts])

    def test_no_name(self) -> None:
        """A client without a name has no host."""
        self.serve()
        self.connect(None)
        self.assertIn("UH", self.mesh.logged("/log")[-1])
        self.assertEqual([], self.names.asked)


class FilterAloneTests(DynamicTestCase):
    """The filter without the cluster."""

    def test_elsewhere(self) -> None:
        """A client waits for its name all the same, and goes where tcp_proxy says."""
        self.dynamic.cluster.clear()
        address = {"socket_address": {"address": "127.0.1.2", "port_value": 443}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        assignment = {"cluster_name": "dynamic", "endpoints": endpoints}
        self.dynamic.cluster.update(name="dynamic", load_assignment=assignment)
        self.serve()
        self.connect("a.test")
        self.connect("nobody.test")
        self.assertEqual([0, 2], self.reached())
        self.assertEqual(2, self.counted()["dns_query_success"])
