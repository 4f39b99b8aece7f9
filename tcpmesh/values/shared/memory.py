"""Counts that several workers share: words in memory that all processes have mapped.

Python has no atomic addition, so no word has two writers.  Each count is a row of words, one for
each worker, and a worker writes its own column alone; whoever wants the total sums the row.  A word
is eight bytes on an address that is a multiple of eight, stored and fetched in one piece on the
machines there are, so a reader sees a number that was really there.  What a limit may be exceeded
by is what workers do in the same microseconds: each reads the total before the other has written.

Main makes the memory (`MainCounts`) and hands its descriptor to each worker (`WorkerCounts`), which
may write its column as soon as it has been told of a block.

A *block* is the rows of one cluster or listener::

    mark of the block |  held by worker 0 | held by worker 1 | ...
    name of a count   |  of worker 0      | of worker 1      | ...
    name of a count   |  of worker 0      | of worker 1      | ...

Main sets a block aside before it tells any worker of the cluster or listener, and marks it as held
by all workers.  A worker gives it back when nothing of the cluster or listener is left there.  Once
main has removed it and every worker has given it back, or has died, the block is cleared and used
again: so a late client of what is gone is never counted for what came after it, however far one
worker is behind another.

Behind the blocks are two regions that main sets nothing aside in: one for counts that go by a name
alone (`tcpmesh.values.shared.names`), one for what is known of each client
(`tcpmesh.values.shared.slots`).

Which row a count has is settled by its name, among the workers: whoever asks first writes the name
beside a free row, under a lock of the file.  So filters may be built in any order, and late.

The file is sparse and as large as ever needed; only what is written to takes memory.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tcpmesh.values.shared import names, slots
from tcpmesh.values.shared.counts import LocalCounts, SharedCounts
from tcpmesh.values.shared.names import NamedCount, Names, NoRoom, key_of
from tcpmesh.values.shared.slots import Slots
from tcpmesh.values.shared.words import WORD, WordCount

CAPACITY = 1 << 28
"""Bytes of address space: with 16 workers, more than 200,000 clusters and listeners."""

ROWS = 8
"""Counts of a block, where main does not ask for another number."""

_HEADER = 4
"""Words before the first block: what this file is, for how many workers, where its blocks end, and
the secret of the keys of clients."""

_MAGIC = int.from_bytes(b"counts-2", "little")


class _Memory:
    """The file as words."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.words = memoryview(self._map).cast("q")

    @property
    def stride(self) -> int:
        """Words of a row."""
        return 1 + self.words[1]

    def row(self, block: int, number: int) -> int:
        """Where a row of a block begins."""
        return block + number * self.stride

    def size(self, block: int) -> int:
        """How many counts a block has rows for."""
        return self.words[block]

    @property
    def end(self) -> int:
        """Where the blocks end, and the names begin."""
        return self.words[2]

    @property
    def names(self) -> Names:
        """The counts that go by a name."""
        workers = self.words[1]
        return Names(self.words[self.end : self.end + names.size_of(workers)], workers)

    @property
    def slots(self) -> memoryview:
        """The tables of clients."""
        return self.words[self.end + names.size_of(self.words[1]) :]

    @contextmanager
    def locked(self, block: int) -> Iterator[None]:
        """Nobody else writes names into this block meanwhile.  A process that dies leaves no lock
        behind.
        """
        place = block * WORD
        fcntl.lockf(self.fd, fcntl.LOCK_EX, WORD, place)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, WORD, place)

    def close(self) -> None:
        """Close the descriptor; the memory is unmapped with the last count in it."""
        os.close(self.fd)

    def unmap(self) -> None:
        """Give the memory back, which keeps a descriptor of its own; nobody has a count in it."""
        self.words.release()
        self._map.close()


