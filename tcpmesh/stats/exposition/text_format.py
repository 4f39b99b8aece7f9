"""Prometheus' text format (version 0.0.4), as Envoy writes it, and OpenMetrics (version 1.0.0)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from tcpmesh.stats.exposition.formats import Sample, named_once, readable
from tcpmesh.stats.metrics import Histogram, TextReadout
from tcpmesh.stats.tags import Tag
from tcpmesh.stats.text import QUANTILES, HistogramView, bucket_counts, number_text

_LABELS = "\0"
"""Stands for the labels of one of many series."""

_LINES = 100
"""Lines of a piece, where they are quick to make."""

_SUFFIXES = {"histogram": ("", "_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


class PrometheusText:
    """What every scraper reads."""

    content_type = "text/plain; charset=UTF-8"
    nothing = ""

    def __init__(self) -> None:
        self._empty: dict[tuple[str, tuple[float, ...]], str] = {}

    def labels(self, tags: Iterable[Tag]) -> str:
        """`name="value"`, with commas."""
        return ",".join(f'{name}="{_escaped(value)}"' for name, value in named_once(tags))

    def labels_but_one(self, tags: Iterable[Tag], value: str) -> Callable[[str], str]:
        """See `Format`."""
        before, after = self.labels(tags).split(value)
        return lambda given: f"{before}{_escaped(given)}{after}"

    def join(self, labels: str, more: str) -> str:
        """With a comma, where there are both."""
        return f"{labels}{',' if labels else ''}{more}"

    def suffixes(self, kind: str) -> tuple[str, ...]:
        """See `Format`."""
        return _SUFFIXES.get(kind, ("",))

    def named(self, name: str, kind: str) -> str:
        """The metric's own name."""
        return name

    def family(self, name: str, kind: str, series: dict[str, Sample]) -> Iterator[str]:
        """A line for its type, then those of its series."""
        yield f"# TYPE {name} {kind}\n"
        if kind in ("counter", "gauge"):
            yield from self._numbers(self.sample_name(name, kind), series)
            return
        for labels, sample in series.items():
            if isinstance(sample, Histogram):
                write = self._summary if kind == "summary" else self._histogram
                yield write(name, labels, sample)

    def _numbers(self, name: str, series: dict[str, Sample]) -> Iterator[str]:
        lines = []
        for labels, sample in series.items():
            if isinstance(sample, TextReadout):
                text = f'text_value="{_escaped(sample.readout)}"'
                lines.append(f"{name}{{{self.join(labels, text)}}} 0\n")
            else:
                lines.append(f"{name}{{{labels}}} {sample}\n")
            if len(lines) == _LINES:
                yield "".join(lines)
                lines.clear()
        yield "".join(lines)

    def end(self) -> str:
        """Nothing."""
        return ""

    def sample_name(self, name: str, kind: str) -> str:
        """What the samples of a family are called that have only a number."""
        return name

    def bound(self, number: float) -> str:
        """A number in a label."""
        return number_text(number)

    def number(self, number: float) -> str:
        """The value of a sample."""
        return number_text(number)

    def _histogram(self, family: str, labels: str, stat: Histogram) -> str:
        seen = stat.cumulative
        if not seen.count and labels:
            return self._without_values(family, stat.bounds).replace(_LABELS, labels)
        counts = [*bucket_counts(seen, stat.bounds, HistogramView.CUMULATIVE), seen.count]
        return self._buckets(family, labels, stat.bounds, counts, seen.sum)

    def _without_values(self, family: str, bounds: tuple[float, ...]) -> str:
        """Most histograms have none, with thousands of clusters: what is the same for all that are
        called so.
        """
        known = self._empty.get((family, bounds))
        if known is None:
            counts = [0] * (len(bounds) + 1)
            known = self._buckets(family, _LABELS, bounds, counts, 0)
            self._empty[family, bounds] = known
        return known

    def _buckets(
        self,
        family: str,
        labels: str,
        bounds: tuple[float, ...],
        counts: list[int],
        total: float,
    ) -> str:
        before = f"{family}_bucket{{{self.join(labels, 'le=')}"
        texts = [*map(self.bound, bounds), "+Inf"]
        lines = [
            f'{before}"{bound}"}} {count}\n' for bound, count in zip(texts, counts, strict=True)
        ]
        return "".join(lines) + self._totals(family, labels, total, counts[-1])

    def _summary(self, family: str, labels: str, stat: Histogram) -> str:
        seen = stat.last_interval
        values = zip(QUANTILES, seen.quantiles(QUANTILES), strict=True)
        before = f"{family}{{{self.join(labels, 'quantile=')}"
        lines = [
            f'{before}"{self.bound(quantile)}"}} {self.number(value)}\n'
            for quantile, value in values
        ]
        return "".join(lines) + self._totals(family, labels, seen.sum, seen.count)

    def _totals(self, family: str, labels: str, total: float, count: int) -> str:
        return (
            f"{family}_sum{{{labels}}} {self.number(total)}\n{family}_count{{{labels}}} {count}\n"
        )


class OpenMetricsText(PrometheusText):
    """What OpenMetrics makes of it: the samples of counters end in `_total`, numbers in labels have
    a point, and the page has an end.
    """

    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    def suffixes(self, kind: str) -> tuple[str, ...]:
        """See `Format`."""
        return ("", "_total", "_created") if kind == "counter" else super().suffixes(kind)

    def named(self, name: str, kind: str) -> str:
        """Without the `_total` that its samples get."""
        return name.removesuffix("_total") if kind == "counter" else name

    def sample_name(self, name: str, kind: str) -> str:
        """With it."""
        return f"{name}_total" if kind == "counter" else name

    def bound(self, number: float) -> str:
        """Also whole numbers have a point, and large ones an exponent."""
        return _go(number)

    def number(self, number: float) -> str:
        """What is no number has its own spelling."""
        return "NaN" if math.isnan(number) else number_text(number)

    def end(self) -> str:
        """Which says that nothing is missing."""
        return "# EOF\n"


def _go(number: float) -> str:
    """A number as Go writes it, which is what OpenMetrics calls canonical."""
    text = repr(float(number))
    whole, _, _ = text.partition(".")
    if 1e6 <= number < 1e21 and "e" not in text:
        digits = (whole + text.partition(".")[2]).rstrip("0")
        mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
        return f"{mantissa}e+{len(whole) - 1:02}"
    return text


@lru_cache(maxsize=4096)
def _escaped(value: str) -> str:
    return readable(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
