"""Which clusters, listeners and chains have blocks of the counts that workers share."""

from __future__ import annotations

import os
from typing import Any

from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.updates import difference
from tcpmesh.server.workers.blocks import Blocks
from tcpmesh.values.link import AddCluster, AddListener, SharedBlocks, UpdateChains
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts
from tests.mesh import FRONT, cluster_message, listener_message, tcp_proxy

TYPE = f"type.googleapis.com/{connection_limit_pb2.ConnectionLimit.DESCRIPTOR.full_name}"


def listener(*limits: int, default: int = 0) -> Any:
    """A listener with a chain for each of these limits; with 0 for one that counts nothing."""
    message = listener_message("l", FRONT)
    del message.filter_chains[:]
    for limit in limits:
        message.filter_chains.append(chain(limit))
    if default:
        message.default_filter_chain.CopyFrom(chain(default))
    return message


def chain(limit: int) -> Any:
    """One of its chains."""
    filters = tcp_proxy()
    if limit:
        counts = f"typed_config: {{'@type': {TYPE}, stat_prefix: n, max_connections: {limit}}}"
        filters = f"[{{name: l, {counts}}}, {filters[1:]}"
    made = listener_message("l", FRONT, filters).filter_chains[0]
    made.filter_chain_match.destination_port.value = limit + 1
    return made


class BlocksTests(SynchronousTestCase):
    """Main's books."""

    def setUp(self) -> None:
        """One worker, which takes all it is told of."""
        self.main = MainCounts(1, 1 << 16)
        self.addCleanup(self.main.close)
        self.blocks = Blocks(self.main)
        self.worker = WorkerCounts(os.dup(self.main.fd), 0)
        self.addCleanup(self.worker.close)

    def update(self, number: int, message: Any) -> SharedBlocks:
        """A listener changes its chains."""
        before = self.blocks._messages[number]
        found = difference(before.filter_chains, message.filter_chains)
        return self.blocks.update_chains(UpdateChains(number, 99, message, *found))

    def names(self, told: SharedBlocks) -> list[str]:
        """What the worker is to build, without the digests."""
        return sorted(owner.split(".")[0] for owner, _ in told.blocks)

    def test_cluster(self) -> None:
        """A cluster has one, by its name; its successor another one."""
        first = AddCluster(1, cluster_message("c", []))
        self.blocks.add_cluster(first)
        self.blocks.add_cluster(AddCluster(2, cluster_message("c", [])))
        ((name, block),), ((other, another),) = (
            self.blocks.of_cluster(number).blocks for number in (1, 2)
        )
        self.assertEqual(("cluster.c", "cluster.c"), (name, other))
        self.assertNotEqual(block, another)

    def test_listener(self) -> None:
        """A listener has one, and so has each of its chains that may count."""
        self.blocks.add_listener(AddListener(1, "l", listener(0, 1, 2, default=3)))
        told = self.blocks.of_listener(1)
        self.assertEqual(["chain"] * 3 + ["listener"], self.names(told))

    def test_update(self) -> None:
        """With an update only new chains get one, those that stay keep theirs, and those that go
        give it back.
        """
        self.blocks.add_listener(AddListener(1, "l", listener(1, 2, default=2)))
        before = dict(self.blocks.of_listener(1).blocks)
        told = self.update(1, listener(2, 3))
        self.assertEqual(["chain"], self.names(told))
        after = dict(self.blocks.of_listener(1).blocks)
        self.assertEqual(2, len(before.items() & after.items()))
        self.assertEqual(3, len(after))

    def test_default_chain(self) -> None:
        """So it is with the default chain, which may become one of the others, or have been one."""
        self.blocks.add_listener(AddListener(1, "l", listener(1, default=2)))
        for message, chains in (
            (listener(1, 2), 2),
            (listener(1, default=2), 2),
            (listener(1, default=3), 2),
            (listener(1), 1),
        ):
            self.update(1, message)
            self.assertEqual(1 + chains, len(self.blocks.of_listener(1).blocks))

    def test_same_chain_twice(self) -> None:
        """Chains that are equal are one."""
        self.blocks.add_listener(AddListener(1, "l", listener(1, 1, default=1)))
        self.assertEqual(["chain", "listener"], self.names(self.blocks.of_listener(1)))

    def test_all_is_given_back(self) -> None:
        """However often listeners and chains come and go, the memory does not grow."""
        for round in range(50):
            number = 2 * round + 1
            self.blocks.add_listener(AddListener(number, "l", listener(1, 2)))
            self.take(self.blocks.of_listener(number))
            self.take(self.update(number, listener(2, 3)))
            self.blocks.remove_listener(number)
        self.assertLess(self.main._end, 400)
        self.assertEqual({}, self.main.blocks())

    def take(self, told: SharedBlocks) -> None:
        """The worker builds it and has it no more."""
        for owner, block in told.blocks:
            self.worker.assign(owner, block)
            self.worker.block(owner).close()
