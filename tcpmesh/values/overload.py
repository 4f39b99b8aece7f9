"""What an overload manager can do: the names of its actions and load shed points, and what main
tells workers of it.

Main looks at resources and decides how much is to be done; a worker does it.  What is told is a
state, a level for each name, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import random
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from tcpmesh.facts import dataclass

_ACTIONS = "envoy.overload_actions."

STOP_ACCEPTING_CONNECTIONS = f"{_ACTIONS}stop_accepting_connections"
REJECT_INCOMING_CONNECTIONS = f"{_ACTIONS}reject_incoming_connections"
SHRINK_HEAP = f"{_ACTIONS}shrink_heap"
REDUCE_TIMEOUTS = f"{_ACTIONS}reduce_timeouts"
RESET_HIGH_MEMORY_STREAM = f"{_ACTIONS}reset_high_memory_stream"

HTTP_ACTIONS = frozenset(
    (
        f"{_ACTIONS}close_idle_http_connections",
        f"{_ACTIONS}disable_http_keepalive",
        f"{_ACTIONS}stop_accepting_requests",
        RESET_HIGH_MEMORY_STREAM,
    )
)
"""Actions that concern nothing but HTTP."""

TCP_ACTIONS = frozenset(
    (STOP_ACCEPTING_CONNECTIONS, REJECT_INCOMING_CONNECTIONS, SHRINK_HEAP, REDUCE_TIMEOUTS)
)

_POINTS = "envoy.load_shed_points."

TCP_LISTENER_ACCEPT = f"{_POINTS}tcp_listener_accept"
CONNECTION_POOL_NEW_CONNECTION = f"{_POINTS}connection_pool_new_connection"
TCP_PROXY_ON_DATA = f"{_POINTS}tcp_proxy_on_data"
TCP_PROXY_UPSTREAM_CONNECT = f"{_POINTS}tcp_proxy_upstream_connect"

TCP_POINTS = frozenset(
    (
        TCP_LISTENER_ACCEPT,
        CONNECTION_POOL_NEW_CONNECTION,
        TCP_PROXY_ON_DATA,
        TCP_PROXY_UPSTREAM_CONNECT,
    )
)

TRANSPORT_SOCKET_CONNECT = "TRANSPORT_SOCKET_CONNECT"
"""The one timer of TCP that can be reduced: `transport_socket_connect_timeout`."""


@dataclass(frozen=True)
class TimerScale:
    """How far a timer may be reduced: to so many seconds, or to a share of what it was."""

    timer: str
    seconds: float | None = None
    share: float = 0.0

    def reduced(self, timeout: float, level: float) -> float:
        """What is left of a timeout at a level from 0 to 1."""
        least = timeout * self.share if self.seconds is None else min(self.seconds, timeout)
        return least + (timeout - least) * (1 - level)


@dataclass(frozen=True)
class OverloadSettings:
    """What a worker is to know of the overload manager before it serves."""

    points: tuple[str, ...] = ()
    """The load shed points that are configured."""

    timers: tuple[TimerScale, ...] = ()
    """The timers that are reduced."""

    most_connections: int | None = None
    """How many clients all listeners may have together."""

    limit_name: str = ""
    """The resource of that limit, where there is one."""

    levels: tuple[tuple[str, float], ...] = ()
    """How far each action and each point is active, as of now."""


NO_OVERLOAD_MANAGER = OverloadSettings()


class Queue(Protocol):
    """Timers that are all of one length."""

    def set_length(self, seconds: float) -> None:
        """They are of this length from now on, those that wait too."""


class LoadShedPoint:
    """A place where load may be shed: with a probability that is the level of the point.

    :param counter: of `tcpmesh.stats`, counts how often it was; `None` where nobody wants to know.
    :param chance: gives a number of 0 or more, and less than 1.
    """

    __slots__ = ("_chance", "_counter", "level")

    def __init__(self, counter: Any, chance: Callable[[], float]) -> None:
        self._counter = counter
        self._chance = chance
        self.level = 0.0

    def sheds(self) -> bool:
        """Whether what asks is to be turned away; counted, where it is."""
        if self._chance() >= self.level:
            return False
        if self._counter is not None:
            self._counter.tally += 1
        return True


class _Timer:
    """One kind of timers, and those queues of them that there are, by their full length."""

    def __init__(self, scale: TimerScale) -> None:
        self._scale = scale
        self._level = 0.0
        self._queues: WeakKeyDictionary[Queue, float] = WeakKeyDictionary()

    def add(self, queue: Queue, seconds: float) -> None:
        self._queues[queue] = seconds
        queue.set_length(self._scale.reduced(seconds, self._level))

    def set(self, level: float) -> None:
        self._level = level
        for queue, seconds in tuple(self._queues.items()):
            queue.set_length(self._scale.reduced(seconds, level))


class Overload:
    """What a worker knows of overload, and who acts by it: how far each action and each load shed
    point is active.

    Whoever serves connections asks for a point when it is built, and pays nothing where there is
    none.

    :param counter: makes a counter of this name under `overload.`.
    :param chance: gives a number of 0 or more, and less than 1.
    """

    def __init__(
        self,
        settings: OverloadSettings = NO_OVERLOAD_MANAGER,
        counter: Callable[[str], Any] = lambda name: None,
        chance: Callable[[], float] = random,
    ) -> None:
        self.settings = settings
        self._points = {
            name: LoadShedPoint(counter(f"{name}.shed_load_count"), chance)
            for name in settings.points
        }
        self.rejects = LoadShedPoint(None, chance)
        """Whether a client is turned away that was accepted."""
        self.turned_away: Any = None
        """Counts the clients that were too many for all listeners, where there is a limit."""
        if settings.most_connections is not None:
            self.turned_away = counter(f"{settings.limit_name}.failed_updates")
        self._timers = {scale.timer: _Timer(scale) for scale in settings.timers}
        self._levels: dict[str, float] = {}
        self._watchers: dict[str, list[Callable[[], object]]] = {}
        self.take(settings.levels)

    def bypassed(self) -> Overload:
        """The same, as a listener sees it that bypasses it: nothing is shed there, but timers are
        reduced, and clusters may make no connection, for it as for others.
        """
        made = Overload(replace(self.settings, points=(), levels=()))
        made._timers = self._timers
        if CONNECTION_POOL_NEW_CONNECTION in self._points:
            made._points = {
                CONNECTION_POOL_NEW_CONNECTION: self._points[CONNECTION_POOL_NEW_CONNECTION]
            }
        return made

    def point(self, name: str) -> LoadShedPoint | None:
        """The load shed point of this name, where it is configured."""
        return self._points.get(name)

    def level(self, name: str) -> float:
        """How far an action or a point is active."""
        return self._levels.get(name, 0.0)

    def scale(self, timer: str, queue: Queue, seconds: float) -> None:
        """These timers of full length `seconds` are reduced with the others of their kind, as long
        as there are any.
        """
        if timer in self._timers:
            self._timers[timer].add(queue, seconds)

    def watch(self, name: str, changes: Callable[[], object]) -> None:
        """Call this whenever an action or a point is active to another degree."""
        self._watchers.setdefault(name, []).append(changes)

    def unwatch(self, name: str, changes: Callable[[], object]) -> None:
        """Call it no more."""
        self._watchers[name].remove(changes)

    def take(self, levels: Iterable[tuple[str, float]]) -> None:
        """These are active as far as that from now on."""
        for name, level in levels:
            self._levels[name] = level
            if name in self._points:
                self._points[name].level = level
            elif name == REJECT_INCOMING_CONNECTIONS:
                self.rejects.level = level
            elif name == REDUCE_TIMEOUTS:
                for timer in self._timers.values():
                    timer.set(level)
            for changes in tuple(self._watchers.get(name, ())):
                changes()
