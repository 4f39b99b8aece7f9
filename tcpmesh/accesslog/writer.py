"""The thread of one access log: it alone writes, and so it alone waits, for a slow disk, a file
system that does not answer, a FIFO that nobody reads.

It is told what to do by a queue, and tells what came of it by numbers that nobody else writes, so
that neither side needs a lock.

Records are appended whole.  One `write` of a file opened for appending is never mixed with those of
other processes, so records go together in one; into a pipe that is only so up to `PIPE_BUF` bytes.
Where a disk is full in the middle of a record, the rest of that one is what is written next, once
there is room; the records after it are lost, and counted.
"""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from tcpmesh.logs.rotation import opened_anew

WAIT = 0.1
"""Seconds after which a writer that cannot write looks whether it is still to."""

_END, _REOPEN = object(), object()

_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs that stand for no byte."""


class _Batch(NamedTuple):
    """Records, and how many characters they have together."""

    records: Sequence[str]
    size: int


class Writer:
    """Writes the records of one file in a thread of its own, which begins with `start`.

    :param fd: the open file, which is this one's to close.
    :param open_anew: opens the file again, wherever it is by now.
    """

    def __init__(self, path: str, fd: int, open_anew: Callable[[str], int]) -> None:
        self.path = path
        self.done = 0
        """Characters of all that has been dealt with: written, or lost."""
        self.completed = 0
        """Writes that have succeeded, and `failed` those that have not."""
        self.failed = 0
        self.reopen_failed = 0
        self.lost = 0
        """Records that could not be written."""
        self.error = ""
        """Why the last write or opening that failed did."""
        self.is_abandoned = False
        """Whether nobody waits for it any more."""
        self._orders: SimpleQueue[Any] = SimpleQueue()
        self._fd = fd
        self._open_anew = open_anew
        self._is_to_reopen = False
        self._reopens_asked = 0
        """How often the file was to be opened anew, as the event loop counts, and `_reopens_seen`
        how often the thread has come to that.
        """
        self._reopens_seen = 0
        self._rest = b""
        """What is still to be written of a record of which a part is in the file."""
        self._thread: Thread | None = None

    # What the event loop calls

    def start(self) -> None:
        """Begin.

        :raise RuntimeError: where the system has no thread left.
        """
        thread = Thread(target=self._run, name=f"access log {self.path}", daemon=True)
        thread.start()
        self._thread = thread

    @property
    def is_started(self) -> bool:
        """Whether there is, or was, a thread."""
        return self._thread is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing is written any more."""
        return self._thread is None or not self._thread.is_alive()

    def put(self, records: Sequence[str], size: int) -> None:
        """Write these, of so many characters together."""
        self._orders.put(_Batch(records, size))

    def reopen(self) -> None:
        """Open the file anew, once what was put is written, or at once where the file takes none of
        it and its path is another's by now.
        """
        self._reopens_asked += 1
        self._orders.put(_REOPEN)

    def end(self) -> None:
        """Close the file once what was put is written."""
        if self._thread is not None:
            self._orders.put(_END)
        else:
            os.close(self._fd)

    # In the thread

    def _run(self) -> None:
        while (order := self._orders.get()) is not _END:
            if self.is_abandoned:
                continue
            if order is _REOPEN:
                self._reopens_seen += 1
                self._is_to_reopen = True
            if self._is_to_reopen:
                self._reopen()
            if order is not _REOPEN:
                self._write_safely(order.records)
                self.done += order.size
        os.close(self._fd)

    def _write_safely(self, records: Sequence[str]) -> None:
        """Append records; whatever goes wrong, the thread goes on."""
        try:
            self._write(records)
        except Exception as e:  # such as a file system that does not even tell what kind of file
            self.failed += 1
            self.lost += len(records)
            self.error = str(e)

    def _reopen(self) -> None:
        """Open the file anew; where that fails the old one goes on, and the next records are
        another occasion.
        """
        try:
            fresh = opened_anew(self.path, self._fd, self._open_anew)
        except OSError as e:
            self.reopen_failed += 1
            self.error = str(e.strerror)
            return
        os.close(self._fd)
        self.lost += bool(self._rest)
        self._fd, self._rest, self._is_to_reopen = fresh, b"", False

    def _write(self, records: Sequence[str]) -> None:
        """Append records, as many as fit at a time."""
        if self._rest:
            self._rest = self._rest[self._append(self._rest) :]
            if self._rest:
                self.lost += len(records)
                return
        for piece in self._pieces(records):
            data = b"".join(piece)
            written = self._append(data)
            if written < len(data):
                self._cut(piece, written)

    def _pieces(self, records: Sequence[str]) -> Iterator[list[bytes]]:
        """What can be appended in one go, each as whole records."""
        encoded = [encode(record) for record in records]
        if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            yield encoded
            return
        piece: list[bytes] = []
        size = 0
        for record in encoded:
            if piece and size + len(record) > select.PIPE_BUF:
                yield piece
                piece, size = [], 0
            piece.append(record)
            size += len(record)
        yield piece

    def _cut(self, piece: list[bytes], written: int) -> None:
        """Only so many bytes of these records are in the file."""
        for index, record in enumerate(piece):
            if written < len(record):
                self._rest = record[written:] if written else b""
                self.lost += len(piece) - index - bool(written)
                return
            written -= len(record)

    def _append(self, data: bytes) -> int:
        """Write, and wait where the file cannot take it now; how many bytes are written."""
        at = 0
        while at < len(data):
            try:
                at += os.write(self._fd, data[at:] if at else data)
            except BlockingIOError:
                if not self._wait():
                    return at
            except OSError as e:
                self.failed += 1
                self.error = str(e.strerror)
                return at
        self.completed += 1
        return at

    def _wait(self) -> bool:
        """Wait until the file can take more; whether there is still somebody who waits for that."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while not poll.poll(WAIT * 1000):
            if self.is_abandoned:
                return False
            if self._reopens_asked > self._reopens_seen and self._is_replaced():
                self._is_to_reopen = True
                self.failed += 1
                self.error = "it took none, and its path is another's"
                return False
        return True

    def _is_replaced(self) -> bool:
        """Whether the path leads to another file than the one that is open, or to none."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except OSError:
            return True


def encode(record: str) -> bytes:
    """The bytes of a record: those that are no UTF-8 are what they were, and half a surrogate pair,
    which is nothing at all, becomes a question mark.
    """
    try:
        return record.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _HALF.sub("?", record).encode("utf-8", "surrogateescape")
