"""The figures of a run, and the page that is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.growth.subjects import SUBJECTS, Subject
from benchmarks.process import BenchmarkError
from benchmarks.report import head, number, row
from benchmarks.results import REFERENCE
from benchmarks.workloads import Metric

Key = tuple[str, str, int]
"""Subject, proxy and size."""


@dataclass(frozen=True)
class Point:
    """The figures of one proxy for one size in one round."""

    round: int
    subject: str
    proxy: str
    size: int
    values: dict[str, float]


@dataclass
class Growth:
    """All of a run.

    :ivar facts: the machine and the versions, for the reader.
    :ivar failures: what went wrong, a line each.
    """

    facts: dict[str, str]
    points: list[Point] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figure(self, subject: str, proxy: str, size: int, metric: str) -> float | None:
        """The lowest of the rounds; `None` where there is none.  What else the machine does makes a
        cost higher, never lower, and often for as long as one of two figures takes that are to be
        compared.
        """
        return min(
            (
                point.values[metric]
                for point in self.points
                if (point.subject, point.proxy, point.size) == (subject, proxy, size)
                and metric in point.values
            ),
            default=None,
        )

    def ratio(self, subject: str, proxy: str, size: int, metric: str) -> float | None:
        """The same as a part of Envoy's."""
        ours, theirs = (self.figure(subject, each, size, metric) for each in (proxy, REFERENCE))
        return ours / theirs if ours is not None and theirs else None

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(path: Path) -> Growth:
    """What `Growth.write` wrote.

    :raise BenchmarkError: it did not write it.
    :raise OSError: there is no such file.
    """
    try:
        data = json.loads(path.read_text())
        points = [Point(**point) for point in data["points"]]
        return Growth(data["facts"], points, data["failures"])
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{path} is not a growth.json of this benchmark") from None


def _cell(growth: Growth, subject: Subject, proxy: str, size: int, metric: Metric) -> str:
    figure = growth.figure(subject.name, proxy, size, metric.key)
    if figure is None:
        return "-"
    text = number(figure, metric.digits)
    ratio = growth.ratio(subject.name, proxy, size, metric.key)
    return text if ratio is None or proxy == REFERENCE else f"{text} ({ratio:.2f}x)"


def _growth_cell(growth: Growth, subject: Subject, proxy: str, metric: Metric) -> str:
    """How many times as much it is with the most as with the least."""
    least, most = (
        growth.figure(subject.name, proxy, size, metric.key)
        for size in (subject.sizes[0], subject.sizes[-1])
    )
    return f"{most / least:.2f}" if least and most is not None else "-"


def _table(growth: Growth, subject: Subject) -> Iterator[str]:
    sizes = [f"{size:,}" for size in subject.sizes]
    yield from head(["", "", *(f"{size} {subject.what}" for size in sizes), "last by first"])
    for metric in subject.metrics:
        for proxy in subject.proxies:
            cells = [_cell(growth, subject, proxy, size, metric) for size in subject.sizes]
            label = f"{metric.title}, {metric.unit}"
            yield row([label, proxy, *cells, _growth_cell(growth, subject, proxy, metric)])


def _measured(growth: Growth) -> Sequence[Subject]:
    present = {point.subject for point in growth.points}
    return [subject for subject in SUBJECTS if subject.name in present]


def markdown(growth: Growth) -> str:
    """The page."""
    lines = [
        "# What grows",
        "",
        "Written by `make bench-growth`; [README.md](README.md#what-grows) tells how to read it.",
        "The lowest of the rounds, and in parentheses what it is by Envoy's lowest. The last",
        "column is what the figure with the most is by that with the least.",
        "",
    ]
    for subject in _measured(growth):
        lines += [f"## {subject.title}", "", *_table(growth, subject), ""]
    if growth.failures:
        lines += ["## Went wrong", "", *(f"- {each}" for each in growth.failures), ""]
    lines += ["## Where and how", "", *(f"- {name}: {text}" for name, text in growth.facts.items())]
    return "\n".join(lines) + "\n"
