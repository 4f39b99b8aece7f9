"""The overload manager, in main: asks resources for their pressure time and again, works out how
far each action and each load shed point is active by that, and tells workers where that changes.

What it tells is a state, a level for each name, so a worker that begins later is told all with its
first message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from envoy.config.overload.v3.overload_pb2 import (
    ScaleTimersOverloadActionConfig,
    ShrinkHeapConfig,
)

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.config.fields.values import seconds
from tcpmesh.config.messages.types import type_of_url
from tcpmesh.interfaces import IResourceMonitor
from tcpmesh.listener.accept_limit import GLOBAL_KEY
from tcpmesh.registry import MainContext, build, build_checked, check_provides
from tcpmesh.server.overload.triggers import Triggered, single
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.scope import Scope
from tcpmesh.stats.store import Declaration
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.link import OverloadLevels, ShrinkHeap, ToWorker
from tcpmesh.values.overload import (
    REDUCE_TIMEOUTS,
    SHRINK_HEAP,
    OverloadSettings,
    TimerScale,
)

log = Logger(namespace="main")

LIMIT = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
"""The one resource that acts by itself: workers keep it."""

REFRESH_INTERVAL = 1.0
SHORTEST_INTERVAL = 0.01
"""Seconds between two refreshes, where nothing is said, and at the least."""

SHRINK_INTERVAL = 10.0
"""Seconds between two times that memory is given back, where nothing is said."""


class OverloadManager:
    """What a `overload.v3.OverloadManager` says.

    :param send: tells workers.
    """

    def __init__(
        self, message: Any, context: MainContext, send: Callable[[ToWorker], object]
    ) -> None:
        self._message = message
        self._context = context
        self._send = send
        self._resources: list[_Resource] = []
        self._triggered: list[Triggered] = []
        self._timers: list[LoopingCall] = []
        self._scope = context.store.scope("overload")
        self._delays = self._scope.histogram("refresh_interval_delay")
        """Milliseconds between two times that resources were asked."""
        self._refreshed: float | None = None
        self._limit_name, self._most_connections = "", None
        for each in message.resource_monitors:
            if type_of_url(each.typed_config.type_url) == LIMIT:
                self._limit_name = each.name
                self._most_connections = build(each.typed_config, context).most_connections

    def build(self) -> None:
        """Make all that the message has.

        :raise LookupError: where a resource monitor is not known.
        :raise tcpmesh.registry.BrokenExtension: where another package's fails.
        :raise tcpmesh.net.moves.CannotWatch: where the directory of a file is not there.
        """
        if self._limit_name and self._context.runtime.get(GLOBAL_KEY) is not None:
            log.warn(
                "the runtime value {key} is not looked at: there is a {name}",
                key=GLOBAL_KEY,
                name=self._limit_name,
            )
        with all_or_nothing() as undo:
            undo.callback(self.stop)
            for each in self._message.resource_monitors:
                self._add_resource(each)
        for action in self._message.actions:
            self._triggered.append(Triggered(action, _shown(self._scope.scope(action.name), True)))
        for point in self._message.loadshed_points:
            self._triggered.append(Triggered(point, _shown(self._scope.scope(point.name), False)))

    def _add_resource(self, monitor: Any) -> None:
        config, scope = monitor.typed_config, self._scope.scope(monitor.name)
        if monitor.name == self._limit_name:
            scope.gauge("pressure", Merge.MAIN).set(0)
            scope.declare(Declaration(counters=("failed_updates",)))
            return
        check = partial(check_provides, interface=IResourceMonitor, config=config)
        built = build_checked(config, self._context, check)
        self._resources.append(_Resource(monitor.name, built, scope, self._update))

    def settings(self) -> OverloadSettings:
        """What a worker that begins now is to know."""
        message = self._message
        return OverloadSettings(
            points=tuple(each.name for each in message.loadshed_points),
            timers=tuple(_timer_scales(message)),
            most_connections=self._most_connections,
            limit_name=self._limit_name,
            levels=tuple((each.name, each.level) for each in self._triggered),
        )

    # Its life

    def start(self) -> None:
        """Look at the resources from now on."""
        given = self._message.HasField("refresh_interval")
        interval = seconds(self._message.refresh_interval) if given else REFRESH_INTERVAL
        if self._resources:
            self._repeat(self.refresh, max(interval, SHORTEST_INTERVAL))
        for action in self._message.actions:
            if action.name == SHRINK_HEAP:
                self._add_shrinking(action)

    def _add_shrinking(self, action: Any) -> None:
        settings = ShrinkHeapConfig()
        action.typed_config.Unpack(settings)
        given = settings.HasField("timer_interval")
        counter = self._scope.scope(action.name).counter("shrink_count")

        def shrink() -> None:
            if self._level(SHRINK_HEAP) == 1:
                counter.tally += 1
                self._send(ShrinkHeap(settings.max_unfreed_memory_bytes.value))

        self._repeat(shrink, seconds(settings.timer_interval) if given else SHRINK_INTERVAL)

    def _repeat(self, call: Callable[[], object], interval: float) -> None:
        timer = LoopingCall(call)
        timer.clock = self._context.network.clock
        timer.start(interval, now=False)
        self._timers.append(timer)

    def stop(self) -> None:
        """Look at nothing any more."""
        timers, self._timers = self._timers, []
        for timer in timers:
            timer.stop()
        resources, self._resources = self._resources, []
        for resource in resources:
            resource.close()

    # Its work

    def refresh(self) -> None:
        """Ask all resources."""
        now = self._context.network.clock.seconds()
        if self._refreshed is not None:
            self._delays.record((now - self._refreshed) * 1000)
        self._refreshed = now
        for resource in tuple(self._resources):
            resource.refresh()

    def _update(self, resource: str, pressure: float) -> None:
        changed = [each for each in self._triggered if each.update(resource, pressure)]
        if not changed:
            return
        for each in changed:
            if each.turned:
                log.info(
                    "{name} is {state} now: the pressure of {resource} is {pressure:.0%}",
                    name=each.name,
                    state=each.state,
                    resource=resource,
                    pressure=pressure,
                )
        self._send(OverloadLevels(tuple((each.name, each.level) for each in changed)))

    def _level(self, name: str) -> float:
        return next(each.level for each in self._triggered if each.name == name)


class _Resource:
    """One of the `resource_monitors`.

    :param update: is told each pressure.
    """

    def __init__(
        self,
        name: str,
        monitor: IResourceMonitor,
        scope: Scope,
        update: Callable[[str, float], object],
    ) -> None:
        self._name = name
        self._monitor = monitor
        self._update = update
        self._pressure = scope.gauge("pressure", Merge.MAIN)
        self._pressure.set(0)
        self._failed = scope.counter("failed_updates")
        self._skipped = scope.counter("skipped_updates")
        self._asked: Deferred[Any] | None = None
        self._failure = ""
        """Why the last update failed."""

    def refresh(self) -> None:
        """Ask it, unless it has not answered yet."""
        if self._asked is not None:
            self._skipped.tally += 1
            return
        asked = self._asked = maybeDeferred(self._monitor.pressure)
        asked.addCallback(self._told)
        asked.addErrback(self._cannot_tell)

    def _told(self, pressure: float) -> None:
        self._asked = None
        self._failure = ""
        self._pressure.set(int(pressure * 100))
        self._update(self._name, pressure)

    def _cannot_tell(self, reason: Failure) -> None:
        self._asked = None
        self._failed.tally += 1
        words = reason.getErrorMessage()
        if words != self._failure:
            self._failure = words
            log.warn("resource {name} cannot be asked: {why}", name=self._name, why=words)

    def close(self) -> None:
        """It is not asked any more."""
        if self._asked is not None:
            self._asked.cancel()
        self._monitor.close()


def _shown(scope: Scope, is_action: bool) -> Callable[[float], object]:
    """What shows the level of an action or of a point."""
    percent = scope.gauge("scale_percent", Merge.MAIN)
    active = scope.gauge("active", Merge.MAIN) if is_action else None

    def show(level: float) -> None:
        percent.set(int(single(level * 100)))
        if active is not None:
            active.set(int(level == 1))

    return show


def _timer_scales(message: Any) -> list[TimerScale]:
    """Those of all actions that reduce timeouts."""
    found = []
    for action in message.actions:
        if action.name == REDUCE_TIMEOUTS:
            settings = ScaleTimersOverloadActionConfig()
            action.typed_config.Unpack(settings)
            for each in settings.timer_scale_factors:
                name = ScaleTimersOverloadActionConfig.TimerType.Name(each.timer)
                absolute = each.WhichOneof("overload_adjust") == "min_timeout"
                found.append(
                    TimerScale(
                        name,
                        seconds(each.min_timeout) if absolute else None,
                        each.min_scale.value / 100,
                    )
                )
    return found
