"""What ROUND_ROBIN and LEAST_REQUEST share: equal hosts are picked in a simple way, and weights
make a schedule.

Where all hosts of a group weigh the same and none of them starts slowly, the policy's own way of
picking is used.  Otherwise the hosts take turns by weight, and the policy says what a host weighs
at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.balancing.edf import EdfScheduler
from tcpmesh.cluster.balancing.locality import Group, LocalityBalancer
from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.balancing.slow_start import slow_start
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.interfaces import IPeekableBalancer


@implementer(IPeekableBalancer)
class WeightedPolicy:
    """Built from a message with the fields `slow_start_config` and `locality_lb_config`."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        self.random = context.random
        self._clock = context.network.clock
        self._slow_start = slow_start(message, context.runtime)
        self._spread = LocalityBalancer(
            message.locality_lb_config if message.HasField("locality_lb_config") else None, context
        )

    def update(self, sets: HostSets) -> None:
        """Pick among these hosts from now on."""
        self._spread.update(sets)

    equal_can_be_peeked = True
    """Whether the next pick in a group of equal hosts is known beforehand."""

    def pick(self, context: Any) -> Host | None:
        """The next host, or `None` where there is none."""
        group = self._spread.only_group or self._spread.group(self.random.getrandbits(32))
        if group is None or not group.hosts:
            return None
        choose = group.choose
        if choose is None:
            choose = group.choose = self._way(group)
        return choose()

    def peek(self, context: Any) -> Host | None:
        """As a pick, for who keeps the host until the next one; `None` where only that moment will
        tell.
        """
        group = self._spread.group(self.random.getrandbits(32))
        if group is None or not group.hosts:
            return None
        if group.choose is None:
            group.choose = self._way(group)
        return group.choose() if group.has_turns or self.equal_can_be_peeked else None

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts that a pick may choose, the better ones first."""
        return self._spread.candidates()

    def equal(self, group: Group) -> Callable[[], Host]:
        """How to pick in a group of equal hosts; there is at least one."""
        raise NotImplementedError

    def load_weight(self, host: Host) -> float:
        """What a host weighs at the moment, slow start aside."""
        raise NotImplementedError

    def _way(self, group: Group) -> Callable[[], Host]:
        hosts = group.hosts
        starting = self._slow_start.value.concerns(hosts, self._clock.seconds())
        if len(hosts) == 1 or (not starting and len({host.weight for host in hosts}) == 1):
            return self.equal(group)
        group.has_turns = True
        return EdfScheduler(hosts, self._weight if starting else self.load_weight, self.random).pick

    def _weight(self, host: Host) -> float:
        return self.load_weight(host) * self._slow_start.value.factor(host, self._clock.seconds())
