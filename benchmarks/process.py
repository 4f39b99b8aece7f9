"""Child processes whose cost is known exactly, and which are gone when the benchmark is.

CPU time comes from the kernel's per-process clock (nanoseconds, all threads, also those that
ended), which is finer than the 10 ms ticks of `/proc/PID/stat`; those ticks serve only for children
that were already reaped.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_SCHED_CLOCK = 2
_CUTIME, _CSTIME = (
    13,
    14,
)  # counted from the field after the command name; proc(5) calls them 16 and 17


class BenchmarkError(Exception):
    """Something in a run is not as it must be: a process ended, a reply is wrong, a deadline
    passed.
    """


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process and its descendants, in KiB.

    `resident` counts all pages, also the text of programs and libraries; `own` only anonymous ones
    (heap, stacks, data written to), those that a parent and its child still share once.
    """

    resident: int
    own: int


def cpu_clock(pid: int) -> int:
    """CPU nanoseconds, user and system, that the process `pid` has used.

    The clock id is what clock_getcpuclockid(3) returns on Linux.

    :raise OSError: there is no such process.
    """
    return time.clock_gettime_ns((~pid << 3) | _SCHED_CLOCK)


def descendants(pid: int) -> Iterator[int]:
    """`pid` and all living processes below it."""
    pending = [pid]
    while pending:
        parent = pending.pop()
        yield parent
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pending.extend(int(child) for child in children.read_text().split())
            except OSError:
                continue


def _reaped_children_ns(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[_CUTIME]) + int(fields[_CSTIME])
    return ticks * 1_000_000_000 // _TICKS_PER_SECOND


def tree_cpu_ns(pid: int) -> int:
    """CPU nanoseconds of `pid` and its descendants, the living and the reaped."""
    total = 0
    for member in descendants(pid):
        try:
            total += cpu_clock(member) + _reaped_children_ns(member)
        except OSError:
            if member == pid:
                raise
    return total


def _memory_of(pid: int) -> Memory:
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        sizes[name] = int(value.split()[0])
    return Memory(sizes["Rss"], sizes["Pss_Anon"])


def tree_memory(pid: int) -> Memory:
    """Memory of `pid` and its descendants."""
    resident = own = 0
    for member in descendants(pid):
        try:
            memory = _memory_of(member)
        except OSError:
            continue
        resident += memory.resident
        own += memory.own
    return Memory(resident, own)


def tree_descriptors(pid: int) -> int:
    """How many file descriptors `pid` and its descendants have open."""
    count = 0
    for member in descendants(pid):
        try:
            count += len(os.listdir(f"/proc/{member}/fd"))
        except OSError:
            continue
    return count


def tree_files(pid: int) -> set[str]:
    """What the file descriptors of `pid` and its descendants are of, as the kernel calls it."""
    found = set()
    for member in descendants(pid):
        for entry in Path(f"/proc/{member}/fd").iterdir():
            try:
                found.add(os.readlink(entry))
            except OSError:
                continue
    return found


class Child:
    """A program that runs until the `with` block ends, its output in a file.

    :ivar pid: its process id.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def cpu_ns(self) -> int:
        """CPU nanoseconds so far, children included.

        :raise BenchmarkError: it has ended.
        """
        self.check()
        return tree_cpu_ns(self.pid)

    def check(self) -> None:
        """Raise `BenchmarkError` with the end of its output, if the program has ended."""
        if not self.running():
            raise BenchmarkError(
                f"{self.name} ended with status {self._process.returncode}:\n{self.last_output()}"
            )

    def last_output(self) -> str:
        """The last lines that the program wrote."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line[:200]}" for line in lines[-12:])

    def stop(self) -> None:
        """Ask the program to end, and after five seconds make it; nothing below it is left."""
        members = list(descendants(self.pid)) if self.running() else []
        if members:
            self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also after a second Ctrl-C
            self._process.kill()
            self._process.wait()
            for member in members[1:]:
                _kill_orphan(member, self.pid)


def _kill_orphan(pid: int, session: int) -> None:
    """Kill `pid`, if it still is the process that we started: its session is the one made for its
    parent.
    """
    try:
        if os.getsid(pid) == session:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every 20 ms whether `condition` holds.

    :raise BenchmarkError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether something listens on `port` of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for_ports(child: Child, ports: Sequence[int], seconds: float = 30) -> None:
    """Wait until `child` listens on all `ports`.

    :raise BenchmarkError: it ended or took too long.
    """
    for port in ports:

        def listening(port: int = port) -> bool:
            child.check()
            return accepts(port)

        wait_until(listening, seconds, f"{child.name} listens on port {port}")


class Ports:
    """Hands out free loopback ports from below the range that outgoing connections use, each
    once.
    """

    def __init__(self, first: int = 20_000, last: int = 32_000) -> None:
        # Processes that follow each other begin far apart: they may look for ports at the same
        # moment.
        self._candidates = iter(range(first + os.getpid() * 97 % 10_000, last))

    def take(self) -> int:
        """A port that nobody listens on.

        :raise BenchmarkError: the range is used up.
        """
        for port in self._candidates:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise BenchmarkError("no free port")
