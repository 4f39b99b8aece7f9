"""What the proxy was made of before and after, and what must not differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.processes import Seen

MIB = 1 << 20

MOST_GROWTH = 16 * MIB
"""Bytes that a process may grow by: what the system's allocator keeps of memory given back."""

THREADS = 12
"""Those of the reactor's pool, which come as they are needed, and a few more."""

PIPES = 32
"""Descriptors that a process may have more: pipes that are kept for the next bulk transfer."""

BOUNDED = (
    "TimeoutQueue._run",  # one for each length of time that was waited for of late
    "Workers._see_who_answered",  # one, for some seconds after a question to the workers
    "net.timeout_queues.TimeoutQueue",
    "config.",  # what the schema says of a field, once it was in a configuration
    "logs.debug.",  # of modules that are imported when they are needed
    "net.stock.network.",  # of ended connections that are remembered
    "server.channel.framing.",  # a message on its way
    "server.reload.history.",  # ten configurations, and what was changed
    "server.reload.packing.",
    "stats.deltas.Names",  # of scopes with the same names, in a cache
    "stats.distribution.",  # of histograms that were given something of late
    "stats.family.Declaration",  # in the same cache
    "values.hosts.HealthFlag",  # a combination that there was
    "values.address.",  # those who know a host or a socket may share one, or have equal ones
    "values.lifecycle.reload.",
    "values.live.traffic.Sample",  # of the last minutes
)
"""Objects that are kept on purpose, up to so many: they may become more."""


@dataclass(frozen=True)
class Report:
    """The processes of a proxy at rest."""

    seen: Sequence[Seen]
    left: dict[str, int]
    """Statistics that ought to be 0."""


ROWS = ("MiB", "descriptors", "threads", "timers", "shared blocks", "objects")


def figures(seen: Seen) -> tuple[float, ...]:
    """Those of a process, in the order of `ROWS`."""
    told = seen.told
    shared = told["shared blocks"] + told["shared blocks that are left"]
    objects = sum(told["kinds"].values())
    memory = round(seen.memory / MIB, 1)
    timers = sum(told["calls"].values())
    return memory, seen.descriptors, seen.threads, timers, shared, objects


def table(before: Report, after: Report) -> str:
    """Both, for people."""
    lines = ["", f"{'':10}" + "".join(f"{row:>18}" for row in ROWS)]
    for one, other in zip(before.seen, after.seen, strict=False):
        cells = (
            f"{first:g} -> {second:g}"
            for first, second in zip(figures(one), figures(other), strict=True)
        )
        lines.append(f"{one.role:10}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join((*lines, ""))


def differences(before: Report, after: Report) -> list[str]:
    """What is there now that was not there before."""
    found = []
    if len(before.seen) != len(after.seen):
        found.append(f"{len(before.seen)} processes were there, {len(after.seen)} are")
    for one, other in zip(before.seen, after.seen, strict=False):
        found += (f"{one.role}: {text}" for text in _more(one, other))
    return found


def _more(one: Seen, other: Seen) -> list[str]:
    found = []
    if other.memory > one.memory + MOST_GROWTH:
        found.append(f"memory: {one.memory // MIB} -> {other.memory // MIB} MiB")
    if other.descriptors > one.descriptors + PIPES:
        found.append(f"descriptors: {one.descriptors} -> {other.descriptors}")
    if other.threads > max(one.threads, THREADS):
        found.append(f"threads: {one.threads} -> {other.threads}")
    for name in ("shared blocks", "shared blocks that are left"):
        if other.told[name] > one.told[name]:
            found.append(f"{name}: {one.told[name]} -> {other.told[name]}")
    for counted, what in (("calls", "timers of "), ("kinds", "")):
        before, after = one.told[counted], other.told[counted]
        for name, count in after.items():
            known = before.get(name, 0)
            if count <= known or name.startswith(BOUNDED):
                continue
            come = _come(name, one, other)
            if come and name.startswith("stats.") and not any("idle" in each for each in come):
                continue  # of what is there: a statistic is made with its first value
            which = f" ({', '.join(come)})" if come else ""
            found.append(f"{what}{name}: {known} -> {count}{which}")
    return found


def _come(kind: str, one: Seen, other: Seen) -> list[str]:
    """Which of a kind have come, where that is told."""
    before, after = (Counter(each.told["names"].get(kind, ())) for each in (one, other))
    return list(after - before)
