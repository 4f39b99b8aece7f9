"""Statistics for people (text) and for scripts (JSON), as Envoy's `/stats` writes them.

All writers yield pieces of text, so that a long list can be sent as it is written and other work
gets its turn in between.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import chain

from tcpmesh.stats.distribution import Distribution
from tcpmesh.stats.metrics import Histogram
from tcpmesh.stats.rows import Row
from tcpmesh.stats.select import Selection

PERCENTILES = (0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
"""The quantiles that are shown, in percent."""

QUANTILES = tuple(round(percent / 100, 3) for percent in PERCENTILES)
"""The same as fractions: 99.9 / 100 is not quite 0.999, and the fraction is a label."""


class HistogramView(Enum):
    """How histograms are shown, by the names that the parameter `histogram_buckets` has for it."""

    SUMMARY = "summary"
    CUMULATIVE = "cumulative"
    DISJOINT = "disjoint"
    DETAILED = "detailed"


def number_text(number: float) -> str:
    """A number as short as it can be without losing anything: `0`, `2.5`, `nan`."""
    return (
        str(int(number))
        if number == number and abs(number) < 1e15 and number == int(number)
        else repr(number)
    )


def as_text(selection: Selection, view: HistogramView = HistogramView.SUMMARY) -> Iterator[str]:
    """Lines of `name: value`: text readouts, then counters and gauges, then histograms."""
    yield from ("" for _ in selection.prepare())
    for readout in selection.text_readouts():
        yield (
            f"{readout.name}: {json.dumps(readout.readout, ensure_ascii=False)}\n"
            if readout is not None
            else ""
        )
    for rows in selection.rows():
        yield "".join([f"{name}: {number}\n" for name, number in rows])
    describe = _TEXT_VIEWS[view]
    for histogram in selection.histograms():
        yield f"{histogram.name}:{describe(histogram)}\n" if histogram is not None else ""


def as_json(selection: Selection, view: HistogramView = HistogramView.SUMMARY) -> Iterator[str]:
    """One JSON object, `{"stats": [...]}`, with the histograms together in the last element."""
    yield from ("" for _ in selection.prepare())
    before = '{"stats":['
    for readout in selection.text_readouts():
        if readout is None:
            yield ""
        else:
            yield before + _compact({"name": readout.name, "value": readout.readout})
            before = ","
    for rows in selection.rows():
        if rows:
            yield before + ",".join(_members(rows))
            before = ","
        else:
            yield ""
    histograms = selection.histograms()
    for first in histograms:
        if first is None:
            yield ""
        else:
            yield before + '{"histograms":'
            yield from _JSON_VIEWS[view](chain((first,), histograms))
            before = "}"
    yield before.strip(",") + "]}"


def _members(rows: Sequence[Row]) -> list[str]:
    """What JSON says of counters and gauges."""
    if _UNUSUAL.search("".join([name for name, _ in rows])):
        return [_compact({"name": name, "value": number}) for name, number in rows]
    return [f'{{"name":"{name}","value":{number}}}' for name, number in rows]


_UNUSUAL = re.compile(r"[^ !#-\[\]-~]")
"""What JSON writes with a backslash: hardly a name has it."""


def bucket_counts(
    distribution: Distribution, bounds: Iterable[float], view: HistogramView
) -> list[int]:
    """How many values each bucket holds: with those of all lower buckets, or on its own."""
    counts = distribution.counts_up_to(tuple(bounds))
    if view is HistogramView.DISJOINT:
        return [upper - lower for lower, upper in zip([0, *counts], counts, strict=False)]
    return counts


def _summary_text(histogram: Histogram) -> str:
    if not histogram.was_used:
        return " No recorded values"
    return " " + _quantile_text(histogram)


def _quantile_text(histogram: Histogram) -> str:
    interval = histogram.last_interval.quantiles(QUANTILES)
    cumulative = histogram.cumulative.quantiles(QUANTILES)
    return " ".join(
        f"P{percent}({number_text(now)},{number_text(ever)})"
        for percent, now, ever in zip(PERCENTILES, interval, cumulative, strict=True)
    )


def _bucket_text(view: HistogramView) -> Callable[[Histogram], str]:
    def describe(histogram: Histogram) -> str:
        if not histogram.was_used:
            return " No recorded values"
        interval = bucket_counts(histogram.last_interval, histogram.bounds, view)
        cumulative = bucket_counts(histogram.cumulative, histogram.bounds, view)
        return "".join(
            f" B{bound:g}({now},{ever})"
            for bound, now, ever in zip(histogram.bounds, interval, cumulative, strict=True)
        )

    return describe


def _detailed_text(histogram: Histogram) -> str:
    if not histogram.was_used:
        return " No recorded values"

    def bins(distribution: Distribution) -> str:
        return ", ".join(
            f"{lower:g},{width:g}:{amount}" for lower, width, amount in distribution.bins()
        )

    return (
        f"\n  totals={bins(histogram.cumulative)}\n  intervals={bins(histogram.last_interval)}\n  "
        f"summary={_quantile_text(histogram)}"
    )


_TEXT_VIEWS: dict[HistogramView, Callable[[Histogram], str]] = {
    HistogramView.SUMMARY: _summary_text,
    HistogramView.CUMULATIVE: _bucket_text(HistogramView.CUMULATIVE),
    HistogramView.DISJOINT: _bucket_text(HistogramView.DISJOINT),
    HistogramView.DETAILED: _detailed_text,
}


def _summary_json(histograms: Iterable[Histogram | None]) -> Iterator[str]:
    yield f'{{"supported_quantiles":{_compact(PERCENTILES)},"computed_quantiles":['
    yield from _listed(
        histograms, lambda histogram: {"name": histogram.name, "values": _quantile_json(histogram)}
    )
    yield "]}"


def _quantile_json(histogram: Histogram) -> list[dict[str, float | None]]:
    interval = histogram.last_interval.quantiles(QUANTILES)
    cumulative = histogram.cumulative.quantiles(QUANTILES)
    return [
        {"cumulative": _json_number(ever), "interval": _json_number(now)}
        for now, ever in zip(interval, cumulative, strict=True)
    ]


def _bucket_json(view: HistogramView) -> Callable[[Iterable[Histogram | None]], Iterator[str]]:
    def buckets(histogram: Histogram) -> list[dict[str, float | None]]:
        interval = bucket_counts(histogram.last_interval, histogram.bounds, view)
        cumulative = bucket_counts(histogram.cumulative, histogram.bounds, view)
        rows = zip(histogram.bounds, interval, cumulative, strict=True)
        return [
            {"upper_bound": _json_number(bound), "interval": now, "cumulative": ever}
            for bound, now, ever in rows
        ]

    def describe(histograms: Iterable[Histogram | None]) -> Iterator[str]:
        yield "["
        yield from _listed(
            histograms, lambda histogram: {"name": histogram.name, "buckets": buckets(histogram)}
        )
        yield "]"

    return describe


def _detailed_json(histograms: Iterable[Histogram | None]) -> Iterator[str]:
    def bins(distribution: Distribution) -> list[dict[str, float | None]]:
        return [
            {"lower_bound": _json_number(lower), "width": _json_number(width), "count": amount}
            for lower, width, amount in distribution.bins()
        ]

    yield f'{{"supported_percentiles":{_compact(PERCENTILES)},"details":['
    yield from _listed(
        histograms,
        lambda histogram: {
            "name": histogram.name,
            "totals": bins(histogram.cumulative),
            "intervals": bins(histogram.last_interval),
            "percentiles": _quantile_json(histogram),
        },
    )
    yield "]}"


_JSON_VIEWS: dict[HistogramView, Callable[[Iterable[Histogram | None]], Iterator[str]]] = {
    HistogramView.SUMMARY: _summary_json,
    HistogramView.CUMULATIVE: _bucket_json(HistogramView.CUMULATIVE),
    HistogramView.DISJOINT: _bucket_json(HistogramView.DISJOINT),
    HistogramView.DETAILED: _detailed_json,
}


def _listed(
    histograms: Iterable[Histogram | None], describe: Callable[[Histogram], object]
) -> Iterator[str]:
    before = ""
    for histogram in histograms:
        if histogram is None:
            yield ""
        else:
            yield before + _compact(describe(histogram))
            before = ","


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _json_number(number: float) -> float | None:
    """What is no number is nothing, and what is whole has no point."""
    if math.isnan(number):
        return None
    return int(number) if number == int(number) else number
