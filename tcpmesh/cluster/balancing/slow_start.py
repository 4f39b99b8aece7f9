"""Slow start: a host that is new, or healthy again, gets a share that grows to its own over a
window of time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass
from tcpmesh.runtime.runtime import Runtime, Setting
from tcpmesh.values.hosts import Health

MIN_WEIGHT = 0.1


@dataclass(frozen=True)
class SlowStart:
    """A `SlowStartConfig`; without a window it is off."""

    window: float = 0.0
    """Seconds."""

    aggression: float = 1.0
    """1 for a share that grows in a straight line, more for one that grows fast at first."""

    min_weight: float = MIN_WEIGHT
    """The part of its weight that a host has from the first moment on."""

    def concerns(self, hosts: Iterable[Host], now: float) -> bool:
        """Whether one of them is in its window."""
        return self.window > 0 and any(now - host.created <= self.window for host in hosts)

    def factor(self, host: Host, now: float) -> float:
        """What to multiply the weight of a host with.  Only healthy hosts have a slow start."""
        age = now - host.created
        if age >= self.window or host.health is not Health.HEALTHY:
            return 1
        return float(max((max(age, 0.001) / self.window) ** (1 / self.aggression), self.min_weight))


def slow_start(message: Any, runtime: Runtime) -> Setting[SlowStart]:
    """What a policy's message with a field `slow_start_config` says, and the runtime of it."""
    config = message.slow_start_config
    key = config.aggression.runtime_key
    default = config.aggression.default_value if config.HasField("aggression") else 1.0
    return runtime.setting(key, lambda: _slow_start(config, runtime.double(key, default)))


def _slow_start(config: Any, aggression: float) -> SlowStart:
    return SlowStart(
        window=seconds(config.slow_start_window),
        aggression=aggression if aggression > 0 else 1.0,  # what Envoy makes of 0 and less
        min_weight=config.min_weight_percent.value / 100
        if config.HasField("min_weight_percent")
        else MIN_WEIGHT,
    )
