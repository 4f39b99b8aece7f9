"""The order of work in a round of the benchmark."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import rounds
from benchmarks.backends import Backends
from benchmarks.process import BenchmarkError, Child, Ports
from benchmarks.proxies import Command, Proxy, Route
from benchmarks.proxies.route import ALL, PLAIN
from benchmarks.results import Results
from benchmarks.rounds import Plan, Run
from benchmarks.workloads import Bench, Metric, Running, Settings, Values, Workload

LISTEN = """
import socket, sys, time
held = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:]]
time.sleep(60)
"""


REFUSING = """
import sys
sys.exit("[2026-01-01 00:00:00.000][1][critical][main] no such transports")
"""


def refusing() -> Proxy:
    """A program that cannot run everywhere, and not here."""

    def prepare(stem: Path, route: Route) -> Command:
        return Command([sys.executable, "-c", REFUSING])

    return Proxy("ring", lambda: None, prepare, lambda: "1", optional=True)


def listener(name: str, logs: bool = True) -> Proxy:
    """A program that listens, as a proxy does, and is good for nothing else."""

    def prepare(stem: Path, route: Route) -> Command:
        return Command([sys.executable, "-c", LISTEN, *map(str, route.ports.values())])

    return Proxy(name, lambda: None, prepare, lambda: "1", ALL if logs else PLAIN)


class RoundTests(SynchronousTestCase):
    """Two proxies and a workload of three turns."""

    def setUp(self) -> None:
        self.order: list[str] = []
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.results = Results({})
        self.told: list[str] = []
        self.patch(rounds, "say", self.told.append)

    def turn(self, bench: Bench, proxy: Running) -> Values:
        """Note whose turn it is; each costs twice what the one before did."""
        self.order.append(proxy.child.name)
        return {"cpu": 2.0 ** len(self.order)}

    def run_round(self, number: int, logs: bool = False, more: tuple[Proxy, ...] = ()) -> None:
        """Do a round of three turns with each, of which the second cannot log."""
        metrics = (Metric("cpu", "CPU", "s", 0),)
        workload = Workload("work", "Work", metrics, self.turn, 1, 3, "text" if logs else "web")
        plan = Plan(
            (listener("one"), listener("two", logs=False), *more),
            (workload,),
            1,
            Settings(1, 1, 1),
            self.directory,
            None,
        )
        bench = Bench(Backends((0, 0), 0), plan.settings, b"", self.directory)
        Run(plan, self.directory, bench, Ports(), self.results).round(number)

    def test_back_and_forth(self) -> None:
        """The turns go back and forth, and the median of each proxy's is its figure."""
        self.run_round(0)

        self.assertEqual(["one-0", "two-0", "two-0", "one-0", "one-0", "two-0"], self.order)
        self.assertEqual(
            {"one": 16.0, "two": 8.0},
            {sample.proxy: sample.values["cpu"] for sample in self.results.samples},
        )

    def test_other_start(self) -> None:
        """The next round begins with the next proxy."""
        self.run_round(1)

        self.assertEqual(["two-1", "one-1", "one-1", "two-1", "two-1", "one-1"], self.order)

    def test_logs(self) -> None:
        """Who cannot log has no turn where connections are logged."""
        self.run_round(0, logs=True)

        self.assertEqual(["one-0"] * 3, self.order)

    def test_absent(self) -> None:
        """What cannot run here is left out, with the reason, and is no failure; the others go
        on.
        """
        self.run_round(0, more=(refusing(),))

        self.assertEqual({"ring": "no such transports"}, self.results.absent)
        self.assertEqual([], self.results.failures)
        self.assertEqual({"one", "two"}, {sample.proxy for sample in self.results.samples})
        self.assertEqual(["ring is left out: no such transports"], self.told[:1])

    def test_wrong_kind(self) -> None:
        """So is what starts, but is not what it should be."""

        def verify(child: Child) -> None:
            raise BenchmarkError("it runs on epoll")

        self.run_round(0, more=(replace(listener("ring"), optional=True, verify=verify),))

        self.assertEqual({"ring": "it runs on epoll"}, self.results.absent)

    def test_failure(self) -> None:
        """Who fails in one turn has no further ones and no figure, and the reason is told; the
        other goes on.
        """

        def failing(bench: Bench, proxy: Running) -> Values:
            values = original(bench, proxy)
            if proxy.child.name == "one-0" and self.order.count("one-0") == 2:
                raise BenchmarkError("a wrong byte:\nthe 17th")
            return values

        original = self.turn
        self.patch(self, "turn", failing)
        self.run_round(0)

        self.assertEqual(["two"], [sample.proxy for sample in self.results.samples])
        self.assertEqual(
            [("one", "a wrong byte")],
            [(failure.proxy, failure.reason) for failure in self.results.failures],
        )
        self.assertIn("the 17th", "\n".join(self.told))
