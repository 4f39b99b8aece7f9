"""The table of clients by itself: what it costs, and what becomes of its entries."""

from __future__ import annotations

import itertools
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.token_buckets import Bucket
from tcpmesh.extensions.filters.network.client_limit.table import ClientTable, Over, Rules
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.shared import slots
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts

SMALL = 1 << 16


def context_of(network: MemoryNetwork) -> WorkerContext:
    """A worker's."""
    return WorkerContext(network=network, store=Store(), cluster=lambda name: None)


def known(table: ClientTable) -> int:
    """How many clients a table knows."""
    return sum(1 for row in table.clients() if row is not None)


class TableTestCase(SynchronousTestCase):
    """A test of a table of one worker."""

    def table(self, most: int = 0, bucket: Bucket | None = None, room: int = 100) -> ClientTable:
        """One that limits so."""
        self.network = MemoryNetwork()
        self.clock = self.network.clock
        self.context = context_of(self.network)
        return ClientTable("p", Rules(most, bucket, room), self.context, None)

    def come(self, table: ClientTable, client: str) -> Any:
        """A connection comes and goes."""
        entry = table.entry(client)
        assert entry is not None
        over = table.take(entry)
        table.settle(entry) if over is not None else table.leave(entry)
        return over


class SizeTests(TableTestCase):
    """How large it may get."""

    def test_many_addresses(self) -> None:
        """However many addresses an attacker has, there are never more entries than there is room
        for, and when it is over none are left, which takes steps of so many.
        """
        table = self.table(bucket=Bucket(1, 1.0), room=1000)
        for number in range(5000):
            self.assertIsNone(self.come(table, str(number)))
            if number % 500 == 0:
                self.assertLessEqual(known(table), 1000)
        self.assertEqual(1000, known(table))
        left, later = [1000], self.clock.callLater

        def call_later(delay: float, call: Any) -> Any:
            left.append(known(table))
            return later(delay, call)

        self.patch(self.clock, "callLater", call_later)
        self.clock.advance(1.0)
        self.assertEqual(0, known(table))
        self.assertEqual({64}, {before - after for before, after in itertools.pairwise(left)})
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_connected_ones_stay(self) -> None:
        """Those that are connected are not forgotten for others that come and go."""
        table = self.table(most=1, bucket=Bucket(9, 1.0), room=3)
        kept = table.entry("kept")
        assert kept is not None
        table.take(kept)
        for number in range(20):
            self.come(table, str(number))
        self.assertIs(kept, table.entry("kept"))
        self.assertIs(Over.CONNECTIONS, table.take(kept))

    def test_close(self) -> None:
        """When it is closed no timer is left, and those that are connected may still end."""
        table = self.table(most=1, bucket=Bucket(9, 1.0))
        self.come(table, "a")
        kept = table.entry("b")
        assert kept is not None
        table.take(kept)
        table.close()
        table.leave(kept)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.context.limits.all())


class SharedTests(SynchronousTestCase):
    """Tables of two workers."""

    def setUp(self) -> None:
        """Both workers, in one process."""
        main = MainCounts(2, SMALL)
        self.addCleanup(main.close)
        self.counts = [WorkerCounts(os.dup(main.fd), number) for number in range(2)]
        for each in self.counts:
            self.addCleanup(each.close)
        self.network = MemoryNetwork()

    def tables(self, rules: Rules) -> list[ClientTable]:
        """The tables of one limit."""
        context = context_of(self.network)
        return [ClientTable("p", rules, context, each.clients_of_all("p")) for each in self.counts]

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(1, 3),
        st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.booleans()), max_size=40),
    )
    def test_games(self, most: int, moves: list[tuple[int, str, bool]]) -> None:
        """Whatever comes and goes wherever, of each client as many are connected as the limit
        allows, and never more.
        """
        tables = self.tables(Rules(most, None, 100))
        connected: list[tuple[int, Any]] = []
        for number, client, comes in moves:
            mine = [each for each in connected if each[1].client == client]
            if comes:
                entry = tables[number].entry(client)
                assert entry is not None
                over = tables[number].take(entry)
                self.assertEqual(len(mine) >= most, over is Over.CONNECTIONS)
                if over is None:
                    connected.append((number, entry))
                else:
                    tables[number].settle(entry)
            elif mine:
                where, entry = mine[0]
                connected.remove(mine[0])
                tables[where].leave(entry)
        for where, entry in connected:
            tables[where].leave(entry)
        for table in tables:
            table.close()

    def test_no_slot(self) -> None:
        """A client for which the shared memory has no slot is counted in its worker alone."""
        one, two = self.tables(Rules(1, None, 100))
        for table in (one, two):
            assert table.slots is not None
            self.patch(table.slots, "take", lambda key: None)
        entries = [each.entry("a") for each in (one, two)]
        assert entries[0] is not None and entries[1] is not None
        self.assertEqual([None, None], [one.take(entries[0]), two.take(entries[1])])
        self.assertIs(Over.CONNECTIONS, one.take(entries[0]))

    def test_slots_are_given_back(self) -> None:
        """All slots are free again when nobody is known, or the limit is no more."""
        one, _ = self.tables(Rules(1, None, 1 << 16))
        for _ in range(2):
            for number in range(300):
                entry = one.entry(str(number))
                assert entry is not None
                one.take(entry)
            self.assertGreater(self.taken(), 290)
            for number in range(300):
                entry = one.entry(str(number))
                assert entry is not None
                one.leave(entry)
            self.assertEqual(0, self.taken())
        entry = one.entry("a")
        assert entry is not None
        one.take(entry)
        one.close()
        self.assertEqual(0, self.taken())

    def taken(self) -> int:
        """How many slots are."""
        words = self.counts[0]._memory.slots
        return sum(1 for key in words[:: slots.SLOT] if key)