class MainCounts:
    """Main's side: it sets blocks aside, and takes them back.

    :param workers: how many there are; each has a number from 0.
    """

    def __init__(self, workers: int, capacity: int = CAPACITY) -> None:
        regions = names.size_of(workers) + slots.size_of(workers)
        self._memory = memory = _Memory(_sparse_file(capacity + regions * WORD))
        secret = int.from_bytes(os.urandom(WORD), "little") >> 1
        memory.words[:_HEADER] = memoryview(
            struct.pack("4q", _MAGIC, workers, capacity // WORD, secret)
        ).cast("q")
        self._alive = set(range(workers))
        self._end = _HEADER
        self._blocks: dict[str, int] = {}
        self._leaving: list[int] = []
        self._free: dict[int, list[int]] = {}

    @property
    def workers(self) -> int:
        """How many there are."""
        return self._memory.words[1]

    @property
    def fd(self) -> int:
        """What a worker is to be handed, as it is or by `SCM_RIGHTS`."""
        return self._memory.fd

    def allocate(self, owner: str, rows: int = ROWS) -> int:
        """Set a block aside for a cluster or listener; a block that this owner has already is left
        to those who hold it, as if it had been freed.

        :return: the number of the block, which each worker is to be told before it builds the
            owner.
        :raise NoRoom: where the memory is full.
        """
        self.free(owner)
        self._reclaim()
        kept = self._free.get(rows)
        block = kept.pop() if kept else self._extend(rows)
        words = self._memory.words
        words[block] = rows
        for worker in self._alive:
            words[block + 1 + worker] = 1
        self._blocks[owner] = block
        return block

    def free(self, owner: str) -> None:
        """No worker is told of this owner any more; its block is used again when none holds it."""
        block = self._blocks.pop(owner, None)
        if block is not None:
            self._leaving.append(block)

    def blocks(self) -> dict[str, int]:
        """What a worker that has just been started is to be told: owners and their blocks."""
        return dict(self._blocks)

    def worker_started(self, worker: int) -> None:
        """A worker takes the place of one that has died, and will hold all blocks that are in
        use.
        """
        self._alive.add(worker)
        for block in self._blocks.values():
            self._memory.words[block + 1 + worker] = 1

    def worker_died(self, worker: int) -> None:
        """A worker is no more: its column is 0 everywhere, and it holds nothing."""
        self._alive.discard(worker)
        words, stride = self._memory.words, self._memory.stride
        column = words[_HEADER + 1 + worker : self._end : stride]
        column[:] = memoryview(bytes(len(column) * WORD)).cast("q")
        self._memory.names.worker_died(worker)
        slots.clear(self._memory.slots, worker)

    def close(self) -> None:
        """Workers keep what they have mapped."""
        self._memory.close()
        self._memory.unmap()

    def _extend(self, rows: int) -> int:
        block, end = self._end, self._end + (1 + rows) * self._memory.stride
        if end > self._memory.end:
            raise NoRoom(f"no room for {rows} more counts that workers share")
        self._end = end
        return block

    def _reclaim(self) -> None:
        """Clear the blocks that nobody holds any more."""
        words, stride, leaving = self._memory.words, self._memory.stride, self._leaving
        self._leaving = []
        for block in leaving:
            if any(words[block + 1 : block + stride]):
                self._leaving.append(block)
                continue
            rows = words[block]
            size = (1 + rows) * stride
            words[block : block + size] = memoryview(bytes(size * WORD)).cast("q")
            self._free.setdefault(rows, []).append(block)


class WorkerCounts:
    """A worker's side: where what is built there has its counts from.

    :param fd: main's, as it came to this process; it is closed with `close`.
    :param worker: the number of this worker.
    :raise ValueError: where the file is none of main's.
    """

    def __init__(self, fd: int, worker: int) -> None:
        self._memory = _Memory(fd)
        if self._memory.words[0] != _MAGIC or not 0 <= worker < self._memory.words[1]:
            raise ValueError(f"there is no worker {worker} in this memory")
        self._worker = worker
        self._assigned: dict[str, int] = {}

    def assign(self, owner: str, block: int) -> None:
        """Main has set this block aside for an owner that is built next."""
        self.unassign(owner)
        self._assigned[owner] = block

    def unassign(self, owner: str) -> None:
        """The owner is not built after all: give back the block, if it was not taken."""
        block = self._assigned.pop(owner, None)
        if block is not None:
            self._memory.words[block + 1 + self._worker] = 0

    def block(self, owner: str) -> Block:
        """The counts of an owner that is being built.

        :raise KeyError: where main has assigned no block to it, or the block was taken before.
        """
        return Block(self, self._memory, self._assigned.pop(owner), self._worker)

    def part(self, owner: str) -> SharedCounts:
        """The counts of a part of an owner, as of a filter chain of a listener: shared where main
        has set a block aside for it, else it counts for itself.
        """
        return self.block(owner) if owner in self._assigned else LocalCounts()

    def count(self, name: str) -> WordCount:
        """Nothing outside of a block has a count.

        :raise KeyError: always.
        """
        raise KeyError(f"{name} is counted outside of a block")

    def count_of_all(self, name: str) -> NamedCount:
        """The count of this name that belongs to no block, 0 in this worker.

        :raise NoRoom: where too many names are in use.
        """
        memory = self._memory
        return memory.names.claim(name, self._worker, lambda: memory.locked(memory.end))

    def clients(self, limit: str) -> Slots:
        """Nothing outside of a block has clients.

        :raise KeyError: always.
        """
        raise KeyError(f"{limit} has clients outside of a block")

    def clients_of_all(self, limit: str) -> Slots:
        """What all workers know of the clients of the limit of this name."""
        words = self._memory.words
        return Slots(self._memory.slots, words[1], self._worker, words[3], limit)

    def close(self) -> None:
        """The worker ends."""
        self._memory.close()


class Block:
    """The counts of one owner in one worker."""

    def __init__(self, counts: WorkerCounts, memory: _Memory, number: int, worker: int) -> None:
        self.count_of_all = counts.count_of_all
        self.clients_of_all = counts.clients_of_all
        self._parts = counts.part
        self._memory = memory
        self._number = number
        self._worker = worker
        self._counts: list[WordCount] = []
        self._times: dict[str, int] = {}
        self._is_closed = False

    def block(self, owner: str) -> SharedCounts:
        """The counts of a part of the owner."""
        return self._parts(owner)

    def count(self, name: str) -> WordCount:
        """One more count; 0 in this worker.

        :raise NoRoom: where main has set aside too few rows.
        """
        place = self._place(self._numbered(name))
        count = WordCount(self._memory.words[place : place + self._memory.stride - 1], self._worker)
        self._counts.append(count)
        return count

    def clients(self, limit: str) -> Slots:
        """What all workers know of the clients of a limit of this owner."""
        return self.clients_of_all(f"block {self._number} {self._numbered(limit)}")

    def _numbered(self, name: str) -> str:
        times = self._times[name] = self._times.get(name, 0) + 1
        return f"{name}#{times}"

    def close(self) -> None:
        """The owner is gone from this worker: what it has counted counts no more, and main may use
        the block again.
        """
        if self._is_closed:
            return
        self._is_closed = True
        for count in self._counts:
            count.close()
        self._memory.words[self._number + 1 + self._worker] = 0

    def _place(self, name: str) -> int:
        """Where the words of the count of this name begin; the name is written down if need be."""
        words = self._memory.words
        key = key_of(name)
        with self._memory.locked(self._number):
            for number in range(1, 1 + self._memory.size(self._number)):
                row = self._memory.row(self._number, number)
                if words[row] in (key, 0):
                    words[row] = key
                    return row + 1
        raise NoRoom(f"no row is left for {name}")


def _sparse_file(size: int) -> int:
    """The descriptor of a file without a name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tcpmesh-counts", os.MFD_CLOEXEC)
    else:  # pragma: no cover
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    return fd
