"""A program that sends bytes through a proxy time and again, and says how long they were under way.

    python -m tests.attacks.probe PORT PID PID ...

On a machine with other work a process may have to wait for a processor, which is no fault of the
proxy.  The kernel counts that time for each process (`/proc/PID/schedstat`), so it is taken off for
the proxy, the upstream and the probe itself.  What remains is the time in which the proxy could
have answered and did something else; the CPU time that it used meanwhile is counted at least.

For each line on its standard input it writes one, the figures since the line before, in JSON.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

PAUSE = 0.003
"""Seconds between two echoes."""

WARM_UP = 600
"""Echoes before anything is counted: a ring has 512 buffers to receive into, which it uses in turn,
and whose memory it has from the first time on.
"""

FRESH = 8
"""After so many echoes over the connection that is kept, one over a connection of its own."""

PATIENCE = 60.0
"""Seconds until an echo is lost."""

PAYLOAD = b"echo"

_SCHED_CLOCK = 2


@dataclass
class Figures:
    """What was seen; times are in milliseconds."""

    echoes: int = 0
    longest: float = 0.0
    """The longest time that an echo took, by the proxy's own doing."""

    longest_fresh: float = 0.0
    """The same of an echo over a connection of its own, connecting included."""

    longest_wall: float = 0.0
    """The longest that any took, by the clock on the wall."""

    lost: int = 0
    """Echoes that did not come back."""

    waited: float = 0.0
    """Percent of the time that the proxy waited for a processor."""


class Cost:
    """What the kernel counts for some processes, of which the first is the proxy."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._files = [os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in pids]
        self._clock = (~pids[0] << 3) | _SCHED_CLOCK

    def delay(self) -> int:
        """Nanoseconds that any of the processes waited for a processor."""
        return sum(_delay(file) for file in self._files)

    def delay_of_proxy(self) -> int:
        """The same of the proxy alone."""
        return _delay(self._files[0])

    def cpu(self) -> int:
        """CPU nanoseconds of the proxy."""
        return time.clock_gettime_ns(self._clock)


def _delay(file: int) -> int:
    return int(os.pread(file, 100, 0).split()[1])


class Probe:
    """Sends the echoes."""

    def __init__(self, port: int, cost: Cost) -> None:
        self._port = port
        self._cost = cost
        self._kept = self._connect()
        for _ in range(WARM_UP):
            _echo(self._kept)
        self.start()

    def start(self) -> None:
        """Begin anew with the figures."""
        self._figures = Figures()
        self._started = time.perf_counter_ns()
        self._delay = self._cost.delay_of_proxy()

    def figures(self) -> Figures:
        """What was seen since the start."""
        took = time.perf_counter_ns() - self._started
        waited = (self._cost.delay_of_proxy() - self._delay) / max(took, 1)
        self._figures.waited = round(100 * waited, 1)
        return self._figures

    def step(self) -> None:
        """One echo."""
        seen = self._figures
        seen.echoes += 1
        try:
            if seen.echoes % FRESH:
                wall, own = self._timed(lambda: _echo(self._kept))
                seen.longest = max(seen.longest, own)
            else:
                wall, own = self._timed(self._fresh)
                seen.longest_fresh = max(seen.longest_fresh, own)
            seen.longest_wall = max(seen.longest_wall, wall)
        except OSError:
            seen.lost += 1
            time.sleep(PAUSE)
            if seen.echoes % FRESH:
                self._renew()

    def _timed(self, act: Callable[[], object]) -> tuple[float, float]:
        """Milliseconds that something takes: all of them, and those that are the proxy's doing."""
        cost = self._cost
        delay, cpu, start = cost.delay(), cost.cpu(), time.perf_counter_ns()
        act()
        wall = time.perf_counter_ns() - start
        own = max(wall - (cost.delay() - delay), min(wall, cost.cpu() - cpu))
        return round(wall / 1e6, 1), round(own / 1e6, 1)

    def _fresh(self) -> None:
        with self._connect() as sock:
            _echo(sock)

    def _renew(self) -> None:
        self._kept.close()
        with suppress(OSError):  # then the next echo fails too, and is counted
            self._kept = self._connect()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE)


def _echo(sock: socket.socket) -> None:
    sock.sendall(PAYLOAD)
    left = len(PAYLOAD)
    while left:
        data = sock.recv(left)
        if not data:
            raise ConnectionResetError("the proxy has closed the connection of the probe")
        left -= len(data)


def main() -> None:
    """The program."""
    port, *pids = map(int, sys.argv[1:])
    probe = Probe(port, Cost([*pids, os.getpid()]))
    while True:
        probe.step()
        if not select.select([sys.stdin], [], [], PAUSE)[0]:
            continue
        if not sys.stdin.readline():
            return
        print(json.dumps(asdict(probe.figures())), flush=True)
        probe.start()


if __name__ == "__main__":
    main()
