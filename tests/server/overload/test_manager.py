"""The overload manager of main: when it asks, what it shows, and what it tells workers."""

from __future__ import annotations

from typing import Any

from envoy.config.overload.v3.overload_pb2 import OverloadManager as Message
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import IResourceMonitor
from tcpmesh.listener.accept_limit import GLOBAL_KEY
from tcpmesh.registry import MainContext
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.server.overload import manager as manager_module
from tcpmesh.server.overload.manager import OverloadManager, _Resource
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.link import OverloadLevels, ShrinkHeap, ToWorker
from tcpmesh.values.overload import OverloadSettings, TimerScale
from tcpmesh.values.runtime import Entry
from tests.mesh import parse

ACTION = "envoy.overload_actions.shrink_heap"
POINT = "envoy.load_shed_points.tcp_listener_accept"
LIMIT = "envoy.resource_monitors.global_downstream_max_connections"

TEXT = f"""
actions:
- name: {ACTION}
  triggers: [{{name: r, scaled: {{scaling_threshold: 0, saturation_threshold: 1}}}}]
loadshed_points:
- name: {POINT}
  triggers: [{{name: r, threshold: {{value: 0.5}}}}]
"""


@implementer(IResourceMonitor)
class FakeMonitor:
    """A resource with the pressure that a test says."""

    def __init__(self) -> None:
        self.said: float | Exception | Deferred[float] = 0.0
        self.asked = 0
        self.closed = False

    def pressure(self) -> float | Deferred[float]:
        """What was said."""
        self.asked += 1
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    def close(self) -> None:
        """It is not asked any more."""
        self.closed = True


