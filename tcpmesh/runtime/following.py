"""A worker's runtime values: what main tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcpmesh.runtime.runtime import Change, Runtime
from tcpmesh.values.link import RuntimeValues
from tcpmesh.values.runtime import Entry


class FollowedRuntime:
    """Follows main's values.

    :param values: those at first.
    """

    def __init__(self, values: tuple[tuple[str, Entry], ...]) -> None:
        self.runtime = Runtime(dict(values))
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
