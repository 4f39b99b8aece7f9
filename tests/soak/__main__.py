"""The command; its status is 1 where something was not as it has to be."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

from tcpmesh.testing.child import free_port, wait_for
from tests.soak.clients import Clients, connect
from tests.soak.configuration import FOUND, TURNING, Configuration, Place
from tests.soak.events import DRAIN, PARENT, Event, Operator, plan
from tests.soak.processes import PATIENCE, Proxy
from tests.soak.report import Report, differences, table
from tests.soak.sessions import Backends

AT_ONCE = 12
"""Sessions beside each other."""

WARM_UP = 5.0
"""Seconds of clients before anything is done."""

REMEMBERED = 1000
"""Ended connections that each worker knows of (`/connections/closed`)."""

PAGES = ("/stats", "/stats/prometheus", "/clusters", "/listeners", "/connections", "/config_dump")
"""What is first asked for may be kept afterwards."""

SLOW = 2.0
"""So much longer than planned may it take, where the machine has other work; then less is done."""

REST = 10.0
"""Seconds in which the last connections have to end."""

OVERTIME = 240.0
"""Seconds after which a soak is ended that has not come to its end by itself."""


class Soak:
    """One proxy, its clients, and its operator."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._arguments = arguments
        self._began = time.monotonic()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak")))
        self._places = list(places(folder))
        self.clients = Clients(self._places, AT_ONCE, arguments.seed * 1_000_000)
        backends = Backends(folder, 3, self.clients.flawed)
        stack.callback(backends.close)
        admin = free_port()
        self._configuration = Configuration(
            folder, self._places, backends.ports, backends.path, admin
        )
        self._configuration.write()
        options = [
            *("--concurrency", str(arguments.workers)),
            *("--drain-time-s", str(DRAIN), "--parent-shutdown-time-s", str(PARENT)),
        ]
        environ = {"TCPMESH_TRANSPORT": arguments.transport}
        self.proxy = Proxy(folder, self._configuration.path, admin, options, environ)
        stack.callback(self.proxy.stop)
        self.operator = Operator(self.proxy, self._configuration, self.clients, self.say)

    def say(self, text: str) -> None:
        """Tell what happens."""
        if self._arguments.verbose:
            print(f"{time.monotonic() - self._began:7.2f} {text}", flush=True)

    def play(self, events: Iterator[Event], seconds: float) -> None:
        """Do these while there are clients, as many as there is time for."""
        self.clients.go()
        time.sleep(WARM_UP)
        over = time.monotonic() + seconds
        for event in events:
            time.sleep(event.pause)
            if time.monotonic() > over:
                break
            self.operator.do(event)
            wrong, _ = self.clients.verdict()
            if wrong or self.operator.flaws:
                self.say(f"wrong: {wrong} {self.operator.flaws}")
                break
        self.clients.pause()

    def settle(self) -> Report:
        """Back to the first configuration, without clients; what the proxy consists of then."""
        self._configuration.reset()
        self._configuration.write()
        self.proxy.ask("/reload", "POST")
        wait_for(self.proxy.is_alone, "the end of processes that were replaced", PATIENCE)
        time.sleep(DRAIN + 2)
        self._fill()
        for page in PAGES:
            self.proxy.ask(page)
        time.sleep(1)
        main = self.proxy.main
        workers = self.proxy.workers(main)
        seen = [self.proxy.see(main, "main")]
        seen += (self.proxy.see(pid, f"worker {n}") for n, pid in sorted(workers.items()))
        return Report(seen, left(self.proxy.stats()))

    def flaws(self) -> list[str]:
        """Say what was done, and who noticed; what was wrong with that."""
        wrong, cut = self.clients.verdict()
        done = sorted(self.operator.done.items())
        print(f"done: {', '.join(f'{count} {kind}' for kind, count in done)}")
        cut_off = ", ".join(f"{count} as {why}" for why, count in cut.items()) or "none"
        print(f"sessions: {self.clients.played}; cut off: {cut_off}")
        slowest = ", ".join(f"{each * 1000:.0f} ms" for each in self.clients.slow_connects)
        print(f"slowest to connect: {slowest}")
        flaws = wrong + self.operator.flaws
        if "Traceback" in self.proxy.output:
            flaws.append(self.proxy.output)
        with suppress(OSError):
            failures = self.proxy.stats().get("server.worker_failures", 0)
            if failures != self.operator.killed:
                flaws.append(f"{failures} workers were lost, {self.operator.killed} were killed")
        return flaws

    def _fill(self) -> None:
        """Of ended connections as many are remembered as may be, of all listeners."""
        for number in range(REMEMBERED * 2 * self._arguments.workers):
            connect(self._places[number % len(self._places)]).close()
            time.sleep(0.001)
        with suppress(AssertionError):  # what is left is told of
            wait_for(lambda: not left(self.proxy.stats()), "nothing", REST)
        if left(self.proxy.stats()):
            self.say(self.proxy.ask("/connections?format=json")[1])


