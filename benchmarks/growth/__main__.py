"""The command: measure all in turns, write the page."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import interpreter, machine, tools
from benchmarks.backends import start_backends
from benchmarks.certificates import make_certificates
from benchmarks.command import WRONG, say, status_of
from benchmarks.growth.subjects import SUBJECTS, Site, Subject
from benchmarks.growth.table import Growth, Point, markdown
from benchmarks.process import BenchmarkError, Ports
from benchmarks.proxies.envoy import envoy_version, tcpmesh_version
from benchmarks.report import number

_ROUNDS = 3
_SPARE_DESCRIPTORS = 300


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description="What becomes dearer as there is more of it.",
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often all is done (3)")
    parser.add_argument("--only", default="", metavar="NAMES", help="subjects, by commas (all)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a run of requests (2)")
    parser.add_argument(
        "--python", metavar="PATH", help="the interpreter that runs tcpmesh (the running one)"
    )
    parser.add_argument("--output", type=Path, help="folder (docs/benchmarks if all, or the cache)")
    parser.add_argument("--list", action="store_true", help="print the names for --only and stop")
    options = parser.parse_args(arguments)
    if not (1 <= options.rounds <= 100 and 1 <= options.seconds <= 60):
        parser.error("between 1 and 100 rounds, 1 and 60 seconds")
    if options.python:
        os.environ["TCPMESH_BENCH_PYTHON"] = options.python
    return options


def _chosen(options: argparse.Namespace) -> tuple[Subject, ...]:
    """:raise BenchmarkError: a name that nothing has."""
    names = {name for name in options.only.split(",") if name}
    unknown = names - {subject.name for subject in SUBJECTS}
    if unknown:
        raise BenchmarkError(f"unknown: {', '.join(sorted(unknown))}; --list prints what there is")
    return tuple(subject for subject in SUBJECTS if not names or subject.name in names)


def _take_descriptors(subjects: Sequence[Subject]) -> None:
    """Allow as many descriptors as may be had: proxies need two for each connection.

    :raise BenchmarkError: those are too few.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = max((max(each.sizes) for each in subjects if each.name == "connections"), default=0)
    needed = 2 * most + _SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(
            f"{most} connections need {needed} descriptors, and {hard} are allowed; try: "
            f"ulimit -Hn {needed}"
        )


class Run:
    """Measures; `growth` fills up."""

    def __init__(self, growth: Growth, site: Site, rounds: int) -> None:
        self.growth = growth
        self._site = site
        self._rounds = rounds

    def round(self, count: int, subjects: Sequence[Subject]) -> None:
        """All once.  Proxies take turns, and who is first changes from round to round."""
        for subject in subjects:
            for size in subject.sizes:
                turn = subject.proxies if count % 2 == 0 else tuple(reversed(subject.proxies))
                for proxy in turn:
                    self._measure(count, subject, proxy, size)

    def _measure(self, count: int, subject: Subject, proxy: str, size: int) -> None:
        told = f"{count + 1}/{self._rounds}  {subject.name:<20} {size:>7,} {proxy:<8}"
        try:
            values = subject.measure(self._site, proxy, size)
        except (BenchmarkError, OSError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            self.growth.failures.append(f"{subject.name}, {size:,}, {proxy}: {reason}")
            say(f"{told} FAILED: {error}")
            return
        self.growth.points.append(Point(count, subject.name, proxy, size, values))
        shown = (f"{each.key} {number(values[each.key], each.digits)}" for each in subject.metrics)
        say(f"{told} {'  '.join(shown)}")


def _facts(rounds: int, seconds: int) -> dict[str, str]:
    return {
        **machine.describe(),
        "Python of tcpmesh": interpreter.describe(tools.python()),
        "tcpmesh": tcpmesh_version(),
        "envoy": envoy_version(),
        "rounds": f"{rounds}, with {seconds} s for a run of requests",
    }


def _run(options: argparse.Namespace, subjects: Sequence[Subject]) -> Growth:
    growth = Growth(_facts(options.rounds, options.seconds))
    watch = machine.Watch()
    with (
        tempfile.TemporaryDirectory(prefix="tcpmesh-bench-") as folder,
        ExitStack() as stack,
    ):
        directory, ports = Path(folder), Ports()
        certificates = make_certificates(directory)
        backends = start_backends(stack, directory, ports, certificates, address="0.0.0.0")
        run = Run(growth, Site(backends, directory, ports, options.seconds), options.rounds)
        for count in range(options.rounds):
            run.round(count, subjects)
    watch.write_into(growth.facts)
    return growth


def main(arguments: Sequence[str]) -> int:
    """Measure; 0 if nothing went wrong."""
    options = _options(arguments)
    if options.list:
        print(*(subject.name for subject in SUBJECTS), sep="\n")
        return 0
    subjects = _chosen(options)
    _take_descriptors(subjects)
    complete = len(subjects) == len(SUBJECTS) and options.rounds >= _ROUNDS
    folder = tools.REPOSITORY / "docs" / "benchmarks" if complete else tools.cache_directory()
    folder = options.output or folder
    folder.mkdir(parents=True, exist_ok=True)
    growth = _run(options, subjects)
    growth.write(folder / "growth.json")
    text = markdown(growth)
    (folder / "growth.md").write_text(text)
    print(text)
    say(f"written to {folder}")
    return WRONG if growth.failures else 0


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
