"""One turn: the client asks through a proxy, once while nobody looks and once for the record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.process import BenchmarkError, Child, descendants
from benchmarks.tools import REPOSITORY
from benchmarks.waits.events import URING, parse, sending
from benchmarks.waits.figures import of_record, of_times
from benchmarks.waits.split import Threads, follow
from benchmarks.waits.tracing import Tracing

_WARM = 200
_PRIORITY = 5

Times = list[tuple[int, int, int]]


@dataclass(frozen=True)
class Mode:
    """How the client asks.

    :ivar interval: nanoseconds from one request to the next; 0: when the last one is answered.
    :ivar alone: whether client, proxy and server are scheduled before all other programs.
    """

    name: str
    title: str
    interval: int
    requests: int
    alone: bool = False


_MILLISECOND = 1_000_000

MODES = (
    Mode("closed", "One request after the other", 0, 2000),
    Mode("closed-alone", "The same, before all other programs", 0, 2000, alone=True),
    Mode("paced", "A request each millisecond", _MILLISECOND, 800),
    Mode("paced-alone", "The same, before all other programs", _MILLISECOND, 800, alone=True),
)


class Client:
    """`benchmarks.waits.client` for as long as the `with` block lasts."""

    def __init__(self, port: int, directory: Path) -> None:
        self._errors = directory / "client.log"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.waits.client", str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=REPOSITORY,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, requests: int, interval: int) -> Times:
        """So many requests: when each was due, sent and answered, in nanoseconds.

        :raise BenchmarkError: not all had the right answer.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(f"{requests} {interval}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            last = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
            raise BenchmarkError(f"the client has ended: {last}")
        return [(due, sent, done) for due, sent, done in json.loads(line)]


def threads_of(pid: int) -> set[int]:
    """Those of a process and of all below it."""
    found: set[int] = set()
    for each in descendants(pid):
        try:
            found.update(map(int, os.listdir(f"/proc/{each}/task")))
        except OSError:
            continue  # it has just ended
    return found


@contextmanager
def before_others(threads: Iterable[int]) -> Iterator[None]:
    """Let these threads have a processor before all ordinary programs, for the `with` block."""
    threads = list(threads)
    for thread in threads:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(_PRIORITY))
    try:
        yield
    finally:
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def measured(
    mode: Mode, client: Client, child: Child, servers: Iterable[int], tracing: Tracing
) -> dict[str, float]:
    """The figures of a turn.

    :param servers: the threads of the backends.
    :raise BenchmarkError: a wrong answer, or no record.
    """
    threads = Threads(
        client.pid, set(servers), threads_of(child.pid), sending(), sending() | {URING}
    )
    if mode.alone:
        with before_others(threads.all()):
            return _asked(mode, client, child, threads, tracing)
    return _asked(mode, client, child, threads, tracing)


def _asked(
    mode: Mode, client: Client, child: Child, threads: Threads, tracing: Tracing
) -> dict[str, float]:
    client.ask(_WARM, 0)
    before = child.cpu_ns()
    times = client.ask(mode.requests, mode.interval)
    cpu = (child.cpu_ns() - before) / 1000 / mode.requests
    tracing.start(threads.all())
    client.ask(mode.requests, mode.interval)
    record = follow(parse(tracing.stop()), threads)
    return {**of_times(times, mode.interval > 0), **of_record(record), "cpu": cpu}
