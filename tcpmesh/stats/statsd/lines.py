"""What statsd is sent: a line for each statistic that was used, as Envoy writes them.

Counters are what they have grown by since the last flush, also where that is nothing, gauges what
they are.  Of histograms each value is a line of its own, a timer in `ms` whatever its unit, but for
fractions, which are an `h`.  Where an interval had more values than are kept, those that are stand
for all, by the sampling rate that the protocol has for this (`|@0.5`).

Three dialects write the tags in three places: statsd itself has none, and so the full name; after
the value stands what Datadog made of it, and after the name what Graphite has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from tcpmesh.interfaces import IStatsSnapshot
from tcpmesh.stats.snapshot import FlushedHistogram
from tcpmesh.stats.tags import TaggedName

PREFIX = "envoy"
"""What names begin with where a sink has no prefix of its own."""

PERCENT = "percent"
"""The unit of histograms of fractions, which are kept as percents of 1, not of 100."""

Dialect: TypeAlias = Callable[[str, "Callable[[str], TaggedName]"], tuple[str, str]]
"""What a name is written as before the value, and what follows the type."""


def plain(name: str, tags: Callable[[str], TaggedName]) -> tuple[str, str]:
    """The full name and nothing else."""
    return name, ""


def datadog(name: str, tags: Callable[[str], TaggedName]) -> tuple[str, str]:
    """The name without tags, and `|#tag:value,tag:value` at the end."""
    short, found = tags(name)
    return short, "|#" + ",".join(f"{tag}:{value}" for tag, value in found) if found else ""


def graphite(name: str, tags: Callable[[str], TaggedName]) -> tuple[str, str]:
    """The name without tags, then `;tag=value;tag=value`."""
    short, found = tags(name)
    return short + "".join(f";{tag}={value}" for tag, value in found), ""


def lines(snapshot: IStatsSnapshot, prefix: str, dialect: Dialect) -> Iterator[str | None]:
    """All lines of a flush, without line ends; a `None` where others may have their turn."""
    tags = snapshot.tags
    for counter in snapshot.counters():
        if counter is None:
            yield None
            continue
        name, end = dialect(counter.name, tags)
        yield f"{prefix}.{name}:{counter.delta}|c{end}"
    for gauge in snapshot.gauges():
        if gauge is None:
            yield None
            continue
        name, end = dialect(gauge.name, tags)
        yield f"{prefix}.{name}:{gauge.value}|g{end}"
    for histogram in snapshot.histograms():
        if histogram is None:
            yield None
            continue
        name, end = dialect(histogram.name, tags)
        for number, value in enumerate(_values(histogram)):
            if number % 100 == 99:
                yield None
            yield f"{prefix}.{name}:{value}{end}"


class Writer(Protocol):
    """Where lines are sent."""

    def write(self, line: bytes) -> None:
        """Send a line, or keep it until the next one or the end."""

    def flush(self) -> None:
        """Send what is kept."""


def sending(flushed: Iterator[str | None], writer: Writer) -> Iterator[None]:
    """Send all lines, in steps."""
    for line in flushed:
        if line is None:
            yield
        else:
            writer.write(line.encode(errors="backslashreplace"))
    writer.flush()


def _values(histogram: FlushedHistogram) -> Iterator[str]:
    interval = histogram.interval
    kept = interval.values
    rate = "" if len(kept) >= interval.count else f"|@{len(kept) / interval.count:.6g}"
    for value in kept:
        if histogram.unit == PERCENT:
            yield f"{value:.6f}|h{rate}"
        else:
            yield f"{int(value)}|ms{rate}"
