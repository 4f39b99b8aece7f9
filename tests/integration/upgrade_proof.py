"""Upgrades of a running `twistd tcpmesh` under traffic: `make upgrade-proof`.

Many connections talk at random in both directions; some have ended in one direction, of some one
side does not read; and others come and go all the time.  The proxy is upgraded, again and again.
Every byte is looked at where it arrives, and how long each message took.  Not one may be wrong, no
connection may be cut off, and none refused; and each old process is to be gone within two seconds,
for everything can move.

    python -m tests.integration.upgrade_proof --connections 1000 --upgrades 3 --rate 500
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tcpmesh.testing.child import TWISTD, Child, free_port
from tests.integration.traffic import Traffic

CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front
          cluster: server
  clusters:
  - name: server
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_requests: 100000}}]}}
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {server}}}}}}}
"""

CALM = 3.0
"""Seconds of traffic before the first upgrade and after the last, and between two."""

MOST_GONE = 2.0
"""Seconds after the last client has moved in which an old process is to be gone."""


@dataclass
class Result:
    """What came of it."""

    connections: int
    upgrades: int
    failures: list[str]
    newcomers: int = 0
    seconds: float = 1.0
    """For which newcomers came."""
    bytes: int = 0
    messages: int = 0
    moved: list[str] = field(default_factory=list)
    """What the processes have said."""
    gone: list[float] = field(default_factory=list)
    """Seconds between the last client that has moved and the end of the old process, each time."""
    longest_calm: float = 0.0
    """The longest time of a message while nothing was upgraded, in seconds."""
    longest: float = 0.0
    """... and while something was."""
    usual: float = 0.0
    """The time that a hundredth of these took longer than."""
    start: float = 0.0
    """Seconds that a new process took until it served, on average."""

    @property
    def verdict(self) -> str:
        """How many have failed."""
        if self.failures:
            return f"{len(self.failures)} failures"
        return "not a byte wrong, nobody cut off or refused"

    def lines(self) -> list[str]:
        """In words."""
        return [
            f"{self.connections} connections, {self.newcomers} others came and went, "
            f"{self.newcomers / self.seconds:.0f} a second, {self.upgrades} upgrades, "
            f"{self.start:.1f} s from a signal to the process that serves",
            f"{self.messages} messages, {self.bytes >> 20} MiB: {self.verdict}",
            *(f"  {each}" for each in self.failures[:10]),
            f"the longest time of a message: {self.longest * 1000:.0f} ms during upgrades (99 of "
            f"100 within {self.usual * 1000:.0f} ms), {self.longest_calm * 1000:.0f} ms else",
            *self.moved,
            f"an old process was gone after at most {max(self.gone, default=0):.1f} s",
        ]


