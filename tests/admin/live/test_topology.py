"""The map: what is on it, and that it has a largest size."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.live.topology import MOST_CLUSTERS, MOST_HOSTS, MOST_LISTENERS, Topology
from tcpmesh.values.live.traffic import Flow
from tcpmesh.values.statuses import ChainStatus, ClusterStatus, HostStatus, ListenerStatus
from tests.admin.fakes import FakeServer, host

SICK = HostStatus("10.0.0.9:1", health="UNHEALTHY", health_flags=("failed_active_hc",))


def cluster(name: str, *hosts: HostStatus) -> ClusterStatus:
    """A cluster of these hosts, by default one that is well."""
    return ClusterStatus(name, name, hosts=hosts or (host(),))


class TopologyTests(SynchronousTestCase):
    """A map of a server."""

    def setUp(self) -> None:
        """A server with nothing."""
        self.server = FakeServer()
        self.flows: dict[Flow, int] = {}

    def map(self, search: str = "") -> Any:
        """The map, and how many steps it took."""
        topology = Topology(self.server, self.flows, search)
        self.steps = len(list(topology.steps()))
        return json.loads("".join(topology.pieces()))

    def listen(self, name: str, *chains: ChainStatus) -> None:
        """A listener with these chains."""
        self.server.listeners.append(ListenerStatus(name, (f"127.0.0.1:{len(name)}",)))
        self.server.chains[name] = chains

    def names(self, found: Any, what: str = "clusters") -> list[str]:
        """Their names."""
        return [each["name"] for each in found[what]]

    def test_nothing(self) -> None:
        """A server without anything has an empty map."""
        found = self.map()
        self.assertEqual(([], [], []), (found["clusters"], found["listeners"], found["flows"]))

    def test_all(self) -> None:
        """Listeners, chains, clusters and hosts are there, with what flows between them."""
        self.listen("l", ChainStatus("c", ("a.test",), ("db",), "tcp"), ChainStatus(""))
        self.server.clusters = [cluster("db", host("[::1]:5", hostname="h"), SICK)]
        self.flows[Flow("l", "c", "db", "[::1]:5")] = 3
        found = self.map()
        self.assertEqual([["l", "c", "db", "[::1]:5", 3]], found["flows"])
        self.assertEqual(["c", ""], [each["name"] for each in found["listeners"][0]["chains"]])
        db = found["clusters"][0]
        self.assertEqual(
            (1, 2, 2, 3, 1),
            tuple(db[name] for name in ("healthy", "count", "active", "total", "failed")),
        )
        self.assertEqual(["[::1]:5", "10.0.0.9:1"], [each["address"] for each in db["hosts"]])
        self.assertEqual(["failed_active_hc"], db["hosts"][1]["flags"])
        self.assertEqual(
            {"listeners": 1, "clusters": 1, "found": 1, "trouble": 1, "hosts": 2, "unhealthy": 1},
            found["counts"],
        )

    def test_many(self) -> None:
        """Of ten thousand clusters those are shown that have clients or trouble, in their order,
        and the work is in small steps.
        """
        self.server.clusters = [cluster(f"c{number}") for number in range(10_000)]
        self.server.clusters[7000] = cluster("sick", SICK)
        self.listen("l", ChainStatus("", (), ("c9000",)))
        self.flows = {Flow("l", "", f"c{number}", "h"): 1 for number in range(9000, 9030)}
        found = self.map()
        names = self.names(found)
        self.assertEqual(MOST_CLUSTERS, len(names))
        self.assertEqual(["sick", *(f"c{each}" for each in range(9000, 9030))], names[-31:])
        self.assertEqual(10_000, found["counts"]["clusters"])
        self.assertGreater(self.steps, 400)

    def test_many_listeners(self) -> None:
        """Of many listeners those with clients are on the map, and no more than some."""
        self.server.clusters = [cluster("db")]
        for number in range(500):
            self.listen(f"l{number}", *[ChainStatus("", (), ("db",))] * 100)
        self.flows = {Flow("l400", "", "db", "h"): 1}
        found = self.map()
        self.assertEqual("l400", self.names(found, "listeners")[0])
        self.assertEqual(MOST_LISTENERS, len(found["listeners"]))
        self.assertEqual(88, found["listeners"][0]["more_chains"])

    def test_many_hosts(self) -> None:
        """Of many hosts those are shown that are not well."""
        hosts = [host(f"10.0.1.{number}:1") for number in range(200)]
        self.server.clusters = [cluster("db", *hosts, SICK)]
        found = self.map()["clusters"][0]
        self.assertEqual((201, MOST_HOSTS), (found["count"], len(found["hosts"])))
        self.assertEqual("10.0.0.9:1", found["hosts"][-1]["address"])

    def test_search(self) -> None:
        """A part of a name or an address finds clusters, whatever the case, and the listeners that
        lead to them.
        """
        self.server.clusters = [cluster(f"c{number}") for number in range(200)]
        self.server.clusters[150] = cluster("Orders", host("10.9.9.9:1", hostname="o.test"))
        self.listen("to-orders", ChainStatus("", (), ("Orders",)))
        self.listen("other", ChainStatus("", (), ("c1",)))
        for search in ("orders", "10.9.9", "O.TEST"):
            found = self.map(search)
            self.assertEqual((["Orders"], 1), (self.names(found), found["counts"]["found"]))
            self.assertEqual(["to-orders"], self.names(found, "listeners"))
        found = self.map("other")
        self.assertEqual(([], ["other"]), (self.names(found), self.names(found, "listeners")))

    def test_hostile_names(self) -> None:
        """Names of 60 KB with whatever characters make no large map."""
        bad = "\u202e</script>\x00\ud800" * 6000
        many = tuple(bad + str(number) for number in range(99))
        for number in range(50):
            name = bad + str(number)
            self.listen(name, ChainStatus(name, many, many, name))
            self.server.clusters.append(
                cluster(name, *[host(name, hostname=name) for _ in range(20)])
            )
            self.flows[Flow(name, name, name, name)] = 1
        found = self.map()
        self.assertLess(len(json.dumps(found)), 2_000_000)
        self.assertEqual(MOST_CLUSTERS, len(set(self.names(found))))
