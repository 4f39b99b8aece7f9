"""The table of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.claims import findings
from benchmarks.results import REFERENCE, Results, Summary
from benchmarks.targets import CONTESTANT, Verdict, verdicts
from benchmarks.workloads import WORKLOADS, Metric, Workload


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> list[str]:
    """The first two lines of a table: the first column is text, the others are numbers."""
    return [row(cells), row(["---", *["---:"] * (len(cells) - 1)])]


def number(value: float, digits: int) -> str:
    """`value` for people: thousands apart."""
    return f"{value:,.{digits}f}"


def _median_cell(summary: Summary | None, metric: Metric, proxy: str) -> str:
    if summary is None:
        return "-"
    text = number(summary.median, metric.digits)
    if summary.ratio is None or proxy == REFERENCE:
        return text
    return f"{text} ({summary.ratio:.2f}x)"


def _spread_cell(summary: Summary | None, metric: Metric) -> str:
    if summary is None:
        return "-"
    figures = (summary.lowest, *summary.quartiles, summary.highest)
    lowest, first, last, highest = (number(figure, metric.digits) for figure in figures)
    return f"{lowest} [{first} … {last}] {highest}"


def _label(workload: Workload, metric: Metric) -> str:
    text = f"{workload.name}: {metric.title}, {metric.unit}"
    return f"**{text}**" if metric.steer else text


def _measured(results: Results) -> Iterator[tuple[Workload, Metric]]:
    present = set(results.workloads())
    for workload in WORKLOADS:
        if workload.name in present:
            for metric in workload.metrics:
                yield workload, metric


def _tables(results: Results) -> tuple[list[str], list[str]]:
    """The lines of the table of medians and of the table of spreads."""
    proxies = results.proxies()
    medians, spreads = head(["", *proxies]), head(["", *proxies])
    for workload, metric in _measured(results):
        summaries = [results.summary(proxy, workload.name, metric.key) for proxy in proxies]
        if not any(summaries):
            continue
        cells = [
            _median_cell(summary, metric, proxy)
            for summary, proxy in zip(summaries, proxies, strict=True)
        ]
        medians.append(row([_label(workload, metric), *cells]))
        spreads.append(
            row(
                [
                    f"{workload.name}: {metric.title}, {metric.unit}",
                    *(_spread_cell(s, metric) for s in summaries),
                ]
            )
        )
    return medians, spreads


def _aim(verdict: Verdict) -> str:
    target = verdict.target
    value = "-" if verdict.aim is None else f"{verdict.aim:.2f}x"
    return f"{target.aim}'s ({value})" if isinstance(target.aim, str) else value


def _target_lines(results: Results) -> list[str]:
    found = list(verdicts(results))
    if not found:
        return []
    lines = [
        "## Targets",
        "",
        "tcpmesh as a multiple of Envoy.",
        "",
        *head(["", "at least", "aim", "seen", "", ""]),
    ]
    for verdict in found:
        target = verdict.target
        lines.append(
            row(
                [
                    target.title,
                    f"{target.bound:.2f}x",
                    _aim(verdict),
                    f"{verdict.ratio:.2f}x",
                    "met" if verdict.reached else "**missed**",
                    "aim met" if verdict.aim_reached else "",
                ]
            )
        )
    return [*lines, ""]


def _absent_lines(results: Results) -> list[str]:
    return [
        line
        for proxy, reason in results.absent.items()
        for line in (f"{proxy} is left out, it did not run here: {reason}.", "")
    ]


def _claim_lines(results: Results) -> list[str]:
    found = [each for each in findings(results) if each.ratio is not None]
    if not found:
        return []
    lines = ["## What other pages claim", "", *head(["", "row", "", "at most", "seen", ""])]
    for each in found:
        claim = each.claim
        lines.append(
            row(
                [
                    f"{claim.page}: {claim.words}",
                    f"{claim.workload}: {claim.metric}",
                    f"{claim.proxy} / {claim.other}",
                    f"{claim.at_most:.2f}x",
                    f"{each.ratio:.2f}x",
                    "" if each.holds else "**not so**",
                ]
            )
        )
    return [*lines, ""]


def _run_lines(results: Results) -> list[str]:
    """What differed from run to run: what is no matter of a proxy changes for all."""
    if not results.runs:
        return []
    lines = ["## From run to run", "", "Medians of tcpmesh and Envoy in each run, and their ratio."]
    lines += ["", *head(["", *(f"run {place + 1}" for place in range(len(results.runs)))])]
    runs = [results.of_run(place) for place in range(len(results.runs))]
    for workload, metric in _measured(results):
        if metric.steer:
            cells = [_run_cell(run, workload, metric) for run in runs]
            lines.append(row([f"{workload.name}: {metric.title}, {metric.unit}", *cells]))
    for place, part in enumerate(results.runs, 1):
        facts = "; ".join(f"{name}: {text}" for name, text in part.facts.items())
        lines += ["", f"Run {place}: {facts}."]
    return [*lines, ""]


def _run_cell(run: Results, workload: Workload, metric: Metric) -> str:
    ours, theirs = (
        run.summary(proxy, workload.name, metric.key) for proxy in (CONTESTANT, REFERENCE)
    )
    if ours is None or theirs is None or ours.ratio is None:
        return "-"
    figures = (number(each.median, metric.digits) for each in (ours, theirs))
    return f"{' / '.join(figures)} ({ours.ratio:.2f}x)"


def _failure_lines(results: Results) -> list[str]:
    if not results.failures:
        return ["Every byte and every reply was right, in all rounds and through all proxies.", ""]
    lines = ["## Went wrong", ""]
    for failure in results.failures:
        lines.append(
            f"- round {failure.round + 1}, {failure.proxy}, {failure.workload}: {failure.reason}"
        )
    return [*lines, ""]


def markdown(results: Results, chart: str | None) -> str:
    """The report; `chart` is the name of the picture beside it, if there is one."""
    medians, spreads = _tables(results)
    lines = [
        "# tcpmesh beside other proxies",
        "",
        "Written by `make bench`; [README.md](README.md) tells how to read it.",
        "Medians over the rounds; in parentheses the median of the ratios to Envoy in the same "
        "round.",
        "In bold what to steer by. CPU is what the proxy itself used, user and system, children "
        "included.",
        "",
        *(line for warning in results.warnings for line in (f"**{warning}**", "")),
        *([f"![The figures to steer by, as multiples of Envoy's]({chart})", ""] if chart else []),
        *medians,
        "",
        *_absent_lines(results),
        *_failure_lines(results),
        *_target_lines(results),
        *_claim_lines(results),
        "## Where and how",
        "",
        *(f"- {name}: {value}" for name, value in results.facts.items()),
        "",
        *_run_lines(results),
        "## Spread",
        "",
        "Lowest of the rounds, in brackets the quartiles, highest.",
        "",
        *spreads,
    ]
    return "\n".join(lines) + "\n"
