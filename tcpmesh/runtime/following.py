"""A worker's runtime values: what main tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.link import RuntimeValues
from tcpmesh.values.runtime import Entry


class FollowedRuntime:
    """Follows main's values.

    :param values: those at first.
    """

    def __init__(self, values: tuple[tuple[str, Entry], ...]) -> None:
        self.runtime = Runtime(dict(values))
        self._parts: dict[int, dict[str, Entry | None]] = {}
        """What is known of changes of which more is to come."""
        self.receivers: Mapping[type, Callable[[Any], object]] = {RuntimeValues: self._take}
        """What is done with each message of main's."""

    def _take(self, told: RuntimeValues) -> None:
        changes = self._parts.setdefault(told.change, {})
        changes.update(told.values)
        if told.is_last:
            self.runtime.update(self._parts.pop(told.change))
