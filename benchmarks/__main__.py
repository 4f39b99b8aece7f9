"""The command: start the backends, run the rounds, write the report."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import chart, counters, interpreter, machine, namespace, report, tools
from benchmarks.backends import start_backends
from benchmarks.bulk import pattern
from benchmarks.certificates import make_certificates
from benchmarks.command import WRONG, say, status_of
from benchmarks.process import BenchmarkError, Ports
from benchmarks.proxies import PROXIES
from benchmarks.proxies.route import TUNNELS
from benchmarks.results import Results, joined, read
from benchmarks.rounds import Plan, Run
from benchmarks.terminator import start_terminator
from benchmarks.workloads import BULK_TURNS, LONELY_TURNS, WORKLOADS, Bench, Settings

_DESCRIPTORS = 20_000
_SPARE_DESCRIPTORS = 300
_PUBLISHED_ROUNDS = 5
_TOLERABLE_PERCENT = 3.0
_PACED = (
    "The congestion control of the system is BBR, which paces over loopback too. tcpmesh does "
    "without it there, the others do not, "
    "and bulk rates show that. `--congestion cubic` compares without BBR."
)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare tcpmesh with other L4 proxies."
    )
    parser.add_argument(
        "--rounds", type=int, default=_PUBLISHED_ROUNDS, help="how often everything is done (5)"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="NAMES",
        help="proxies and workloads, separated by commas (all)",
    )
    parser.add_argument(
        "--seconds", type=int, default=2, help="length of one run of small requests (2)"
    )
    parser.add_argument(
        "--bulk-mib", type=int, default=1024, metavar="MIB", help="size of one bulk transfer (1024)"
    )
    parser.add_argument("--idle", type=int, default=2000, help="number of idle connections (2000)")
    parser.add_argument(
        "--congestion",
        metavar="NAME",
        help="congestion control, such as cubic; for root (the system's)",
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="the interpreter that runs tcpmesh, such as one built with PGO (the running one)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round: does everything work?"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for the report (docs/benchmarks after a full run, else the cache)",
    )
    parser.add_argument(
        "--append",
        action="store_true",
        help="add the rounds to those of the results.json that is there already",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="JSON",
        help="only write the report of an earlier results.json anew",
    )
    parser.add_argument("--list", action="store_true", help="print the names for --only and stop")
    options = parser.parse_args(arguments)
    if options.python:
        os.environ["TCPMESH_BENCH_PYTHON"] = options.python
    if options.quick:
        options.rounds, options.seconds, options.bulk_mib, options.idle = 1, 1, 128, 200
    if not (
        1 <= options.rounds <= 100
        and 1 <= options.seconds <= 60
        and 1 <= options.bulk_mib <= 16_384
    ):
        parser.error("between 1 and 100 rounds, 1 and 60 seconds, 1 and 16384 MiB")
    if not 1 <= options.idle <= 4_000:
        parser.error("between 1 and 4000 idle connections")
    return options


def _plan(options: argparse.Namespace) -> Plan:
    """:raise BenchmarkError: a name that nothing has."""
    names = {name for name in options.only.split(",") if name}
    unknown = names - {proxy.name for proxy in PROXIES} - {workload.name for workload in WORKLOADS}
    if unknown:
        raise BenchmarkError(f"unknown: {', '.join(sorted(unknown))}; --list prints what there is")
    proxies = tuple(proxy for proxy in PROXIES if proxy.name in names) or PROXIES
    workloads = tuple(workload for workload in WORKLOADS if workload.name in names) or WORKLOADS
    complete = not names and options.rounds >= _PUBLISHED_ROUNDS
    default = (
        tools.REPOSITORY / "docs" / "benchmarks" if complete else tools.cache_directory() / "last"
    )
    settings = Settings(options.seconds, options.bulk_mib << 20, options.idle)
    output = options.output or default
    return Plan(
        proxies, workloads, options.rounds, settings, output, options.congestion, options.append
    )


def _raise_descriptor_limit(plan: Plan) -> None:
    """Allow as many descriptors as a proxy needs for its two ends of each connection, and more
    where they are to be had.

    :raise BenchmarkError: too few are.
    """
    most = max(workload.connections or plan.settings.idle for workload in plan.workloads)
    needed = 2 * most + _SPARE_DESCRIPTORS
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if limit < needed:
        raise BenchmarkError(
            f"{most} connections need {needed} descriptors, and {limit} are allowed; try: "
            f"ulimit -Hn {needed}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _missing(requirements: Iterable[Callable[[], object]]) -> list[str]:
    """What is missing of all that, each with the command that installs it."""
    missing = []
    for require in requirements:
        try:
            require()
        except BenchmarkError as error:
            missing.append(str(error))
    return missing


def _require(plan: Plan) -> None:
    """Find or install all programs, and see that the report can be written.

    :raise BenchmarkError: some are missing; all of them are named.
    :raise OSError: there is no such folder, and it cannot be made.
    """
    needed = _missing([lambda: tools.program("nginx"), lambda: tools.program("wrk")])
    compared = _missing(proxy.require for proxy in plan.proxies)
    if compared and not needed:
        compared.append("or leave it out: --only takes the names of what to run")
    if needed or compared:
        raise BenchmarkError("\n".join(dict.fromkeys([*needed, *compared])))
    plan.output.mkdir(parents=True, exist_ok=True)
    if not os.access(plan.output, os.W_OK):
        raise BenchmarkError(
            f"no file can be written into {plan.output}; choose another folder with --output"
        )


def _facts(plan: Plan) -> dict[str, str]:
    """What the reader must know to judge the figures, but for what only the end of the run
    tells.
    """
    settings = plan.settings
    return {
        **machine.describe(),
        "Python": interpreter.describe(sys.executable),
        "Python of tcpmesh": interpreter.describe(tools.python()),
        "instructions": f"not counted: {counters.why_not()}" if counters.why_not() else "counted",
        **{proxy.name: proxy.version() for proxy in plan.proxies},
        "backends and load": f"nginx {tools.nginx_version()}, wrk {tools.wrk_version()}",
        "rounds": str(plan.rounds),
        "each round": f"{settings.seconds} s for a run of small requests, of which one "
        f"connection has {LONELY_TURNS}; "
        f"{BULK_TURNS} transfers of {settings.bulk_bytes >> 20} MiB to the client and as many "
        f"from it; "
        f"{settings.idle} idle connections",
    }


def _rounds(plan: Plan, directory: Path) -> Results:
    """Do all the work; Ctrl-C ends it after the samples so far."""
    results = Results(_facts(plan))
    if results.facts["congestion control"].startswith("bbr"):
        results.warnings.append(_PACED)
    watch = machine.Watch()
    with ExitStack() as stack:
        ports, certificates = Ports(), make_certificates(directory)
        backends = start_backends(stack, directory, ports, certificates)
        if any(workload.listener in TUNNELS for workload in plan.workloads):
            connect = start_terminator(stack, directory, ports, backends)
            backends = replace(backends, connect=connect)
        bench = Bench(backends, plan.settings, pattern(), directory, certificates)
        run = Run(plan, directory, bench, ports, results)
        try:
            for number in range(plan.rounds):
                run.round(number)
        except KeyboardInterrupt:
            results.interrupted = True
            results.warnings.append("Interrupted: not all rounds are complete.")
    others = watch.write_into(results.facts)
    if others.programs + others.hypervisor > _TOLERABLE_PERCENT:
        results.warnings.append(
            "The machine was busy with other work: trust only large differences, and run again "
            "when it is quiet."
        )
    return results


def _write(results: Results, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    picture = chart.svg(results)
    if picture:
        (output / "chart.svg").write_text(picture)
    text = report.markdown(results, "chart.svg" if picture else None)
    (output / "results.md").write_text(text)
    results.write(output / "results.json")
    print(text)
    say(f"written to {output}")


def _compare(plan: Plan) -> int:
    """Run the comparison and write its report."""
    _raise_descriptor_limit(plan)
    _require(plan)
    if plan.congestion:
        namespace.enter(plan.congestion)
    earlier = read(plan.output / "results.json") if plan.append else None
    if earlier is not None:
        joined(earlier, Results(_facts(plan)))  # what does not fit is told before, not after
    with tempfile.TemporaryDirectory(
        prefix="tcpmesh-bench-", ignore_cleanup_errors=True
    ) as directory:
        results = _rounds(plan, Path(directory))
    if results.interrupted and not results.samples:
        raise KeyboardInterrupt
    if earlier is not None and not results.interrupted:
        results = joined(earlier, results)
    _write(results, tools.cache_directory() / "interrupted" if results.interrupted else plan.output)
    return WRONG if results.failures or results.interrupted else 0


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; 0 if every byte and reply was right and every proxy ran."""
    options = _options(arguments)
    if options.list:
        print(
            *(proxy.name for proxy in PROXIES),
            "",
            *(workload.name for workload in WORKLOADS),
            sep="\n",
        )
        return 0
    if options.report:
        _write(read(options.report), options.report.parent)
        return 0
    return _compare(_plan(options))


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
