"""The samples of a run, and what is said of them: medians, spreads, and ratios within a round."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.process import BenchmarkError

REFERENCE = "envoy"
"""The proxy that the others are compared with."""


@dataclass(frozen=True)
class Sample:
    """The figures of one proxy at one workload in one round."""

    round: int
    workload: str
    proxy: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Failure:
    """What went wrong for one proxy: a wrong byte or reply, an end before time, a deadline."""

    round: int
    workload: str
    proxy: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """One figure of one proxy over all rounds.

    :ivar ratio: the median of the ratios to Envoy, each taken within one round, where the machine
        was in the same mood for both; `None` without Envoy.
    """

    median: float
    lowest: float
    highest: float
    ratio: float | None


@dataclass
class Results:
    """All of a run.

    :ivar facts: the machine, the versions and the settings, for the reader.
    :ivar warnings: why the reader should not trust it all.
    :ivar interrupted: whether the last round is not complete.
    :ivar absent: which proxies could not be had here, and why.
    """

    facts: dict[str, str]
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False
    absent: dict[str, str] = field(default_factory=dict)

    def proxies(self) -> list[str]:
        """Who has figures, in order of appearance."""
        return _unique(sample.proxy for sample in self.samples)

    def workloads(self) -> list[str]:
        """What has figures, in order of appearance."""
        return _unique(sample.workload for sample in self.samples)

    def by_round(self, proxy: str, workload: str, metric: str) -> dict[int, float]:
        """One figure in each round that has it; results of an earlier day may lack some."""
        return {
            sample.round: sample.values[metric]
            for sample in self.samples
            if (sample.proxy, sample.workload) == (proxy, workload) and metric in sample.values
        }

    def summary(self, proxy: str, workload: str, metric: str) -> Summary | None:
        """One figure over all rounds; `None` where the proxy has none."""
        values = self.by_round(proxy, workload, metric)
        if not values:
            return None
        return Summary(
            median(values.values()),
            min(values.values()),
            max(values.values()),
            self.ratio(proxy, REFERENCE, workload, metric),
        )

    def ratio(self, proxy: str, other: str, workload: str, metric: str) -> float | None:
        """The median over the rounds of `proxy`'s figure divided by `other`'s of the same round."""
        values = self.by_round(proxy, workload, metric)
        others = self.by_round(other, workload, metric)
        ratios = [values[number] / others[number] for number in values if others.get(number)]
        return median(ratios) if ratios else None

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(path: Path) -> Results:
    """Results that `Results.write` wrote.

    :raise BenchmarkError: it did not write them.
    :raise OSError: there is no such file.
    """
    try:
        data = json.loads(path.read_text())
        return Results(
            data["facts"],
            [Sample(**sample) for sample in data["samples"]],
            [Failure(**failure) for failure in data["failures"]],
            data["warnings"],
            data["interrupted"],
            data.get("absent", {}),
        )
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{path} is not a results.json of this benchmark") from None


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
