"""Layers of runtime values as files have them (RTDS): each file has the values of one layer.

Whatever is wrong with a file leaves the values as they are; it is counted and told.  As in Envoy
all layers count in one place, `runtime.`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import time

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tcpmesh.config.resources import NotReadable, Resources
from tcpmesh.facts import dataclass
from tcpmesh.runtime.layers import Layers, Values, static_values
from tcpmesh.xds.stats import SubscriptionStats
from tcpmesh.xds.subscription import Load, Outcome

log = Logger(namespace="runtime")


@dataclass(frozen=True)
class RuntimeResource:
    """What a `Runtime` message says."""

    name: str
    values: Values


def with_values(load: Load) -> Load:
    """Reads a file as `load` does, and makes values of what it has, which takes long too."""

    def load_values(path: str) -> Resources:
        found = load(path)
        made = (
            RuntimeResource(each.name, static_values(each.static_layer)) for each in found.messages
        )
        return replace(found, messages=tuple(made))

    return load_values


class RuntimeDiscovery:
    """That of one layer.

    :param layer: its name.
    :param resource: the name of the `Runtime` that is meant.
    :param unknown_fields: is told how many fields nobody knows.
    """

    def __init__(
        self,
        layer: str,
        resource: str,
        layers: Layers,
        stats: SubscriptionStats,
        clock: IReactorTime,
        unknown_fields: Callable[[int], object],
    ) -> None:
        self._layer = layer
        self._resource = resource
        self._layers = layers
        self._stats = stats
        self._clock = clock
        self._unknown_fields = unknown_fields

    def update(self, outcome: Outcome) -> Iterator[None]:
        """Apply what the file says."""
        self._stats.attempts.tally += 1
        began = self._clock.seconds()
        if isinstance(outcome, NotReadable):
            self._stats.failures.tally += 1
            self._complain(str(outcome))
            return
        self._unknown_fields(outcome.unknown_fields)
        why = self._wrong(outcome)
        if why:
            self._stats.rejections.tally += 1
            self._complain(why)
            return
        self._layers.discovered(self._layer, outcome.messages[0].values)
        self._stats.updated(outcome.version, time(), self._clock.seconds() - began)
        yield

    def _wrong(self, found: Resources) -> str:
        if found.errors:
            return "; ".join(map(str, found.errors))
        names = [each.name for each in found.messages]
        if len(names) != 1:
            return f"the file has to have one Runtime, it has {len(names)}"
        if names[0] != self._resource:
            return f"a Runtime named {names[0]!r}, not {self._resource!r}"
        return ""

    def _complain(self, why: str) -> None:
        log.warn("the values of runtime layer {name} stay: {why}", name=self._layer, why=why)
