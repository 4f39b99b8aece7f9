"""LEAST_REQUEST: of a few hosts drawn at random the one with the fewest connections.

Two draws are nearly as even as looking at all hosts, and cost the same with ten and ten thousand of
them.  The draws may name one host twice.  Hosts of different weights take turns instead, by their
weight divided by their connections.  A host's connections are those that are established, as in
Envoy: those still being made do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2

from tcpmesh.cluster.balancing.locality import Group
from tcpmesh.cluster.balancing.policy import PolicyContext, locality_config, slow_start_config
from tcpmesh.cluster.balancing.weighted import WeightedPolicy
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.registry import enum_value, extension

CHOICE_COUNT = 2


@extension(least_request_pb2.LeastRequest)
@enum_value("load_balancing_policies", "LEAST_REQUEST")
class LeastRequest(WeightedPolicy):
    """Built from a `LeastRequest` message."""

    equal_can_be_peeked = False

    def __init__(self, message: Any, context: PolicyContext) -> None:
        super().__init__(message, context)
        self._choices: int = (
            message.choice_count.value if message.HasField("choice_count") else CHOICE_COUNT
        )
        bias, runtime = message.active_request_bias, context.runtime
        default = bias.default_value if message.HasField("active_request_bias") else 1.0
        self._bias = runtime.setting(
            bias.runtime_key, lambda: _bias(runtime.double(bias.runtime_key, default))
        )
        self._full_scan = (
            message.selection_method == message.FULL_SCAN or message.enable_full_scan.value
        )

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> LeastRequest:
        """The policy as a cluster's `lb_policy` asks for it."""
        old = message.least_request_lb_config
        made = least_request_pb2.LeastRequest(
            slow_start_config=slow_start_config(old), locality_lb_config=locality_config(message)
        )
        for name in ("choice_count", "active_request_bias"):
            if old.HasField(name):
                getattr(made, name).CopyFrom(getattr(old, name))
        return cls(made, context)

    def equal(self, group: Group) -> Callable[[], Host]:
        """The least loaded of some draws, or of all hosts; of several equally loaded ones the first
        drawn.
        """
        hosts, random = group.hosts, self.random
        if self._full_scan:
            return lambda: _least_loaded(hosts, random.choice)
        if self._choices == CHOICE_COUNT:
            return lambda: _less_loaded(random.choice(hosts), random.choice(hosts))
        return lambda: min(random.choices(hosts, k=self._choices), key=_load)

    def load_weight(self, host: Host) -> float:
        """Less with each connection, as much so as `active_request_bias` says."""
        bias = self._bias.value
        if bias == 0:
            return host.weight
        return float(host.weight / (host.rq_active + 1) ** bias)


def _bias(value: float) -> float:
    """What Envoy makes of a bias below 0, or that is no number."""
    return value if value >= 0 else 1.0


def _load(host: Host) -> int:
    return host.rq_active


def _less_loaded(first: Host, second: Host) -> Host:
    return second if second.rq_active < first.rq_active else first


def _least_loaded(hosts: tuple[Host, ...], draw: Callable[[list[Host]], Host]) -> Host:
    least = min(map(_load, hosts))
    return draw([host for host in hosts if host.rq_active == least])
