"""The command: measure all in turns, write the page."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import interpreter, machine, tools
from benchmarks.backends import start_backends
from benchmarks.certificates import make_certificates
from benchmarks.command import WRONG, say, status_of
from benchmarks.process import BenchmarkError, Child, Ports, wait_for_ports
from benchmarks.proxies import PROXIES, Command, Proxy, Route
from benchmarks.proxies.envoy import tcpmesh_command, tcpmesh_version
from benchmarks.proxies.route import PLAIN
from benchmarks.results import Failure, Results, Sample
from benchmarks.waits.table import markdown
from benchmarks.waits.tracing import Tracing
from benchmarks.waits.turns import MODES, Client, Mode, measured, threads_of

_ROUNDS = 5
_BUSY_POLL = "50us"


def _busy_command(stem: Path, route: Route) -> Command:
    command = tcpmesh_command(stem, route)
    return Command(command.words, {**command.environment, "TCPMESH_BUSY_POLL": _BUSY_POLL})


CONTESTANTS = (
    *PROXIES,
    Proxy("tcpmesh-busy", tools.twistd, _busy_command, tcpmesh_version, PLAIN),
)

_WHO = ("tcpmesh", "tcpmesh-busy", "tcpmesh-uring", "envoy", "nginx")
"""Who takes part unless others are named."""


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.waits",
        description="Where a request of a single connection waits, by the kernel's own record.",
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often all is done (5)")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="proxies and modes, by commas (all)"
    )
    parser.add_argument(
        "--requests", type=int, default=0, help="in each turn (2000, or 800 at a fixed rate)"
    )
    parser.add_argument(
        "--python", metavar="PATH", help="the interpreter that runs tcpmesh (the running one)"
    )
    parser.add_argument("--output", type=Path, help="folder (docs/benchmarks if all, or the cache)")
    parser.add_argument("--list", action="store_true", help="print the names for --only and stop")
    options = parser.parse_args(arguments)
    if not (1 <= options.rounds <= 100 and 0 <= options.requests <= 20_000):
        parser.error("between 1 and 100 rounds, 1 and 20000 requests")
    if options.python:
        os.environ["TCPMESH_BENCH_PYTHON"] = options.python
    return options


def _chosen(options: argparse.Namespace) -> tuple[tuple[Proxy, ...], tuple[Mode, ...]]:
    """:raise BenchmarkError: a name that nothing has."""
    names = {name for name in options.only.split(",") if name}
    unknown = names - {each.name for each in (*CONTESTANTS, *MODES)}
    if unknown:
        raise BenchmarkError(f"unknown: {', '.join(sorted(unknown))}; --list prints what there is")
    proxies = tuple(each for each in CONTESTANTS if each.name in names)
    modes = tuple(each for each in MODES if each.name in names) or MODES
    if options.requests:
        modes = tuple(replace(mode, requests=options.requests) for mode in modes)
    return proxies or tuple(each for each in CONTESTANTS if each.name in _WHO), modes


@dataclass(frozen=True)
class Contestant:
    """A proxy that runs, and the client that asks through it."""

    child: Child
    client: Client


class Run:
    """Measures; `results` fills up."""

    def __init__(self, results: Results, tracing: Tracing) -> None:
        self.results = results
        self._tracing = tracing

    def round(self, count: int, running: dict[str, Contestant], modes: Sequence[Mode]) -> None:
        """All once.  Proxies take turns, and who is first changes from round to round."""
        order = list(running)
        order = order[count % len(order) :] + order[: count % len(order)] if order else []
        servers = _backends(running.values())
        for mode in modes:
            for name in order:
                self._measure(count, mode, name, running[name], servers)

    def _measure(
        self, count: int, mode: Mode, name: str, contestant: Contestant, servers: Collection[int]
    ) -> None:
        told = f"{count + 1}  {mode.name:<13} {name:<14}"
        try:
            contestant.child.check()
            values = measured(mode, contestant.client, contestant.child, servers, self._tracing)
        except (BenchmarkError, OSError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            self.results.failures.append(Failure(count, mode.name, name, reason))
            say(f"{told} FAILED: {error}")
            return
        self.results.samples.append(Sample(count, mode.name, name, values))
        say(
            f"{told} p50 {values['seen-p50']}  p99 {values['seen-p99']}  recorded "
            f"{values['recorded-p50']}  {values['recorded-p99']}  own {values['own-p50']}  "
            f"{values['own-p99']}"
        )


def _backends(contestants: Iterable[Contestant]) -> set[int]:
    """All threads below this process that are neither proxies nor clients."""
    others = {int(thread) for thread in os.listdir("/proc/self/task")}
    for each in contestants:
        others |= threads_of(each.child.pid) | {each.client.pid}
    return threads_of(os.getpid()) - others


def _started(
    stack: ExitStack, proxies: Sequence[Proxy], route: Route, directory: Path, results: Results
) -> dict[str, Contestant]:
    """All proxies, each with a client."""
    running, ports = {}, Ports()
    for proxy in proxies:
        own = replace(route, ports={"web": ports.take()})
        try:
            proxy.require()
            command = proxy.prepare(directory / proxy.name, own)
            child = Child(command.words, directory, proxy.name, command.environment)
            wait_for_ports(stack.enter_context(child), list(own.ports.values()))
            proxy.verify(child)
        except (BenchmarkError, OSError) as error:
            if not proxy.optional:
                raise
            results.absent[proxy.name] = str(error).rpartition("\n")[2].strip()
            continue
        client = stack.enter_context(Client(own.ports["web"], directory))
        running[proxy.name] = Contestant(child, client)
    return running


def _facts(proxies: Sequence[Proxy], rounds: int, modes: Sequence[Mode]) -> dict[str, str]:
    return {
        **machine.describe(),
        "Python of tcpmesh": interpreter.describe(tools.python()),
        **{proxy.name: proxy.version() for proxy in proxies},
        "tcpmesh-busy polls busily for": _BUSY_POLL,
        "rounds": f"{rounds}, of {', '.join(f'{mode.requests} ({mode.name})' for mode in modes)} "
        "requests, once recorded and once not",
    }


def _run(rounds: int, proxies: Sequence[Proxy], modes: Sequence[Mode]) -> Results:
    results = Results({})
    watch = machine.Watch()
    with (
        tempfile.TemporaryDirectory(prefix="tcpmesh-bench-") as folder,
        Tracing() as tracing,
        ExitStack() as stack,
    ):
        results.facts.update(_facts(proxies, rounds, modes))
        directory = Path(folder)
        certificates = make_certificates(directory)
        backends = start_backends(stack, directory, Ports(), certificates)
        running = _started(stack, proxies, Route({}, backends), directory, results)
        run = Run(results, tracing)
        for count in range(rounds):
            run.round(count, running, modes)
    watch.write_into(results.facts)
    return results


def main(arguments: Sequence[str]) -> int:
    """Measure; 0 if nothing went wrong."""
    options = _options(arguments)
    if options.list:
        print(*(each.name for each in (*CONTESTANTS, *MODES)), sep="\n")
        return 0
    proxies, modes = _chosen(options)
    complete = not options.only and not options.requests and options.rounds >= _ROUNDS
    folder = tools.REPOSITORY / "docs" / "benchmarks" if complete else tools.cache_directory()
    folder = options.output or folder
    folder.mkdir(parents=True, exist_ok=True)
    results = _run(options.rounds, proxies, modes)
    results.write(folder / "waits.json")
    text = markdown(results)
    (folder / "waits.md").write_text(text)
    print(text)
    say(f"written to {folder}")
    return WRONG if results.failures else 0


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