def places(folder: Path) -> Iterator[Place]:
    """Where clients get in."""
    yield Place("steady", "127.0.0.1", free_port())
    yield Place("steady6", "::1", free_port("::1"))
    yield Place("unix", str(folder / "proxy.sock"))
    for number in range(TURNING):
        yield Place(f"turning{number}", "127.0.0.1", free_port())
    for number in range(FOUND):
        yield Place(f"found{number}", "127.0.0.1", free_port())


def left(stats: dict[str, int]) -> dict[str, int]:
    """What ought to be 0 once nobody is connected, and is not: the admin interface is, by whoever
    asks for the statistics.
    """
    ours = ("cluster.", "listener.", "tcp.")
    return {
        name: value
        for name, value in stats.items()
        if value
        and name.startswith(ours)
        and not name.startswith("listener.admin.")
        and name.endswith(("_active", "_buffered"))
    }


def run(arguments: argparse.Namespace) -> list[str]:
    """Soak a proxy; what was wrong."""
    with ExitStack() as stack:
        soak = Soak(arguments, stack)
        if arguments.log:
            stack.callback(lambda: Path(arguments.log).write_text(soak.proxy.output))
        flaws: list[str] = []
        try:
            soak.proxy.wait_ready()
            half = arguments.seconds / 2
            soak.play(plan(arguments.seed, half, arguments.upgrades), SLOW * half)
            soak.say("the first half is over")
            before = soak.settle()
            soak.play(plan(arguments.seed + 1, half, 0), SLOW * half)
            after = soak.settle()
        except (AssertionError, OSError) as e:
            flaws.append(f"the proxy does not come to rest: {e}")
        else:
            print(table(before, after))
            flaws += differences(before, after)
            flaws += (f"left: {name} is {value}" for name, value in after.left.items())
        return soak.flaws() + flaws


def end_by_itself(seconds: float) -> None:
    """End this program after so long; the guard of the proxy's processes ends those."""

    def end() -> None:
        print(f"not over after {seconds} seconds", flush=True)
        os._exit(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make soak", description="A week in two minutes.")
    parser.add_argument("--seconds", type=float, default=80.0, help="of events (80)")
    parser.add_argument("--seed", type=int, help="what is done follows from it (any)")
    parser.add_argument("--workers", type=int, default=2, help="(2)")
    parser.add_argument("--upgrades", type=int, default=3, help="in the first half (3)")
    parser.add_argument("--transport", choices=["epoll", "uring-only", "stock"], default="epoll")
    parser.add_argument("--verbose", action="store_true", help="tell of each event")
    parser.add_argument("--log", help="where the proxy's log is copied to at the end")
    given = parser.parse_args(arguments)
    if given.seed is None:
        given.seed = Random().randrange(100_000)
    print(
        f"seed {given.seed}, {given.workers} workers, {given.transport} transports, "
        f"{given.seconds:.0f} s",
        flush=True,
    )
    end_by_itself(given.seconds + OVERTIME)
    began = time.monotonic()
    flaws = run(given)
    for flaw in flaws:
        print(f"WRONG: {flaw}")
    print(f"{len(flaws) or 'nothing'} wrong, after {time.monotonic() - began:.0f} s")
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())
