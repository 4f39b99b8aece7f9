"""Statistics for Prometheus, in its text exposition format (version 0.0.4), with Envoy's metric and
label names.

Names in a proxy are free text, those of metrics are not, so two statistics may want one series
(`a-b` and `a.b` are both `a_b`), or a counter and a gauge one metric.  Scrapers refuse a whole page
for that, so the second such series is told apart by a label with its full name, and a metric of a
second type by a longer name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

from tcpmesh.stats.metrics import Counter, Gauge, Histogram, TextReadout
from tcpmesh.stats.select import Selection
from tcpmesh.stats.store import AnyStat
from tcpmesh.stats.tags import Tagger
from tcpmesh.stats.text import QUANTILES, HistogramView, bucket_counts, number_text

CONTENT_TYPE = "text/plain; charset=UTF-8"

_STEPS_PER_PIECE = 100

_Sample: TypeAlias = "int | Histogram | TextReadout"
_Writer = Callable[[str, str, _Sample], str]


def exposition(
    selection: Selection,
    tagger: Tagger,
    view: HistogramView = HistogramView.CUMULATIVE,
    text_readouts: bool = False,
) -> Iterator[str]:
    """The page in pieces, of which some are empty: grouping takes a while too.

    Histograms become histograms, or with the view `SUMMARY` summaries of the last interval.  Text
    readouts are left out unless asked for; they become gauges of value 0 with the text as a label.
    """
    yield from ("" for _ in selection.prepare())
    taken: set[str] = set()
    yield from _families("counter", selection.counters(), tagger, _number, taken)
    yield from _families("gauge", selection.gauges(), tagger, _number, taken)
    if text_readouts:
        yield from _families("gauge", selection.text_readouts(), tagger, _text, taken)
    if view is HistogramView.SUMMARY:
        yield from _families("summary", selection.histograms(), tagger, _summary, taken)
    else:
        yield from _families("histogram", selection.histograms(), tagger, _histogram, taken)


def _families(
    kind: str, stats: Iterable[AnyStat | None], tagger: Tagger, write: _Writer, taken: set[str]
) -> Iterator[str]:
    # Of a number only its value is kept: a million objects would be walked by the garbage
    # collector.
    families: dict[str, dict[str, _Sample]] = {}
    for step, stat in enumerate(stats, 1):
        if stat is None:
            yield ""
            continue
        name, tags = tagger.tag(stat.name)
        series = families.setdefault(metric_name(name), {})
        labels = ",".join(_label(tag, value) for tag, value in tags)
        if labels in series:
            labels += ("," if labels else "") + _label("stat_name", stat.name)
        series[labels] = stat.tally if isinstance(stat, (Counter, Gauge)) else stat
        if step % _STEPS_PER_PIECE == 0:
            yield ""
    for name in sorted(families):
        family = _claim(name, kind, taken)
        yield f"# TYPE {family} {kind}\n"
        for labels, sample in families.pop(name).items():
            yield write(family, labels, sample)


_SUFFIXES = {"histogram": ("", "_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def _claim(name: str, kind: str, taken: set[str]) -> str:
    """A name for the family under which none of its samples has the name of another family's."""
    while True:
        samples = {name + suffix for suffix in _SUFFIXES.get(kind, ("",))}
        if taken.isdisjoint(samples):
            taken |= samples
            return name
        name = f"{name}_{kind}"


def _number(family: str, labels: str, value: _Sample) -> str:
    return f"{family}{{{labels}}} {value}\n"


def _text(family: str, labels: str, stat: _Sample) -> str:
    assert isinstance(stat, TextReadout)
    return f"{family}{{{_with(labels, 'text_value', stat.readout)}}} 0\n"


def _histogram(family: str, labels: str, stat: _Sample) -> str:
    assert isinstance(stat, Histogram)
    seen = stat.cumulative
    bounds = [number_text(bound) for bound in stat.bounds]
    counts = bucket_counts(seen, stat.bounds, HistogramView.CUMULATIVE)
    buckets = zip([*bounds, "+Inf"], [*counts, seen.count], strict=True)
    lines = [
        f"{family}_bucket{{{_with(labels, 'le', bound)}}} {count}\n" for bound, count in buckets
    ]
    return "".join(lines) + _totals(family, labels, seen.sum, seen.count)


def _summary(family: str, labels: str, stat: _Sample) -> str:
    assert isinstance(stat, Histogram)
    seen = stat.last_interval
    values = zip(QUANTILES, seen.quantiles(QUANTILES), strict=True)
    lines = [
        f"{family}{{{_with(labels, 'quantile', number_text(quantile))}}} {number_text(value)}\n"
        for quantile, value in values
    ]
    return "".join(lines) + _totals(family, labels, seen.sum, seen.count)


def _totals(family: str, labels: str, total: float, count: int) -> str:
    return f"{family}_sum{{{labels}}} {number_text(total)}\n{family}_count{{{labels}}} {count}\n"


_OUTSIDE_NAMES = re.compile(r"[^a-zA-Z0-9_]")


@lru_cache(maxsize=4096)
def metric_name(name: str) -> str:
    """The metric's name for a name without tags."""
    return "envoy_" + _OUTSIDE_NAMES.sub("_", name)


@lru_cache(maxsize=256)
def _label_name(tag: str) -> str:
    name = _OUTSIDE_NAMES.sub("_", tag)
    return "_" + name if name[:1].isdigit() or not name else name


def _label(tag: str, value: str) -> str:
    readable = value.encode(errors="backslashreplace").decode()
    escaped = readable.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{_label_name(tag)}="{escaped}"'


def _with(labels: str, tag: str, value: str) -> str:
    return f"{labels}{',' if labels else ''}{_label(tag, value)}"
