"""Prometheus' protobuf format: a `io.prometheus.client.MetricFamily` for each family, behind its
length.

The few messages are written by hand: no package has them for Python, and a page of a million series
takes half the time so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

from tcpmesh.stats.distribution import Distribution
from tcpmesh.stats.exposition.formats import Sample, named_once, readable
from tcpmesh.stats.exposition.native import EMPTY_SCHEMA, MOST_BUCKETS, ZERO_THRESHOLD, native
from tcpmesh.stats.metrics import Histogram, TextReadout
from tcpmesh.stats.tags import Tag
from tcpmesh.stats.text import QUANTILES, HistogramView, bucket_counts

_KINDS = {"counter": 0, "gauge": 1, "summary": 2, "histogram": 4}
_VARINT, _FIXED, _BYTES = 0, 1, 2
_double = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """A whole number, not negative."""
    if number < 0x80:
        return bytes((number,))
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _whole(field: int, number: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(number)


def _signed(field: int, number: int) -> bytes:
    return _whole(field, number << 1 if number >= 0 else (-number << 1) - 1)


def _fraction(field: int, number: float) -> bytes:
    return varint(field << 3 | _FIXED) + _double(number)


def _block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | _BYTES) + varint(len(data)) + data


class PrometheusProtobuf:
    """What scrapers read that want native histograms, or less to parse.

    :param is_native: whether histograms are native ones.
    :param most: how many buckets a native histogram may have.
    """

    content_type = (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
        "encoding=delimited"
    )
    nothing = b""

    def __init__(self, is_native: bool = False, most: int = MOST_BUCKETS) -> None:
        self._is_native = is_native
        self._most = most

    def labels(self, tags: Iterable[Tag]) -> bytes:
        """A `LabelPair` for each."""
        return b"".join(
            _block(1, _block(1, name.encode()) + _block(2, readable(value).encode()))
            for name, value in named_once(tags)
        )

    def labels_but_one(self, tags: Iterable[Tag], value: str) -> Callable[[str], bytes]:
        """See `Format`."""
        kept = tuple(tags)
        return lambda given: self.labels((t, given if v == value else v) for t, v in kept)

    def join(self, labels: bytes, more: bytes) -> bytes:
        """One after the other."""
        return labels + more

    def suffixes(self, kind: str) -> tuple[str, ...]:
        """A family is one thing, and a scraper makes several of it."""
        return ("", "_bucket", "_sum", "_count") if kind in ("histogram", "summary") else ("",)

    def named(self, name: str, kind: str) -> str:
        """The metric's own name."""
        return name

    def family(self, name: str, kind: str, series: dict[bytes, Sample]) -> Iterator[bytes]:
        """All of it at the end, behind its length; until then there is nothing."""
        found = bytearray(_block(1, name.encode()) + _whole(3, _KINDS[kind]))
        number = 3 if kind == "counter" else 2
        for labels, sample in series.items():
            if isinstance(sample, Histogram):
                value = self._summary(sample) if kind == "summary" else self._histogram(sample)
            elif isinstance(sample, TextReadout):
                labels = labels + self.labels((("text_value", sample.readout),))
                value = _block(number, _fraction(1, 0))
            else:
                value = _block(number, _fraction(1, sample))
            found += _block(4, labels + value)
            yield b""
        yield varint(len(found))
        yield bytes(found)

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def _histogram(self, stat: Histogram) -> bytes:
        seen = stat.cumulative
        if self._is_native:
            return _block(7, self._native(seen))
        counts = bucket_counts(seen, stat.bounds, HistogramView.CUMULATIVE)
        buckets = zip(stat.bounds, counts, strict=True)
        return _block(
            7,
            _whole(1, seen.count)
            + _fraction(2, seen.sum)
            + b"".join(
                _block(3, _whole(1, count) + _fraction(2, bound)) for bound, count in buckets
            ),
        )

    def _native(self, seen: Distribution) -> bytes:
        if not seen.count:  # a span is what tells a native one from another
            span = _block(12, _signed(1, 0) + _whole(2, 0))
            return _signed(5, EMPTY_SCHEMA) + _whole(7, 0) + span
        found = native(seen, self._most)
        parts = [
            _whole(1, seen.count) + _fraction(2, seen.sum),
            _signed(5, found.schema) + _fraction(6, ZERO_THRESHOLD) + _whole(7, found.zero_count),
            *(_block(12, _signed(1, offset) + _whole(2, run)) for offset, run in found.spans),
        ]
        before = 0
        for count in found.counts:
            parts.append(_signed(13, count - before))
            before = count
        return b"".join(parts)

    def _summary(self, stat: Histogram) -> bytes:
        seen = stat.last_interval
        values = zip(QUANTILES, seen.quantiles(QUANTILES), strict=True)
        return _block(
            4,
            _whole(1, seen.count)
            + _fraction(2, seen.sum)
            + b"".join(
                _block(3, _fraction(1, quantile) + _fraction(2, value))
                for quantile, value in values
            ),
        )
