"""Counts that limits go by: the one contract of both forms, and what is special about many
workers.
"""

from __future__ import annotations

import os
import select
import signal
import struct
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.shared.counts import LocalCounts, SharedCounts
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts
from tcpmesh.values.shared.names import NoRoom

SMALL = 1 << 16


class Contract:
    """What limits may rely on, whichever form the counts have."""

    def counts(self, owner: str) -> SharedCounts:
        """The block of an owner that is about to be built, in a worker."""
        raise NotImplementedError

    def test_counts(self: Any) -> None:
        """A count begins at 0 and goes up and down."""
        count = self.counts("cluster.a").count("connections")
        seen = [count.total]
        for change in (1, 1, -1):
            count.own += change
            seen.append(count.total)
        self.assertEqual([0, 1, 2, 1], seen)
        self.assertEqual(1, count.own)

    def test_each_its_own(self: Any) -> None:
        """No two counts are one: neither of several names, nor of one name, nor of two owners."""
        one, other = self.counts("cluster.a"), self.counts("cluster.b")
        counts = [one.count("x"), one.count("y"), one.count("x"), other.count("x")]
        for number, count in enumerate(counts, 1):
            count.own += number
        self.assertEqual([1, 2, 3, 4], [count.total for count in counts])

    def test_successor(self: Any) -> None:
        """An owner that takes the place of another of its name begins at 0, and who is left of the
        other moves nothing of it.
        """
        before = self.counts("cluster.a").count("x")
        before.own += 5
        after = self.counts("cluster.a").count("x")
        before.own += 1
        after.own += 1
        self.assertEqual((6, 1), (before.total, after.total))

    def test_after_close(self: Any) -> None:
        """After the owner is gone its counts go on for those who still hold them."""
        block = self.counts("cluster.a")
        count = block.count("x")
        count.own += 2
        block.close()
        block.close()
        count.own -= 1
        self.assertEqual((1, 1), (count.own, count.total))

    def test_parts(self: Any) -> None:
        """A part of an owner, such as a filter, has counts of its own too."""
        block = self.counts("listener.l")
        part = block.block("filter")
        counts = [block.count("x"), part.count("x")]
        counts[0].own += 1
        self.assertEqual([1, 0], [count.total for count in counts])


class LocalTests(Contract, SynchronousTestCase):
    """The only worker."""

    def counts(self, owner: str) -> SharedCounts:
        """As the server gives them."""
        return LocalCounts().block(owner)


