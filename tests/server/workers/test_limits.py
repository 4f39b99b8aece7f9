"""Limits that hold for the whole proxy, whichever worker has the client."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from tcpmesh.runtime.entries import entry_of_text
from tcpmesh.values.link import (
    SharedBlocks,
)
from tests.mesh import FRONT, Mesh, tcp_proxy
from tests.server.workers.several import HOST, OTHER, WorkersTestCase

TYPE = f"type.googleapis.com/{connection_limit_pb2.ConnectionLimit.DESCRIPTOR.full_name}"
LIMIT = (
    f"[{{name: l, typed_config: {{'@type': {TYPE}, stat_prefix: n, max_connections: 2}}}}, "
    + tcp_proxy()[1:]
)


class LimitTests(WorkersTestCase):
    """Limits hold for the whole proxy."""

    def setUp(self) -> None:
        """Hosts that keep their clients."""
        self.mesh = Mesh(1, workers=2)
        for host in (HOST, OTHER):
            self.mesh.upstream(host)

    def test_circuit_breaker(self) -> None:
        """A cluster may have as many connections as its breaker says, in all workers together."""
        self.begin("circuit_breakers: {thresholds: [{max_connections: 3}]}")
        self.assertEqual([False] * 3 + [True], [client.ended for client in self.connect(4)])
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_overflow"))

    def test_connection_limit(self) -> None:
        """A filter chain's connection_limit is for all workers, and stays so when other chains of
        its listener change.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.add_listener("l", FRONT, LIMIT)
        self.mesh.listeners.start()
        clients = self.connect(3)
        self.assertEqual([False, False, True], [client.ended for client in clients])
        self.mesh.listeners.add_or_update(self.with_chain("{destination_port: 7}"))
        self.assertTrue(self.mesh.connect().ended)
        clients[0].transport.abortConnection()
        self.mesh.pump()
        self.assertEqual([False, True], [client.ended for client in self.connect(2)])

    def with_chain(self, match: str) -> Any:
        """The listener with another chain for these clients."""
        message = type(next(self.mesh.listeners.messages()))()
        message.CopyFrom(next(self.mesh.listeners.messages()))
        chain = message.filter_chains.add()
        chain.CopyFrom(message.filter_chains[0])
        chain.name = "other"
        chain.filter_chain_match.destination_port.value = 7
        return message

    def test_listener_limit(self) -> None:
        """The runtime's limit of a listener counts the clients of all workers."""
        self.begin()
        key = "envoy.resource_limits.listener.l.connection_limit"
        for worker in self.mesh.workers:
            worker.worker.context.runtime.update({key: entry_of_text("2")})
        ended = [client.ended for client in self.connect(4)]
        self.assertEqual([False, False, True, True], ended)

    def test_blocks_are_used_again(self) -> None:
        """What was removed gives its counts back, once no worker has clients of it any more."""
        self.begin()
        blocks = self.told(SharedBlocks)
        for _ in range(20):
            self.mesh.add_cluster("more", HOST)
            self.mesh.clusters.remove("more")
        later = self.told(SharedBlocks)[len(blocks) :]
        self.assertLess(len({block for each in later for _, block in each.blocks}), 4)
