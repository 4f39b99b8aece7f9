"""The samples of a run, and what is said of them: medians, spreads, and ratios within a round."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

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

    :ivar quartiles: what a quarter of the rounds do not exceed, and what three quarters do not.
    :ivar ratio: the median of the ratios to Envoy, each taken within one round, where the machine
        was in the same mood for both; `None` without Envoy.
    """

    median: float
    lowest: float
    highest: float
    ratio: float | None
    quartiles: tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A run of several whose figures were put together.

    :ivar first: its first round.
    :ivar facts: what was so in this run alone.
    """

    first: int
    facts: Mapping[str, str]


@dataclass
class Results:
    """All of a run.

    :ivar facts: the machine, the versions and the settings, for the reader.
    :ivar warnings: why the reader should not trust it all.
    :ivar interrupted: whether the last round is not complete.
    :ivar absent: which proxies could not be had here, and why.
    :ivar runs: the runs that the rounds are of, where there are several.
    """

    facts: dict[str, str]
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False
    absent: dict[str, str] = field(default_factory=dict)
    runs: list[Part] = field(default_factory=list)

    def rounds(self) -> int:
        """How many there are, whole or not."""
        return 1 + max((sample.round for sample in self.samples), default=-1)

    def of_run(self, number: int) -> Results:
        """The samples of one of the runs."""
        first = self.runs[number].first
        last = self.runs[number + 1].first if number + 1 < len(self.runs) else self.rounds()
        samples = [sample for sample in self.samples if first <= sample.round < last]
        return Results(self.facts, samples)

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
            _quartiles(list(values.values())),
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
            [Part(**part) for part in data.get("runs", ())],
        )
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{path} is not a results.json of this benchmark") from None


LASTING = ("processor", "cores", "Python of tcpmesh", "each round")
"""What must be the same in runs that are put together, beside the versions of all proxies."""


def joined(earlier: Results, later: Results) -> Results:
    """The rounds of two runs, or of more where the earlier are several already.

    :raise BenchmarkError: they are not of the same, so that medians over both would mean nothing.
    """
    proxies = set(earlier.proxies()) | set(later.proxies())
    for name in (*LASTING, *sorted(proxies)):
        if earlier.facts.get(name) != later.facts.get(name):
            raise BenchmarkError(
                f"the earlier run is of another {name} ({earlier.facts.get(name)}, not "
                f"{later.facts.get(name)}): begin anew, without --append"
            )
    offset = earlier.rounds()
    common = {name: text for name, text in later.facts.items() if earlier.facts.get(name) == text}
    before = earlier.runs or [Part(0, {})]
    only = {name: text for name, text in earlier.facts.items() if name not in common}
    runs = [replace(part, facts={**only, **part.facts}) for part in before]
    own = {name: text for name, text in later.facts.items() if name not in common}
    runs.append(Part(offset, own))
    return Results(
        {**common, "rounds": f"{offset + later.rounds()}, in {len(runs)} runs"},
        [*earlier.samples, *(replace(each, round=each.round + offset) for each in later.samples)],
        [*earlier.failures, *(replace(each, round=each.round + offset) for each in later.failures)],
        list(dict.fromkeys([*earlier.warnings, *later.warnings])),
        later.interrupted,
        {**earlier.absent, **later.absent},
        runs,
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    first, _, last = quantiles(values, n=4, method="inclusive")
    return first, last


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