class WorkerTests(Contract, SynchronousTestCase):
    """One of three workers."""

    def setUp(self) -> None:
        """Main and all workers, in one process."""
        self.main = MainCounts(3, SMALL)
        self.workers = [WorkerCounts(os.dup(self.main.fd), number) for number in range(3)]
        self.addCleanup(self.main.close)
        for worker in self.workers:
            self.addCleanup(worker.close)

    def allocate(self, owner: str) -> None:
        """Main sets a block aside, and tells all workers."""
        block = self.main.allocate(owner)
        for worker in self.workers:
            worker.assign(owner, block)

    def counts(self, owner: str) -> SharedCounts:
        """The block in worker 1."""
        self.allocate(owner)
        return self.workers[1].block(owner)

    def test_total_of_all(self) -> None:
        """The total is that of all workers, and each has its own; which row is whose is settled by
        the names, in whatever order they come.
        """
        self.allocate("cluster.a")
        names = [("x", "y", "x"), ("y", "x", "x"), ("x", "x", "y")]
        blocks = [worker.block("cluster.a") for worker in self.workers]
        counts = [
            [(name, block.count(name)) for name in order]
            for block, order in zip(blocks, names, strict=True)
        ]
        for number, row in enumerate(counts):
            for name, count in row:
                count.own += 10**number * (1 if name == "x" else 2)
        for row in counts:
            self.assertEqual(
                [111 if name == "x" else 222 for name, _ in row], [count.total for _, count in row]
            )

    def test_dead_worker(self) -> None:
        """What a dead worker had counted is 0, and what others have stays; its successor begins at
        0.
        """
        self.allocate("cluster.a")
        one, other = (self.workers[number].block("cluster.a").count("x") for number in (0, 2))
        one.own += 3
        other.own += 4
        self.main.worker_died(2)
        self.assertEqual(3, one.total)
        self.main.worker_started(2)
        successor = WorkerCounts(os.dup(self.main.fd), 2)
        self.addCleanup(successor.close)
        for owner, block in self.main.blocks().items():
            successor.assign(owner, block)
        count = successor.block("cluster.a").count("x")
        count.own += 1
        self.assertEqual((4, 4), (one.total, count.total))

    def test_used_again_only_when_all_have_given_back(self) -> None:
        """A block is used again once each worker has given it back, or never took it, or has
        died.
        """
        self.allocate("cluster.a")
        first = self.main.blocks()["cluster.a"]
        block = self.workers[0].block("cluster.a")
        count = block.count("x")
        count.own += 9
        self.main.free("cluster.a")
        givers: list[Callable[[], object]] = [
            block.close,
            lambda: self.workers[1].unassign("cluster.a"),
            lambda: self.main.worker_died(2),
        ]
        for number, give_back in enumerate(givers):
            self.allocate(f"cluster.{number}")
            self.assertNotEqual(first, self.main.blocks()[f"cluster.{number}"])
            give_back()
        self.allocate("cluster.z")
        self.assertEqual(first, self.main.blocks()["cluster.z"])
        self.assertEqual(0, self.workers[0].block("cluster.z").count("x").total)
        count.own += 1
        self.assertEqual(10, count.total)

    def test_dead_worker_gets_no_block(self) -> None:
        """A block that is set aside while a worker is dead does not wait for it."""
        self.main.worker_died(2)
        first = self.main.allocate("cluster.a")
        self.main.free("cluster.a")
        for worker in self.workers[:2]:
            worker.assign("cluster.a", first)
            worker.unassign("cluster.a")
        self.assertEqual(first, self.main.allocate("cluster.b"))

    def test_assigned_twice(self) -> None:
        """A worker that is told of a successor before it has built the first gives the first
        back.
        """
        first = self.main.allocate("cluster.a")
        for worker in self.workers:
            worker.assign("cluster.a", first)
        self.allocate("cluster.a")
        self.assertEqual(first, self.main.allocate("cluster.b"))

    def test_rows(self) -> None:
        """A block has as many counts as main has made room for, and says when there are more."""
        block = self.main.allocate("listener.l", rows=2)
        self.workers[0].assign("listener.l", block)
        counts = self.workers[0].block("listener.l")
        counts.count("a")
        counts.count("b")
        self.assertRaises(NoRoom, counts.count, "c")

    def test_full(self) -> None:
        """Memory is not used without end."""
        self.assertRaises(NoRoom, self.main.allocate, "cluster.a", rows=SMALL)
        self.main.allocate("cluster.a")

    def test_unknown_owner(self) -> None:
        """What main has set nothing aside for cannot be built, nor counted outside of a block."""
        self.assertRaises(KeyError, self.workers[0].block, "cluster.a")
        self.assertRaises(KeyError, self.workers[0].count, "x")

    def test_other_file(self) -> None:
        """A worker that main does not know of, and a file that is not main's, are refused."""
        self.assertRaises(ValueError, WorkerCounts, self.main.fd, 3)
        with TemporaryFile() as file:
            file.truncate(SMALL)
            self.assertRaises(ValueError, WorkerCounts, file.fileno(), 0)


MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("move"), st.integers(0, 2), st.sampled_from("ab"), st.sampled_from([1, -1])
        ),
        st.tuples(st.just("replace"), st.just(0), st.sampled_from("ab"), st.just(0)),
        st.tuples(st.just("die"), st.integers(0, 2), st.just(""), st.just(0)),
    ),
    max_size=60,
)


class MainTests(SynchronousTestCase):
    """Main's side alone."""

    def test_closed(self) -> None:
        """When it is closed no descriptor is left, nor the memory, which has one of its own, though
        somebody still knows it.
        """
        before = len(os.listdir("/proc/self/fd"))
        main = MainCounts(2, SMALL)
        main.allocate("cluster.a")
        main.close()
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))
        self.assertEqual(["cluster.a"], list(main.blocks()))


class GameTests(SynchronousTestCase):
    """Workers that count, owners that are replaced, workers that die: in any order."""

    @settings(max_examples=80, deadline=None)
    @given(MOVES)
    def test_games(self, moves: list[tuple[str, int, str, int]]) -> None:
        """At each moment every worker sees the sum of what those who live have counted for the
        owner as it is now.
        """
        game = Game()
        self.addCleanup(game.close)
        for kind, worker, owner, change in moves:
            if kind == "move":
                game.move(worker, owner, change)
            elif kind == "replace":
                game.replace(owner)
            else:
                game.restart(worker)
            self.assertEqual(game.expected(), game.seen())
        self.assertTrue(max(game.main.blocks().values()) < 300, "blocks are used again")


