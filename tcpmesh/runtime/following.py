"""A worker's runtime values: what main tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.task import Cooperator

from tcpmesh.net.cooperator import do_all
from tcpmesh.runtime.runtime import Change, Runtime
from tcpmesh.values.link import RuntimeValues
from tcpmesh.values.runtime import Entry

STEP = 64
"""Values of a large change that are dealt with in one step, once it holds."""


class FollowedRuntime:
    """Follows main's values.

    :param values: those at first.
    """

    def __init__(self, values: tuple[tuple[str, Entry], ...], cooperator: Cooperator) -> None:
        self.runtime = Runtime(dict(values))
        self._cooperator = cooperator
        self._changes: dict[int, Change] = {}
        """Those of which more is to come, by their numbers."""
        self.receivers: Mapping[type, Callable[[Any], object]] = {RuntimeValues: self._take}
        """What is done with each message of main's."""

    def _take(self, told: RuntimeValues) -> None:
        change = self._changes.get(told.change)
        if change is None:
            change = self._changes[told.change] = self.runtime.change()
        change.add(dict(told.values))
        if told.is_last:
            self._changes.pop(told.change).make()
            do_all(self._cooperator, self._settling())

    def _settling(self) -> Iterator[None]:
        while self.runtime.settle(STEP):
            yield
