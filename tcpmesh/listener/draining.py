"""Drains, as a worker sees them: of single listeners, and of the whole proxy.

A listener drains when it was replaced or removed, when the admin interface drains it with others
(`/drain_listeners?graceful`), and as long as the proxy is made to fail its health checks
(`/healthcheck/fail`), unless its `drain_type` is MODIFY_ONLY.  Nobody is sent away for that: what
serves connections asks, when there is an occasion, whether one is to be closed (`ListenerDrain`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from envoy.config.core.v3.base_pb2 import INBOUND
from envoy.config.listener.v3.listener_pb2 import Listener

from twisted.internet.interfaces import IReactorTime

from tcpmesh.values.drain import Drain, DrainScope, DrainTimes


def is_in(message: Any, scope: DrainScope) -> bool:
    """Whether a `listener.v3.Listener` is one of those that this is about."""
    return scope is DrainScope.ALL or message.traffic_direction == INBOUND


class ProxyDrain:
    """Drains of the whole proxy."""

    def __init__(self, clock: IReactorTime, random: Random, times: DrainTimes) -> None:
        self.clock = clock
        self.random = random
        self.times = times
        self.fails_health_checks = False
        """Whether the proxy is made to fail its health checks."""
        self._drains: dict[DrainScope, Drain] = {}

    def begin(self, scope: DrainScope) -> None:
        """These drain from now on; what drains already goes on as it does."""
        if scope not in self._drains:
            self._drains[scope] = self.drain()

    def drain(self) -> Drain:
        """One that begins now."""
        return Drain(self.times, self.clock.seconds())

    def is_due(self, drain: Drain) -> bool:
        """Whether the connection that asks is to be closed now."""
        return drain.is_due(self.clock.seconds(), self.random)

    def of(self, message: Any) -> Drain | None:
        """The drain that listeners as this `listener.v3.Listener` are in, the first one."""
        found = (each for scope, each in self._drains.items() if is_in(message, scope))
        return next(found, None)


class ListenerDrain:
    """Whether connections of one listener are to be closed: a `DrainDecision`."""

    def __init__(self, message: Any, proxy: ProxyDrain) -> None:
        self._message = message
        self._proxy = proxy
        self._minds_health = message.drain_type == Listener.DEFAULT
        self._own: Drain | None = None
        self._watchers: list[Callable[[], object]] = []

    def watch(self, begins: Callable[[], object]) -> None:
        """Call this whenever a drain begins."""
        self._watchers.append(begins)

    def unwatch(self, begins: Callable[[], object]) -> None:
        """Call it no more."""
        self._watchers.remove(begins)

    def begin(self) -> None:
        """The listener was replaced or removed."""
        self._own = self._own or self._proxy.drain()
        self.tell()

    def tell(self) -> None:
        """A drain of the whole proxy may have begun."""
        if self.is_on:
            for begins in tuple(self._watchers):
                begins()

    def of_chain(self) -> ChainDrain:
        """What a filter chain's clients go by."""
        return ChainDrain(self, self._proxy)

    @property
    def _fails(self) -> bool:
        return self._minds_health and self._proxy.fails_health_checks

    @property
    def is_on(self) -> bool:
        """Whether there is a drain at all."""
        return self._fails or (self._own or self._proxy.of(self._message)) is not None

    def is_due(self) -> bool:
        """Whether the connection that asks is to be closed now."""
        if self._fails:
            return True
        drains = (self._own, self._proxy.of(self._message))
        return any(each is not None and self._proxy.is_due(each) for each in drains)


class ChainDrain:
    """Whether connections of one filter chain are to be closed, which drains with its listener, and
    where an update of that leaves it out: a `DrainDecision`.
    """

    __slots__ = ("_listener", "_own", "_proxy", "_watchers")

    def __init__(self, listener: ListenerDrain, proxy: ProxyDrain) -> None:
        self._listener = listener
        self._proxy = proxy
        self._own: Drain | None = None
        self._watchers: list[Callable[[], object]] = []

    def watch(self, begins: Callable[[], object]) -> None:
        """Call this whenever a drain begins."""
        self._watchers.append(begins)
        self._listener.watch(begins)

    def unwatch(self, begins: Callable[[], object]) -> None:
        """Call it no more."""
        self._watchers.remove(begins)
        self._listener.unwatch(begins)

    def begin(self) -> None:
        """The chain was left out."""
        self._own = self._own or self._proxy.drain()
        for begins in tuple(self._watchers):
            begins()

    @property
    def is_on(self) -> bool:
        """Whether there is a drain at all."""
        return self._own is not None or self._listener.is_on

    def is_due(self) -> bool:
        """Whether the connection that asks is to be closed now."""
        own = self._own
        return self._listener.is_due() or (own is not None and self._proxy.is_due(own))
