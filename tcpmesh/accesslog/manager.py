"""The files of all access logs of a process: Envoy's AccessLogManager.

Records are kept until there are `--file-flush-min-size-kb` of them, or `--file-flush-interval-msec`
is over, and then handed to the thread of their file (`tcpmesh.accesslog.writer`).  The first one
goes at once, as in Envoy, so that whoever tries a log sees something.  The event loop never writes.
What a file does not take in time is kept up to `MOST_WAITING`; beyond that records are dropped, and
counted.

At the end of the process all that was recorded is written, but a file that is stuck is not waited
for longer than `PATIENCE`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial

from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tcpmesh.accesslog.opening import NOWHERE, open_for_records
from tcpmesh.accesslog.writer import Writer
from tcpmesh.interfaces import IAccessLogFile, IAccessLogManager
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store
from tcpmesh.values.all_or_nothing import all_or_nothing

log = Logger(namespace="file")

MOST_WAITING = 16 << 20
"""Characters that wait for one file to take them."""

PATIENCE = 2.0
"""Seconds that the end of the process may wait for files."""

LOOK = 0.002
"""Seconds between two looks whether the threads are done, at the end."""

COMPLAINTS = 10.0
"""Seconds between two lines in the log of the process about one file."""

SHORTEST = 0.001
"""Seconds between two flushes, where no time is to be between them."""


class _FileStats:
    """The statistics under `filesystem.`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.flushed_by_timer = store.counter("filesystem.flushed_by_timer")
        self.reopen_failed = store.counter("filesystem.reopen_failed")
        self.buffered = store.counter("filesystem.write_buffered")
        self.completed = store.counter("filesystem.write_completed")
        self.failed = store.counter("filesystem.write_failed")
        self.total_buffered = store.gauge("filesystem.write_total_buffered", Merge.SUM)

    def dropped(self, records: int) -> None:
        """So many were dropped; Envoy, which keeps all, has no such counter, so it is shown only
        where there are any.
        """
        self._store.counter("filesystem.write_dropped").tally += records


@implementer(IAccessLogFile)
class AccessLogFile:
    """One file, shared by all that log to its path."""

    def __init__(
        self, writer: Writer, stats: _FileStats, flush_size: int, at_end: Callable[[], object]
    ) -> None:
        self.writer = writer
        self.users = 0
        self._at_end = at_end
        self._stats = stats
        self._flush_size = flush_size
        self._limit = -1
        """More characters than these are handed over at once: with the first record, all."""
        self._records: list[str] = []
        self._size = 0
        self._handed = 0
        self._told = (0, 0, 0, 0)
        """What the statistics have of the writer's numbers, and of what is buffered."""
        self._lost = 0
        """Records that were dropped, or that the writer has lost, as far as the log has said."""
        self._dropped = 0
        self._complained = -COMPLAINTS
        self._has_ended = False

    def write(self, text: str) -> None:
        """Keep a record until it is time to write."""
        self._stats.buffered.tally += 1
        self._records.append(text)
        self._size += len(text)
        if self._size > self._limit:
            self.flush()

    def close(self) -> None:
        """One that logs here does so no more."""
        self.users -= 1
        if not self.users:
            self._at_end()

    # What the manager calls

    def flush(self) -> None:
        """Hand over what is kept, or drop it where the file is too far behind."""
        if not self._records:
            return
        records, size = self._records, self._size
        self._records, self._size, self._limit = [], 0, self._flush_size
        waiting = self._handed - self.writer.done
        is_behind = waiting and waiting + size > MOST_WAITING
        if is_behind or self._has_ended or not self._is_served():
            self._dropped += len(records)
            self._stats.dropped(len(records))
        else:
            self._handed += size
            self.writer.put(records, size)

    def _is_served(self) -> bool:
        """Whether there is a thread, or one can be had."""
        if not self.writer.is_started:
            try:
                self.writer.start()
            except RuntimeError as e:
                self.writer.error = str(e)
                return False
        return True

    def end(self) -> None:
        """Nothing more comes."""
        self.flush()
        self._has_ended = True
        self.writer.end()

    def count(self) -> None:
        """Bring the statistics up to date."""
        writer, stats = self.writer, self._stats
        now = (
            writer.completed,
            writer.failed,
            writer.reopen_failed,
            self._handed - writer.done + self._size,
        )
        completed, failed, reopen_failed, buffered = self._told
        stats.completed.tally += now[0] - completed
        stats.failed.tally += now[1] - failed
        stats.reopen_failed.tally += now[2] - reopen_failed
        stats.total_buffered.add(now[3] - buffered)
        self._told = now

    def complain(self, now: float, pause: float = COMPLAINTS) -> None:
        """Say in the log of the process what was lost, if that was not said in the last
        seconds.
        """
        lost = self.writer.lost + self._dropped
        if lost > self._lost and now - self._complained >= pause:
            self._complained = now
            log.error(
                "{count} records of the access log {path} are lost: {reason}",
                count=lost - self._lost,
                path=self.writer.path,
                reason=self.writer.error or "it takes none",
            )
            self._lost = lost


