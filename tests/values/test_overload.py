"""What a worker knows of overload: points, timers, and who is told of changes."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.overload import (
    REDUCE_TIMEOUTS,
    REJECT_INCOMING_CONNECTIONS,
    TCP_LISTENER_ACCEPT,
    TRANSPORT_SOCKET_CONNECT,
    LoadShedPoint,
    Overload,
    OverloadSettings,
    TimerScale,
)


class Counter:
    """Counts."""

    tally = 0


class Queue:
    """Timers of one length."""

    length = 0.0

    def set_length(self, seconds: float) -> None:
        """The length."""
        self.length = seconds


class PointTests(SynchronousTestCase):
    """A load shed point."""

    def test_chance(self) -> None:
        """What asks is turned away with the probability that is the level, and counted: never at
        0, always at 1.
        """
        counter, chances = Counter(), [0.0, 0.3, 0.5, 0.999]
        point = LoadShedPoint(counter, lambda: chances[0])
        for level, expected in (
            (0.0, [False, False, False, False]),
            (0.5, [True, True, False, False]),
            (1.0, [True, True, True, True]),
        ):
            point.level = level
            found = []
            for _ in range(4):
                found.append(point.sheds())
                chances.append(chances.pop(0))
            self.assertEqual(expected, found)
        self.assertEqual(6, counter.tally)


class ScaleTests(SynchronousTestCase):
    """How far a timer is reduced."""

    def test_seconds(self) -> None:
        """To so many seconds at the full level, on the way there at a part of it, and never to more
        than it was.
        """
        scale = TimerScale("x", 1.0)
        self.assertEqual([5, 3, 1], [scale.reduced(5, level) for level in (0, 0.5, 1)])
        self.assertEqual([0.5, 0.5], [scale.reduced(0.5, level) for level in (0, 1)])

    def test_share(self) -> None:
        """Or to a share of what it was."""
        scale = TimerScale("x", None, 0.5)
        self.assertEqual([4, 3, 2], [scale.reduced(4, level) for level in (0, 0.5, 1)])


class OverloadTests(SynchronousTestCase):
    """All of it."""

    def overload(self, *levels: tuple[str, float]) -> Overload:
        """With a point and a timer, and these levels from the start."""
        self.counters: dict[str, Counter] = {}
        settings = OverloadSettings(
            points=(TCP_LISTENER_ACCEPT,),
            timers=(TimerScale(TRANSPORT_SOCKET_CONNECT, 1.0),),
            most_connections=7,
            limit_name="limit",
            levels=levels,
        )
        return Overload(settings, lambda name: self.counters.setdefault(name, Counter()))

    def test_points(self) -> None:
        """A point that is configured is there with its counter, and no other one."""
        overload = self.overload()
        self.assertIsNone(overload.point("other"))
        point = overload.point(TCP_LISTENER_ACCEPT)
        assert point is not None
        overload.take([(TCP_LISTENER_ACCEPT, 1.0)])
        self.assertTrue(point.sheds())
        self.assertEqual(1, self.counters[f"{TCP_LISTENER_ACCEPT}.shed_load_count"].tally)

    def test_limit_counter(self) -> None:
        """A limit of all clients has a counter; without one there is none."""
        self.assertIs(self.overload().turned_away, self.counters["limit.failed_updates"])
        Overload(OverloadSettings(), self.fail)

    def test_from_the_start(self) -> None:
        """A worker that begins late knows the levels of that moment."""
        overload = self.overload((REJECT_INCOMING_CONNECTIONS, 0.5), (REDUCE_TIMEOUTS, 1.0))
        self.assertEqual(
            (0.5, 0.5), (overload.rejects.level, overload.level(REJECT_INCOMING_CONNECTIONS))
        )
        queue = Queue()
        overload.scale(TRANSPORT_SOCKET_CONNECT, queue, 5.0)
        self.assertEqual(1, queue.length)

    def test_timers(self) -> None:
        """All timers of a kind are reduced together, as long as there are any, and are as long as
        they were once that is over.
        """
        overload = self.overload()
        first, second, other = Queue(), Queue(), Queue()
        overload.scale(TRANSPORT_SOCKET_CONNECT, first, 5.0)
        overload.scale(TRANSPORT_SOCKET_CONNECT, second, 3.0)
        overload.scale("other", other, 9.0)
        overload.take([(REDUCE_TIMEOUTS, 0.5)])
        self.assertEqual((3, 2, 0), (first.length, second.length, other.length))
        del second
        gc.collect()
        overload.take([(REDUCE_TIMEOUTS, 0.0)])
        self.assertEqual(5, first.length)

    def test_watch(self) -> None:
        """Who watches an action or a point is told of its changes, and not of others'."""
        overload, told = self.overload(), []

        def changes() -> None:
            told.append(overload.level("a"))

        overload.watch("a", changes)
        overload.take([("a", 0.5), ("b", 1.0)])
        overload.take([("a", 1.0)])
        overload.unwatch("a", changes)
        overload.take([("a", 0.0)])
        self.assertEqual([0.5, 1.0], told)

    def test_bypassed(self) -> None:
        """For a listener that bypasses it nothing is shed, and timers are reduced with the
        others.
        """
        overload = self.overload()
        bypassed = overload.bypassed()
        self.assertIsNone(bypassed.point(TCP_LISTENER_ACCEPT))
        self.assertEqual(7, bypassed.settings.most_connections)
        queue = Queue()
        bypassed.scale(TRANSPORT_SOCKET_CONNECT, queue, 5.0)
        overload.take([(REDUCE_TIMEOUTS, 1.0), (REJECT_INCOMING_CONNECTIONS, 1.0)])
        self.assertEqual((1, 0), (queue.length, bypassed.rejects.level))
