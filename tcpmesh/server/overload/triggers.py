"""When an action, or a load shed point, becomes active, and how far: by the pressure of resources.

Different from Envoy: of an action with several triggers, Envoy's gauges show the trigger that has
changed last.  Here they show what is done, the highest of all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

_SINGLE = struct.Struct("f")

Level = Callable[[float], float]
"""Tells, by a pressure, how far something is active: from 0 to 1."""


def level_of(trigger: Any) -> Level:
    """What an `overload.v3.Trigger` says."""
    if trigger.HasField("threshold"):
        return _threshold(trigger.threshold.value)
    return _scaled(trigger.scaled.scaling_threshold, trigger.scaled.saturation_threshold)


def _threshold(value: float) -> Level:
    return lambda pressure: 1.0 if pressure >= value else 0.0


def _scaled(scaling: float, saturation: float) -> Level:
    def level(pressure: float) -> float:
        if pressure <= scaling:
            return 0.0
        if pressure >= saturation:
            return 1.0
        return single((pressure - scaling) / (saturation - scaling))

    return level


def single(number: float) -> float:
    """A number in the single precision in which Envoy reckons levels."""
    rounded: float = _SINGLE.unpack(_SINGLE.pack(number))[0]
    return rounded


class Triggered:
    """An `overload.v3.OverloadAction`, or a `LoadShedPoint`: what becomes active.

    :param show: shows the level.
    """

    def __init__(self, message: Any, show: Callable[[float], object]) -> None:
        self.name: str = message.name
        self.level = 0.0
        """How far it is active: as far as the trigger says that says most."""
        self.turned = False
        """Whether the last update has changed its state, and not only how far it is scaled."""
        self._triggers = {each.name: level_of(each) for each in message.triggers}
        self._levels = dict.fromkeys(self._triggers, 0.0)
        self._show = show
        show(0.0)

    def update(self, resource: str, pressure: float) -> bool:
        """A resource has this pressure; whether the level is another one for that."""
        trigger = self._triggers.get(resource)
        if trigger is None:
            return False
        self._levels[resource] = trigger(pressure)
        before, state = self.level, self.state
        self.level = max(self._levels.values())
        self.turned = self.state != state
        self._show(self.level)
        return self.level != before

    @property
    def state(self) -> str:
        """How far it is active, in a word."""
        return "inactive" if not self.level else "active" if self.level == 1 else "scaled"