class Proof:
    """One run."""

    def __init__(
        self, connections: int, upgrades: int, rate: int, concurrency: int, seed: int = 1
    ) -> None:
        self._traffic = Traffic(seed)
        self._upgrades = upgrades
        self._concurrency = concurrency
        self._result = Result(connections, upgrades, self._traffic.failures)
        self._rate = rate
        self._windows: list[tuple[float, float]] = []
        self._pids: list[int] = []

    def run(self) -> Result:
        """All of it."""
        traffic, port, admin = self._traffic, free_port(), free_port()
        traffic.port = port
        config = CONFIG.format(port=port, admin=admin, server=traffic.server_port)
        pid_file = "twistd.pid"
        program = (TWISTD, "-n", f"--pidfile={pid_file}", "tcpmesh")
        arguments = ("--concurrency", str(self._concurrency), "--parent-shutdown-time-s", "60")
        with Child(config, arguments, program=program) as proxy, contextlib.ExitStack() as leaving:
            path = proxy.path / pid_file
            leaving.callback(_end, path)
            leaving.callback(traffic.close)
            proxy.wait_ready()
            self._pids.append(int(path.read_text()))
            self._begin()
            began = time.monotonic()
            for _ in range(self._upgrades):
                traffic.run(lambda: False, CALM)
                self._upgrade(proxy, path)
            traffic.run(lambda: False, CALM)
            self._result.seconds = time.monotonic() - began
            traffic.finish()
            if not traffic.run(lambda: not traffic.pairs, 60.0):
                traffic.failures += [f"connection {each} does not end" for each in traffic.pairs]
            self._result.moved = _moved(proxy.output)
        self._measure()
        return self._result

    def _begin(self) -> None:
        """Connect everybody, in steps, and let newcomers come."""
        traffic, result = self._traffic, self._result
        for number in range(result.connections):
            traffic.connect(number, stalled=number % 50 == 1)
            traffic.run(lambda: False, 0.001)
        there = traffic.run(
            lambda: all(each.server is not None for each in traffic.pairs.values()), 30.0
        )
        if not there:
            traffic.failures.append("not all connections come to the server")
        for number, pair in enumerate(tuple(traffic.pairs.values())):
            traffic.talk(pair, mean=max(0.2, result.connections / 4000))
            if number % 10 == 0:
                flow = pair.up if number % 20 else pair.down
                traffic.later(traffic.random.uniform(0, 2), partial(traffic.end, pair, flow))
            elif number % 50 == 1:
                traffic.stall(pair, pair.down)
        if self._rate:
            traffic.come(self._rate)

    def _upgrade(self, proxy: Child, path: Path) -> None:
        """Once, while traffic goes on."""
        old, began = self._pids[-1], time.monotonic()
        os.kill(old, signal.SIGUSR2)

        def has_begun() -> bool:
            with contextlib.suppress(OSError, ValueError):
                return int(path.read_text()) != old
            return False

        if not self._traffic.run(has_begun, 60.0):
            self._traffic.failures.append("an upgrade does not come about")
            return
        handed = time.monotonic()
        self._result.start += (handed - began) / self._upgrades
        self._pids.append(int(path.read_text()))
        self._traffic.run(lambda: len(_moved(proxy.output)) == len(self._pids) - 1, 60.0)
        moved = time.monotonic()
        self._traffic.run(lambda: not _runs(old), 30.0)
        gone = time.monotonic()
        self._windows.append((began, gone))
        self._result.gone.append(gone - moved)
        if gone - moved > MOST_GONE:
            self._traffic.failures.append(f"an old process has lived for {gone - moved:.1f} s")

    def _measure(self) -> None:
        result, traffic = self._result, self._traffic
        during: list[float] = []
        for since, delay in traffic.delays:
            if any(begin - delay <= since <= end for begin, end in self._windows):
                during.append(delay)
            else:
                result.longest_calm = max(result.longest_calm, delay)
        during.sort()
        if during:
            result.longest, result.usual = during[-1], during[len(during) * 99 // 100]
        result.messages, result.bytes = len(traffic.delays), traffic.bytes
        result.newcomers = traffic.newcomers


def _moved(output: str) -> list[str]:
    """What processes have said of clients that moved."""
    found = (line.partition("[main] ")[2] for line in output.splitlines())
    return [line for line in found if " have moved to process " in line]


def _runs(pid: int) -> bool:
    """Whether there is a process that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _end(path: Path) -> None:
    """The last process ends."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(path.read_text()), signal.SIGTERM)
        limit = time.monotonic() + 20.0
        while path.exists() and time.monotonic() < limit:
            time.sleep(0.02)


def main() -> None:
    """Play, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--upgrades", type=int, default=3)
    parser.add_argument("--rate", type=int, default=500, help="new connections a second")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    proof = Proof(
        options.connections, options.upgrades, options.rate, options.concurrency, options.seed
    )
    result = proof.run()
    print("\n".join(result.lines()))
    sys.exit(bool(result.failures))


if __name__ == "__main__":
    main()
