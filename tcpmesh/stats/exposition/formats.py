"""What a page for scrapers is written in: a format knows how labels, numbers, histograms and whole
families look; which families there are is `prometheus`'s matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Generic, Protocol, TypeAlias, TypeVar

from tcpmesh.stats.metrics import Histogram, TextReadout
from tcpmesh.stats.tags import Tag

Sample: TypeAlias = "int | Histogram | TextReadout"
"""What a series has: a number is all that is kept of counters and gauges, for a million objects
would be walked by the garbage collector."""

Piece = TypeVar("Piece", str, bytes)


class Format(Protocol, Generic[Piece]):
    """A format of pages, in pieces of text or of bytes, which are also what labels look like."""

    content_type: str
    nothing: Piece

    def labels(self, tags: Iterable[Tag]) -> Piece:
        """The labels of a series."""

    def labels_but_one(self, tags: Iterable[Tag], value: str) -> Callable[[str], Piece]:
        """The labels of many series that differ in one value, which is this one in the tags: made
        of what stands in its place.
        """

    def join(self, labels: Piece, more: Piece) -> Piece:
        """Both."""

    def suffixes(self, kind: str) -> tuple[str, ...]:
        """What follows the name of a family of this kind in those of its samples."""

    def named(self, name: str, kind: str) -> str:
        """What a family is called whose metric has this name."""

    def family(self, name: str, kind: str, series: dict[Piece, Sample]) -> Iterator[Piece]:
        """A whole family; it may take the series out of the dictionary."""

    def end(self) -> Piece:
        """What follows the last family."""


_OUTSIDE_NAMES = re.compile(r"[^a-zA-Z0-9_]")


@lru_cache(maxsize=4096)
def metric_name(name: str) -> str:
    """The metric's name for a name without tags."""
    return "envoy_" + _OUTSIDE_NAMES.sub("_", name)


@lru_cache(maxsize=256)
def label_name(tag: str) -> str:
    """The label's name for a tag."""
    name = _OUTSIDE_NAMES.sub("_", tag)
    return "_" + name if name[:1].isdigit() or not name else name


def readable(value: str) -> str:
    """A value in which bytes that are no UTF-8 are shown by their numbers."""
    return value.encode(errors="backslashreplace").decode()


def named_once(tags: Iterable[Tag]) -> Iterator[tuple[str, str]]:
    """Names and values of labels; of two tags that come to one name the first counts."""
    seen = set()
    for tag, value in tags:
        name = label_name(tag)
        if name not in seen:
            seen.add(name)
            yield name, value
