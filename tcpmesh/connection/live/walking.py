"""Going through all connections of a worker, a few in each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from twisted.internet.interfaces import IReactorTime

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.live.matching import matcher, reader
from tcpmesh.connection.live.rows import READERS, Look, Rates
from tcpmesh.values.stream.live import CONNECTION_FIELDS, FieldFilter
from tcpmesh.values.stream.phase import CLOSED

LOOKS = 32
"""Connections looked at in one step."""


def looks(
    groups: Iterable[Sequence[Connection]],
    clock: IReactorTime,
    worker: int,
    rates: Callable[[Look], Rates],
) -> Iterator[Look | None]:
    """A look at each connection that is still there, and `None` after some of them.

    :param groups: the connections, each group a snapshot.
    """
    for group in groups:
        for start in range(0, len(group), LOOKS):
            now = clock.seconds()
            for connection in group[start : start + LOOKS]:
                if connection.stream_info.phase is not CLOSED:
                    yield Look(connection, now, worker, rates)
            yield None


def fitting(filters: Sequence[FieldFilter]) -> Callable[[Look], bool]:
    """Tells whether all filters let a connection pass."""
    tests = [
        (reader(each.field, CONNECTION_FIELDS, READERS.__getitem__), matcher(each))
        for each in filters
    ]
    return lambda look: all(matches(read(look)) for read, matches in tests)
