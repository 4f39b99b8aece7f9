"""Looking ahead: which hosts a load balancer will pick next, for clusters that connect before their
clients come.

A host that was peeked is what the next pick returns, so what was foreseen comes true.  Only
policies that can tell are asked: those with a method `peek`, which is the one that really picks.
As in Envoy no more picks are foreseen than there are healthy hosts, and a policy by hash, which
goes by the client, looks_ahead nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.interfaces import ILoadBalancer, IPeekableBalancer


def _nothing(context: Any) -> None:
    """What is foreseen where the policy cannot tell."""


@implementer(ILoadBalancer)
class Lookahead:
    """A balancer whose picks can be known beforehand."""

    def __init__(self, balancer: Any) -> None:
        self._balancer = balancer
        is_peekable = IPeekableBalancer.providedBy(balancer)
        self._peek: Callable[[Any], Host | None] = balancer.peek if is_peekable else _nothing
        self._foreseen: deque[Host] = deque()
        self._limit = 0

    def update(self, sets: HostSets) -> None:
        """Pick among these hosts from now on: what was foreseen is not true any more."""
        self._foreseen.clear()
        self._limit = sum(len(each.healthy) for each in sets.sets)
        self._balancer.update(sets)

    def peek(self, context: Any) -> Host | None:
        """The host that a pick will choose, after those foreseen already; `None` where that cannot
        be told.
        """
        if len(self._foreseen) >= self._limit:
            return None
        host = self._peek(context)
        if host is not None:
            self._foreseen.append(host)
        return host

    def pick(self, context: Any) -> Host | None:
        """The next host, or `None` where there is none."""
        if self._foreseen:
            return self._foreseen.popleft()
        host: Host | None = self._balancer.pick(context)
        return host

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts that a pick may choose, the better ones first."""
        hosts: Iterator[Host] = self._balancer.candidates(context)
        return hosts