class Game:
    """Two owners in three workers, and what each should have counted."""

    def __init__(self) -> None:
        self.main = MainCounts(3, SMALL)
        self.workers = [WorkerCounts(os.dup(self.main.fd), number) for number in range(3)]
        self.blocks: dict[tuple[int, str], Any] = {}
        self.counts: dict[tuple[int, str], Any] = {}
        self.model: dict[tuple[int, str], int] = {}
        for owner in "ab":
            self.replace(owner)

    def replace(self, owner: str) -> None:
        """A new owner of this name; who is left of the old one is given back only then."""
        block = self.main.allocate(owner)
        for number, worker in enumerate(self.workers):
            worker.assign(owner, block)
            self._build(number, owner)

    def _build(self, number: int, owner: str) -> None:
        before = self.blocks.get((number, owner))
        self.blocks[number, owner] = block = self.workers[number].block(owner)
        self.counts[number, owner] = block.count("x")
        self.model[number, owner] = 0
        if before is not None:
            before.close()

    def move(self, number: int, owner: str, change: int) -> None:
        """One worker counts."""
        self.counts[number, owner].own += change
        self.model[number, owner] += change

    def restart(self, number: int) -> None:
        """One worker dies, and another takes its place."""
        self.main.worker_died(number)
        self.workers[number].close()
        self.main.worker_started(number)
        self.workers[number] = WorkerCounts(os.dup(self.main.fd), number)
        for owner, block in self.main.blocks().items():
            del self.blocks[number, owner]
            self.workers[number].assign(owner, block)
            self._build(number, owner)

    def expected(self) -> list[int]:
        """The totals there should be, for each worker and owner."""
        return [
            sum(self.model[number, owner] for number in range(3))
            for _ in range(3)
            for owner in "ab"
        ]

    def seen(self) -> list[int]:
        """The totals there are."""
        return [self.counts[number, owner].total for number in range(3) for owner in "ab"]

    def close(self) -> None:
        """Give the descriptors back."""
        self.main.close()
        for worker in self.workers:
            worker.close()


class Forked:
    """A worker in a process of its own, which does as it is told through pipes.

    An order is a number: how much to add to the count; the answer is the total then.
    """

    def __init__(self, main: MainCounts, number: int, block: int) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                self._run(WorkerCounts(os.dup(main.fd), number), block, orders, answers)
            finally:
                os._exit(1)
        os.close(orders)
        os.close(answers)

    def _run(self, counts: WorkerCounts, block: int, orders: int, answers: int) -> None:
        counts.assign("cluster.a", block)
        count = counts.block("cluster.a").count("connections")
        while True:
            (steps,) = struct.unpack("q", os.read(orders, 8))
            for _ in range(abs(steps)):
                count.own += 1 if steps > 0 else -1
            os.write(answers, struct.pack("q", count.total))

    def begin(self, steps: int) -> None:
        """Let it count so many steps up, or down."""
        os.write(self._orders, struct.pack("q", steps))

    def answer(self) -> int:
        """The total that it saw when it was done."""
        if not select.select([self._answers], [], [], 60)[0]:
            raise RuntimeError("a worker does not answer")
        (total,) = struct.unpack("q", os.read(self._answers, 8))
        return int(total)

    def order(self, steps: int) -> int:
        """Both."""
        self.begin(steps)
        return self.answer()

    def end(self) -> None:
        """Kill it, and take notice."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            os.close(self._orders)
            os.close(self._answers)


class ForkedTests(SynchronousTestCase):
    """Workers that are processes."""

    def setUp(self) -> None:
        """Main, and three workers that count the connections of one cluster."""
        self.main = MainCounts(3)
        self.addCleanup(self.main.close)
        self.block = self.main.allocate("cluster.a")
        self.workers = [self.start(number) for number in range(3)]

    def start(self, number: int) -> Forked:
        """Start a worker."""
        worker = Forked(self.main, number, self.block)
        self.addCleanup(worker.end)
        return worker

    def test_totals(self) -> None:
        """Each sees what all have counted."""
        self.assertEqual([1, 3, 6], [self.workers[n].order(n + 1) for n in range(3)])
        self.assertEqual(4, self.workers[0].order(-2))
        self.assertEqual([4, 4], [self.workers[n].order(0) for n in (1, 2)])

    def test_nothing_is_lost(self) -> None:
        """Additions at the same time are all there: no word has two writers."""
        for worker in self.workers:
            worker.begin(20_000)
        for worker in self.workers:
            worker.answer()
        self.assertEqual([60_000] * 3, [worker.order(0) for worker in self.workers])

    def test_killed(self) -> None:
        """What a worker had counted that was killed is given free, and only that."""
        for worker in self.workers:
            worker.order(5)
        self.workers[1].end()
        self.main.worker_died(1)
        self.assertEqual(10, self.workers[0].order(0))
        self.main.worker_started(1)
        self.assertEqual(11, self.start(1).order(1))
