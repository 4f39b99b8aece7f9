"""Alternating rounds: every proxy does the same work within the same seconds.

All proxies of a round run at once and idle while another has its turn, so that one workload passes
through all of them before the machine changes its mood; each is started anew for every round, and
the order moves on by one.  Where a workload is so short that a moment decides, it passes several
times, back and forth: a mood that grows or fades meets all alike.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.command import say
from benchmarks.process import BenchmarkError, Child, Ports, wait_for_ports
from benchmarks.proxies import Proxy, Route
from benchmarks.proxies.route import ENCRYPTED, FILTERING, THROUGH, UNENCRYPTED
from benchmarks.results import Failure, Results, Sample
from benchmarks.workloads import Bench, Running, Settings, Values, Workload


@dataclass(frozen=True)
class Plan:
    """What is to be run, with which congestion control, if not the system's, and whether its rounds
    are added to those of an earlier run.
    """

    proxies: tuple[Proxy, ...]
    workloads: tuple[Workload, ...]
    rounds: int
    settings: Settings
    output: Path
    congestion: str | None
    append: bool = False


class Run:
    """Carries out a `Plan`; `results` fills up."""

    def __init__(
        self, plan: Plan, directory: Path, bench: Bench, ports: Ports, results: Results
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._bench = bench
        self._ports = ports
        self.results = results

    def round(self, number: int) -> None:
        """Start all proxies, do all the work once with each of them, stop them."""
        first = number % len(self._plan.proxies)
        order = self._plan.proxies[first:] + self._plan.proxies[:first]
        for listeners in (UNENCRYPTED, FILTERING, ENCRYPTED, THROUGH):
            works = [work for work in self._plan.workloads if work.listener in listeners]
            if works:
                self._part(number, order, listeners, works)

    def _part(
        self,
        number: int,
        order: Sequence[Proxy],
        listeners: Collection[str],
        works: Sequence[Workload],
    ) -> None:
        """The part of a round for which proxies have these listeners."""
        able = [
            proxy
            for proxy in order
            if proxy.name not in self.results.absent
            and not set(listeners).isdisjoint(proxy.listeners)
        ]
        with ExitStack() as stack:
            running = {proxy.name: self._start(stack, proxy, listeners, number) for proxy in able}
            time.sleep(0.5)
            for workload in works:
                self._pass(number, workload, running)

    def _start(
        self, stack: ExitStack, proxy: Proxy, listeners: Collection[str], number: int
    ) -> Running | None:
        """Start `proxy` and see that it works; what keeps it from working is noted."""
        ports = {name: self._ports.take() for name in listeners if name in proxy.listeners}
        route = Route(ports, self._bench.backends, self._bench.certificates)
        name = f"{proxy.name}-{number}"
        try:
            command = proxy.prepare(self._directory / name, route)
            child = stack.enter_context(
                Child(command.words, self._directory, name, command.environment)
            )
            wait_for_ports(child, list(ports.values()))
            proxy.verify(child)
        except (BenchmarkError, OSError) as error:
            if proxy.optional:
                self._absent(proxy.name, error)
                return None
            self._failed(number, "starting", proxy.name, error)
            return None
        return Running(child, ports)

    def _pass(self, number: int, workload: Workload, running: dict[str, Running | None]) -> None:
        """Do one workload with all proxies; who fails at it has no figures for this round."""
        running = {
            name: each
            for name, each in running.items()
            if each is None or workload.listener in each.ports
        }
        turns: dict[str, list[Values]] = {name: [] for name in running}
        for turn in range(workload.turns):
            for name in reversed(running) if turn % 2 else running:
                if len(turns[name]) == turn:
                    turns[name].extend(self._turn(number, workload, name, running[name]))
        for name, values in turns.items():
            if len(values) == workload.turns:
                self._sample(number, workload, name, workload.combined(values))

    def _turn(
        self, number: int, workload: Workload, name: str, proxy: Running | None
    ) -> list[Values]:
        """The figures of one turn, or none; what went wrong is noted."""
        if proxy is None or not proxy.child.running():
            return []
        try:
            values = workload.run(self._bench, proxy)
            proxy.child.check()
        except (BenchmarkError, OSError) as error:
            self._failed(number, workload.name, name, error)
            return []
        return [values]

    def _sample(self, number: int, workload: Workload, name: str, values: Values) -> None:
        self.results.samples.append(Sample(number, workload.name, name, values))
        shown = "  ".join(
            f"{metric.key} {report.number(values[metric.key], metric.digits)}"
            for metric in workload.metrics
            if metric.key in values
        )
        say(f"{number + 1}/{self._plan.rounds}  {workload.name:<11} {name:<12} {shown}")

    def _absent(self, proxy: str, error: Exception) -> None:
        """Note the reason: the last words of its program, without time and level."""
        last = str(error).rpartition("\n")[2].strip()
        self.results.absent[proxy] = re.sub(r"^(\[[^]]*\])+ *", "", last)
        say(f"{proxy} is left out: {self.results.absent[proxy]}")

    def _failed(self, number: int, workload: str, proxy: str, error: Exception) -> None:
        """Tell everything, but record one line: the output of a program is no matter for a
        published report.
        """
        self.results.failures.append(
            Failure(number, workload, proxy, str(error).partition("\n")[0].rstrip(":"))
        )
        say(f"{number + 1}/{self._plan.rounds}  {workload:<11} {proxy:<12} FAILED: {error}")