class ManagerTests(SynchronousTestCase):
    """An overload manager that looks at one resource."""

    def setUp(self) -> None:
        """Nothing is used."""
        self.clock = Clock()
        self.store = Store()
        self.told: list[ToWorker] = []
        self.monitor = FakeMonitor()

    def start(self, text: str = TEXT) -> OverloadManager:
        """A manager at work."""
        context = MainContext(MemoryNetwork(self.clock), self.store)
        made = OverloadManager(parse(Message, text), context, self.told.append)
        made.build()
        scope = made._scope.scope("r")
        made._resources.append(_Resource("r", self.monitor, scope, made._update))
        made.start()
        self.addCleanup(made.stop)
        return made

    def shown(self, *names: str) -> list[int]:
        """These statistics under `overload.`."""
        values = values_of(self.store)
        return [values[f"overload.{each}"] for each in names]

    def say(self, said: Any) -> None:
        """The resource has this pressure at the next refresh, which is now."""
        self.monitor.said = said
        self.clock.advance(1)

    def test_interval(self) -> None:
        """A resource is asked every second, the first time after the first one, or as often as
        the configuration says, but no more than a hundred times a second.
        """
        self.start()
        self.clock.advance(0.9)
        self.assertEqual(0, self.monitor.asked)
        self.clock.advance(0.1)
        self.clock.advance(1)
        self.assertEqual(2, self.monitor.asked)
        for text, steps, times in (("0.25s", [0.125] * 8, (4,)), ("0s", [0.01] * 100, (99, 100))):
            self.monitor = FakeMonitor()
            self.start(f"refresh_interval: {text}")
            self.clock.pump(steps)
            self.assertIn(self.monitor.asked, times)

    def test_delays(self) -> None:
        """How long it took from one time to the next is a histogram, in milliseconds."""
        self.start()
        self.clock.pump([1, 1, 1.5])
        self.store.merge_histograms()
        delays = self.store.scope("overload").histogram("refresh_interval_delay")
        self.assertEqual((2, 2500), (delays.last_interval.count, delays.last_interval.sum))

    def test_levels(self) -> None:
        """What a pressure comes to is told to workers where it is another than before, and
        shown as percentages.
        """
        self.start()
        for pressure in (0.2, 0.2, 0.5, 0):
            self.say(pressure)
        self.assertEqual(
            [
                OverloadLevels(((ACTION, 0.2),)),
                OverloadLevels(((ACTION, 0.5), (POINT, 1.0))),
                OverloadLevels(((ACTION, 0.0), (POINT, 0.0))),
            ],
            [
                OverloadLevels(tuple((name, round(level, 6)) for name, level in each.levels))
                for each in self.told
                if isinstance(each, OverloadLevels)
            ],
        )

    def test_statistics(self) -> None:
        """The pressure is cut to whole percents; an action is shown as active once it is wholly
        so.
        """
        self.start()
        names = ("r.pressure", f"{ACTION}.scale_percent", f"{ACTION}.active")
        self.assertEqual([0, 0, 0], self.shown(*names))
        self.say(0.578)
        self.assertEqual([57, 57, 0], self.shown(*names))
        self.assertEqual([100], self.shown(f"{POINT}.scale_percent"))
        self.assertNotIn(f"overload.{POINT}.active", values_of(self.store))
        self.say(1.25)
        self.assertEqual([125, 100, 1], self.shown(*names))

    def test_failures(self) -> None:
        """An update that fails is counted and changes nothing."""
        self.start()
        self.say(0.5)
        self.told.clear()
        for _ in range(3):
            self.say(OSError("gone"))
        self.assertEqual(
            [3, 0, 50], self.shown("r.failed_updates", "r.skipped_updates", "r.pressure")
        )
        self.assertEqual([], self.told)
        self.say(0)
        self.assertEqual(1, len(self.told))

    def test_told_once(self) -> None:
        """Why a resource cannot be asked is said once, until it is for another reason, or has
        worked in between.
        """
        self.start()
        said: list[str] = []
        self.patch(manager_module.log, "warn", lambda text, **values: said.append(values["why"]))
        for each in (OSError("a"), OSError("a"), OSError("b"), 0.5, OSError("b")):
            self.say(each)
        self.assertEqual(["a", "b", "b"], said)

    def test_built(self) -> None:
        """A resource of the configuration is asked as its type says."""
        heap = f'"@type": type.googleapis.com/{FixedHeapConfig.DESCRIPTOR.full_name}'
        text = f"""
            resource_monitors:
            - {{name: heap, typed_config: {{{heap}, max_heap_size_bytes: 1}}}}
            actions:
            - {{name: {ACTION}, triggers: [{{name: heap, threshold: {{value: 1}}}}]}}
            """
        self.start(text)
        self.clock.advance(1)
        self.assertEqual([OverloadLevels(((ACTION, 1.0),))], self.told)

    def test_two_limits(self) -> None:
        """A limit that the runtime has for all clients too is told of, for nobody looks at it."""
        said: list[str] = []
        self.patch(manager_module.log, "warn", lambda text, **values: said.append(values["key"]))
        limit = (
            '"@type": type.googleapis.com/envoy.extensions.resource_monitors.'
            "downstream_connections.v3.DownstreamConnectionsConfig"
        )
        text = (
            f"resource_monitors: [{{name: {LIMIT}, "
            f"typed_config: {{{limit}, max_active_downstream_connections: 7}}}}]"
        )
        both = Runtime({GLOBAL_KEY: Entry("5", 5.0)})
        for runtime, yaml, expected in (
            (Runtime(), text, []),
            (both, TEXT, []),
            (both, text, [GLOBAL_KEY]),
        ):
            context = MainContext(MemoryNetwork(self.clock), Store(), runtime=runtime)
            OverloadManager(parse(Message, yaml), context, self.told.append).build()
            self.assertEqual(expected, said)

    def test_slow(self) -> None:
        """A resource that takes long is not asked again before it has answered, which is
        counted.
        """
        self.start()
        answer: Deferred[float] = Deferred()
        self.say(answer)
        self.say(0)
        self.say(0)
        self.assertEqual(1, self.monitor.asked)
        self.assertEqual([2], self.shown("r.skipped_updates"))
        answer.callback(0.7)
        self.assertEqual([70], self.shown("r.pressure"))
        failing: Deferred[float] = Deferred()
        self.say(failing)
        failing.errback(Failure(OSError("no")))
        self.say(0.2)
        self.assertEqual([20, 1], self.shown("r.pressure", "r.failed_updates"))

    def test_stop(self) -> None:
        """Once it is stopped nothing is asked, what was asked is cancelled, and monitors are
        closed.
        """
        manager = self.start()
        cancelled: list[object] = []
        self.say(Deferred(cancelled.append))
        manager.stop()
        self.assertEqual((1, True), (len(cancelled), self.monitor.closed))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_shrinking(self) -> None:
        """While shrink_heap is wholly active, workers are told every ten seconds, or as the
        configuration says, to give memory back, and that is counted.
        """
        for settings, interval, kept in (
            ("", 10, 0),
            ("{timer_interval: 2s, max_unfreed_memory_bytes: 5}", 2, 5),
        ):
            kind = '"@type": type.googleapis.com/envoy.config.overload.v3.ShrinkHeapConfig'
            typed = f"typed_config: {{{kind}, {settings[1:]}" if settings else ""
            manager = self.start(TEXT.replace("loadshed", f"  {typed}\nloadshed"))
            self.clock.pump([interval])
            self.told.clear()
            for pressure, told in ((0.9, 0), (1, 1), (1, 1), (0.9, 0)):
                self.monitor.said = pressure
                self.clock.pump([1] * interval)
                found = [each for each in self.told if isinstance(each, ShrinkHeap)]
                self.assertEqual([ShrinkHeap(kept)] * told, found)
                self.told.clear()
            manager.stop()
        self.assertEqual([4], self.shown(f"{ACTION}.shrink_count"))

    def test_settings(self) -> None:
        """A worker is told with its first message which points and timers there are, the limit of
        all clients, and the levels of that moment.
        """
        scale = (
            '"@type": type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig'
        )
        limit = (
            '"@type": type.googleapis.com/envoy.extensions.resource_monitors.'
            "downstream_connections.v3.DownstreamConnectionsConfig"
        )
        action = "envoy.overload_actions.reduce_timeouts"
        manager = self.start(
            f"""
            resource_monitors:
            - {{name: {LIMIT}, typed_config: {{{limit}, max_active_downstream_connections: 7}}}}
            actions:
            - name: {action}
              triggers: [{{name: r, threshold: {{value: 0.5}}}}]
              typed_config:
                {scale}
                timer_scale_factors:
                - {{timer: TRANSPORT_SOCKET_CONNECT, min_timeout: 1.5s}}
                - {{timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_scale: {{value: 25}}}}
            loadshed_points:
            - {{name: {POINT}, triggers: [{{name: r, threshold: {{value: 0.5}}}}]}}
            """
        )
        self.say(0.5)
        self.assertEqual(
            OverloadSettings(
                points=(POINT,),
                timers=(
                    TimerScale("TRANSPORT_SOCKET_CONNECT", 1.5, 0),
                    TimerScale("HTTP_DOWNSTREAM_STREAM_IDLE", None, 0.25),
                ),
                most_connections=7,
                limit_name=LIMIT,
                levels=((action, 1.0), (POINT, 1.0)),
            ),
            manager.settings(),
        )
        self.assertEqual([0, 0], self.shown(f"{LIMIT}.pressure", f"{LIMIT}.failed_updates"))
        self.assertNotIn(f"overload.{LIMIT}.skipped_updates", values_of(self.store))
