"""Statistics for Prometheus, with Envoy's metric and label names, in whatever format.

Names in a proxy are free text, those of metrics are not, so two statistics may want one series
(`a-b` and `a.b` are both `a_b`), or a counter and a gauge one metric.  Scrapers refuse a whole page
for that, so the second such series is told apart by a label with its full name, and a metric of a
second type by a longer name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeAlias

from tcpmesh.stats.exposition.formats import Format, Piece, Sample, metric_name
from tcpmesh.stats.metrics import Histogram, TextReadout
from tcpmesh.stats.select import Kind, Selection
from tcpmesh.stats.tags import ANY, CLUSTER, UNUSUAL, Tagger


def exposition(
    selection: Selection,
    tagger: Tagger,
    format: Format[Piece],
    *,
    summaries: bool = False,
    text_readouts: bool = False,
) -> Iterator[Piece]:
    """The page in pieces, of which some are empty: grouping takes a while too.

    :param summaries: whether histograms are summaries of the last interval.
    :param text_readouts: whether texts are there too, as gauges of value 0 with the text as a
        label.
    """
    yield from (format.nothing for _ in selection.prepare())
    taken: set[str] = set()
    kinds: list[tuple[str, Iterable[Iterable[_Named]]]] = [
        ("counter", selection.rows(Kind.COUNTERS)),
        ("gauge", selection.rows(Kind.GAUGES)),
        ("gauge", _named(selection.text_readouts()) if text_readouts else ()),
        ("summary" if summaries else "histogram", _named(selection.histograms())),
    ]
    series_of = _Series(tagger, format)
    for kind, samples in kinds:
        yield from _families(kind, samples, series_of, format, taken)
    yield format.end()


_Named: TypeAlias = "tuple[str, Sample]"


def _named(stats: Iterable[Histogram | TextReadout | None]) -> Iterator[list[_Named]]:
    for stat in stats:
        yield [(stat.name, stat)] if stat is not None else []


def _families(
    kind: str,
    samples: Iterable[Iterable[_Named]],
    series_of: _Series[Piece],
    format: Format[Piece],
    taken: set[str],
) -> Iterator[Piece]:
    families: dict[str, dict[Piece, Sample]] = {}
    for some in samples:
        for name, sample in some:
            metric, labels = series_of(name)
            series = families.get(metric)
            if series is None:
                series = families[metric] = {}
            elif labels in series:
                labels = format.join(labels, format.labels((("stat_name", name),)))
            series[labels] = sample
        yield format.nothing
    for name in sorted(families):
        family = _claim(name, kind, format, taken)
        yield from format.family(family, kind, families.pop(name))


class _Series(Generic[Piece]):
    """The metric and the labels of a statistic, by its name."""

    def __init__(self, tagger: Tagger, format: Format[Piece]) -> None:
        self._tagger = tagger
        self._format: Format[Piece] = format
        self._of_clusters: dict[str, tuple[str, Callable[[str], Piece]] | None] = {}

    def __call__(self, name: str) -> tuple[str, Piece]:
        end = name.find(".", len(CLUSTER)) if name.startswith(CLUSTER) else -1
        if end >= 0 and not self._tagger.is_given(name):
            rest = name[end:]
            known = self._of_clusters.get(rest)
            if known is None and rest not in self._of_clusters:
                known = self._of_clusters[rest] = self._of_cluster(rest)
            cluster = name[len(CLUSTER) : end]
            if known is not None and cluster not in UNUSUAL:
                return known[0], known[1](cluster)
        left, tags = self._tagger.tag(name)
        return metric_name(left), self._format.labels(tags)

    def _of_cluster(self, rest: str) -> tuple[str, Callable[[str], Piece]] | None:
        tagged = self._tagger.of_cluster(rest)
        if tagged is None:
            return None
        return metric_name(tagged[0]), self._format.labels_but_one(tagged[1], ANY)


def _claim(name: str, kind: str, format: Format[Piece], taken: set[str]) -> str:
    """A name for the family under which none of its samples has the name of another family's."""
    while True:
        family = format.named(name, kind)
        samples = {family + suffix for suffix in format.suffixes(kind)}
        if taken.isdisjoint(samples):
            taken |= samples
            return family
        name = f"{name}_{kind}"
