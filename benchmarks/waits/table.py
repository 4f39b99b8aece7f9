"""The page that is made of the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.report import head, number, row
from benchmarks.results import REFERENCE, Results
from benchmarks.waits.figures import QUANTILES, SLOW, STAGES, SUMS
from benchmarks.waits.turns import MODES, Mode

CONTESTANT = "tcpmesh"


def _figure(results: Results, mode: Mode, proxy: str, key: str, digits: int = 0) -> str:
    summary = results.summary(proxy, mode.name, key)
    return "-" if summary is None else number(summary.median, digits)


def _three(results: Results, mode: Mode, proxy: str, key: str) -> str:
    return " / ".join(_figure(results, mode, proxy, f"{key}-{name}") for name in QUANTILES)


def _rows(results: Results, mode: Mode) -> Iterator[str]:
    proxies = results.proxies()
    yield from head(["µs: p50 / p90 / p99", *proxies])
    for key, title in (
        ("seen", "**all, while nothing was recorded**"),
        ("recorded", "all, as recorded"),
        *((share.key, f"**{share.title}**") for share in SUMS),
        *((share.key, share.title) for share in STAGES),
    ):
        yield row([title, *(_three(results, mode, proxy, key) for proxy in proxies)])


def _slowest(results: Results, mode: Mode) -> Iterator[str]:
    proxies = results.proxies()
    yield from head(["mean of the slowest hundredth, µs", *proxies])
    for share in SUMS:
        cells = [_figure(results, mode, proxy, f"{share.key}-{SLOW}") for proxy in proxies]
        yield row([share.title, *cells])


def _habits(results: Results, mode: Mode) -> Iterator[str]:
    proxies = results.proxies()
    yield from head(["of the proxy, for each request", *proxies])
    for key, title, digits in (
        ("cpu", "CPU by the kernel's clock, µs", 1),
        ("calls", "calls to the kernel", 2),
        ("wakings", "times it was woken", 2),
        ("near", "of these, part by a thread on the processor that it got", 2),
    ):
        yield row([title, *(_figure(results, mode, proxy, key, digits) for proxy in proxies)])


def verdict(results: Results, mode: Mode) -> str:
    """Whose the difference to Envoy is, in a sentence; empty without both."""
    parts = {}
    for key in ("recorded-p99", "own-p99", "own-p50", *(f"{share.key}-{SLOW}" for share in SUMS)):
        ours = results.summary(CONTESTANT, mode.name, key)
        theirs = results.summary(REFERENCE, mode.name, key)
        if ours is None or theirs is None:
            return ""
        parts[key] = (ours.median, theirs.median)
    (all_ours, all_theirs), (p99, other_p99) = parts["recorded-p99"], parts["own-p99"]
    p50, other_p50 = parts["own-p50"]
    slow, waits = parts[f"own-{SLOW}"][0], parts[f"wait-{SLOW}"][0]
    whole = sum(parts[f"{share.key}-{SLOW}"][0] for share in SUMS)
    return (
        f"The work of {CONTESTANT} on a request and its reply takes {p50:.0f} µs at the median and "
        f"{p99:.0f} at p99, that of {REFERENCE} {other_p50:.0f} and {other_p99:.0f}; all takes "
        f"{all_ours:.0f} µs at p99, and {all_theirs:.0f}. Of what the slowest hundredth of the "
        f"requests through {CONTESTANT} took, its work is {100 * slow / whole:.0f} %, and waiting "
        f"for a processor {100 * waits / whole:.0f} %."
    )


def _section(results: Results, mode: Mode) -> Iterable[str]:
    yield from (f"## {mode.title}", "")
    said = verdict(results, mode)
    if said:
        yield from (said, "")
    for part in (_slowest, _rows, _habits):
        yield from (*part(results, mode), "")


def markdown(results: Results) -> str:
    """The page."""
    lines = [
        "# Where a request waits",
        "",
        "Written by `make bench-waits`; [README.md](README.md#where-a-request-waits) tells how to",
        "read it. One connection, small requests; medians over the rounds.",
        "",
    ]
    measured = set(results.workloads())
    for mode in MODES:
        if mode.name in measured:
            lines += _section(results, mode)
    if results.failures or results.absent:
        lines += ["## Went wrong", ""]
        lines += [f"- {proxy} is left out: {reason}" for proxy, reason in results.absent.items()]
        lines += [f"- {each.workload}, {each.proxy}: {each.reason}" for each in results.failures]
        lines += [""]
    lines += [
        "## Where and how",
        "",
        *(f"- {name}: {text}" for name, text in results.facts.items()),
    ]
    return "\n".join(lines) + "\n"
