"""ROUND_ROBIN."""

from __future__ import annotations

from collections import Counter
from random import Random

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.load_balancing_policies.round_robin import RoundRobin
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import Context
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory import MemoryNetwork
from tests.mesh import MeshTestCase, tcp_proxy

HOSTS = ("127.0.0.2:80", "127.0.0.3:80", "127.0.0.4:80")


def round_robin(seed: int, hosts: str) -> RoundRobin:
    """The policy over these letters."""
    context = Context(MemoryNetwork(), Store(), lambda name: None, Random(seed))
    made = RoundRobin.from_cluster(None, context)
    made.update(tuple(hosts))
    return made


def picks(policy: RoundRobin, times: int) -> str:
    """So many picks."""
    return "".join(policy.pick(None) for _ in range(times))


class RoundRobinTests(SynchronousTestCase):
    """The policy alone."""

    def test_interface(self) -> None:
        """It is a load balancer."""
        verifyObject(ILoadBalancer, round_robin(1, "ab"))

    def test_takes_turns(self) -> None:
        """Each host is picked once before any is picked again, in the order of the hosts."""
        made = picks(round_robin(1, "abcd"), 12)
        self.assertIn(made[:4], "abcdabcd")
        self.assertEqual(made[:4] * 3, made)

    def test_begins_anywhere(self) -> None:
        """The first pick is random, so that many proxies do not march in step."""
        first = Counter(picks(round_robin(seed, "abcd"), 1) for seed in range(400))
        self.assertEqual(4, len(first))
        self.assertTrue(all(60 < times < 140 for times in first.values()), first)

    def test_no_hosts(self) -> None:
        """Without hosts there is no pick, until there are some."""
        policy = round_robin(1, "")
        self.assertIsNone(policy.pick(None))
        policy.update(("a",))
        self.assertEqual("aa", picks(policy, 2))

    def test_update(self) -> None:
        """When hosts come or go, the rotation goes on over those there are."""
        policy = round_robin(1, "abcd")
        picks(policy, 3)
        policy.update(("a", "b"))
        self.assertEqual({"a": 3, "b": 3}, dict(Counter(picks(policy, 6))))
        policy.update(tuple("abcde"))
        self.assertEqual(dict.fromkeys("abcde", 2), dict(Counter(picks(policy, 10))))


class SharedRotationTests(MeshTestCase):
    """The policy in a cluster."""

    def test_shared_by_listeners(self) -> None:
        """Listeners that use one cluster share its rotation: their clients together take turns."""
        self.mesh.add_cluster("c", *HOSTS)
        upstreams = [self.mesh.upstream(host) for host in HOSTS]
        for port in (1, 2):
            self.mesh.add_listener(f"l{port}", f"127.0.0.1:{port}", tcp_proxy())
        self.mesh.listeners.start()
        for _ in range(3):
            for port in (1, 2):
                self.mesh.connect(f"127.0.0.1:{port}")
        self.assertEqual([2, 2, 2], [len(upstream.built) for upstream in upstreams])

    def test_host_named_twice(self) -> None:
        """A host that a STATIC cluster names twice is two hosts, and gets twice as many clients."""
        self.mesh.add_cluster("c", HOSTS[0], HOSTS[1], HOSTS[0])
        upstreams = [self.mesh.upstream(host) for host in HOSTS[:2]]
        self.mesh.serve()
        for _ in range(6):
            self.mesh.connect()
        self.assertEqual([4, 2], [len(upstream.built) for upstream in upstreams])
        self.assertEqual(3, self.mesh.stat("cluster.c.membership_total"))