@implementer(IAccessLogFile)
class _Nowhere:
    """`/dev/null`, which is not even opened."""

    def write(self, text: str) -> None:
        """Forget it."""

    def close(self) -> None:
        """There is nothing to close."""


@implementer(IAccessLogManager)
class AccessLogManager:
    """See the module's text.

    :param interval_msec: milliseconds after which records are written.
    :param min_size_kb: so many thousands of characters are written sooner.
    :param open_file: opens a path.
    """

    def __init__(
        self,
        store: Store,
        clock: IReactorTime,
        interval_msec: int = 10_000,
        min_size_kb: int = 64,
        open_file: Callable[[str], int] = open_for_records,
    ) -> None:
        self._store = store
        self._clock = clock
        self._interval = max(interval_msec / 1000, SHORTEST)
        self._flush_size = min_size_kb << 10
        self._open = open_file
        self._stats = _FileStats(store)
        self._files: dict[str, AccessLogFile] = {}
        self._ending: set[AccessLogFile] = set()
        """Those that nobody logs to any more, as long as something is still to be written."""
        self._timer: IDelayedCall | None = None
        self._is_stopped = False
        store.add_collector(self._collect)

    def open(self, path: str) -> IAccessLogFile:
        """The file of this path.

        :raise OSError: where it cannot be opened.
        """
        if path == NOWHERE:
            return _Nowhere()
        if self._is_stopped:
            raise OSError(errno.ECANCELED, "the process ends", path)
        file = self._files.get(path)
        if file is None:
            with all_or_nothing() as undo:
                fd = self._open(path)
                undo.callback(os.close, fd)
                file = self._files[path] = AccessLogFile(
                    Writer(path, fd, self._open),
                    self._stats,
                    self._flush_size,
                    partial(self._end, path),
                )
                undo.callback(self._files.pop, path)
                if self._timer is None:
                    self._timer = self._clock.callLater(self._interval, self._flush)
        file.users += 1
        return file

    def reopen(self) -> None:
        """Open all files anew, and write what is kept to the new ones."""
        for file in self._files.values():
            file.writer.reopen()
            file.flush()

    def stop(self) -> Deferred[None]:
        """Write all there is and close all files; fires when that is done, or has taken too
        long.
        """
        if self._is_stopped:
            return succeed(None)
        self._is_stopped = True
        for path in tuple(self._files):
            self._end(path)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stopped: Deferred[None] = Deferred()
        self._wait(self._clock.seconds() + PATIENCE, stopped)
        return stopped

    def _wait(self, deadline: float, stopped: Deferred[None]) -> None:
        if self._has_ended():
            self._store.remove_collector(self._collect)
            stopped.callback(None)
        elif self._clock.seconds() < deadline:
            self._clock.callLater(LOOK, self._wait, deadline, stopped)
        else:
            for file in self._ending:
                file.writer.is_abandoned = True
                log.error(
                    "the access log {path} is not complete: it is stuck", path=file.writer.path
                )
            self._ending.clear()
            self._wait(deadline, stopped)

    def _has_ended(self) -> bool:
        """Whether nothing is being written any more to files that nobody logs to."""
        for file in tuple(self._ending):
            if file.writer.is_over:
                file.count()
                file.complain(self._clock.seconds(), 0)
                self._ending.discard(file)
        return not self._ending

    def _end(self, path: str) -> None:
        file = self._files.pop(path)
        file.end()
        self._ending.add(file)

    def _flush(self) -> None:
        """The interval is over."""
        self._timer = self._clock.callLater(self._interval, self._flush) if self._files else None
        self._stats.flushed_by_timer.tally += len(self._files)
        for file in self._files.values():
            file.flush()
            file.complain(self._clock.seconds())
        self._has_ended()

    def _collect(self) -> None:
        for file in (*self._files.values(), *self._ending):
            file.count()
        self._has_ended()
