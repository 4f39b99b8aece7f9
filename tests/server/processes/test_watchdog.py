"""Watching over event loops, on a `Clock`."""

from __future__ import annotations

from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf.json_format import ParseDict

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.processes.watchdog import KILL, Timeouts, Watchdogs, watchdogs_of
from tcpmesh.stats.store import Store


def bootstrap_of(**fields: Any) -> Any:
    """A bootstrap with these fields."""
    return ParseDict(fields, Bootstrap())


class TimeoutsTests(SynchronousTestCase):
    """What the configuration says."""

    def test_defaults(self) -> None:
        """Envoy's times hold where none are set, but a worker that is stuck is ended."""
        of_main, of_workers = watchdogs_of(Bootstrap())
        self.assertEqual((of_main, of_workers), (Timeouts(0.2, 1.0, KILL),) * 2)

    def test_of_each(self) -> None:
        """Main and workers have times of their own, and 0 is for any time."""
        watchdogs = {
            "main_thread_watchdog": {"miss_timeout": "1s"},
            "worker_watchdog": {"megamiss_timeout": "3s", "kill_timeout": "0s"},
        }
        found = watchdogs_of(bootstrap_of(watchdogs=watchdogs))
        self.assertEqual(found, (Timeouts(1.0, 1.0, KILL), Timeouts(0.2, 3.0, 0.0)))

    def test_no_time(self) -> None:
        """Where a loop has no time at all, nobody is kept busy by looking."""
        self.assertEqual(Timeouts(miss=0.0).beat, 0.01)

    def test_one_for_both(self) -> None:
        """The older field, with one watchdog, is for both."""
        found = watchdogs_of(bootstrap_of(watchdog={"miss_timeout": "2s"}))
        self.assertEqual(found, (Timeouts(2.0, 1.0, KILL),) * 2)


class WatchdogsTests(SynchronousTestCase):
    """`Watchdogs` of two workers."""

    def setUp(self) -> None:
        """They look."""
        self.clock = Clock()
        self.store = Store()
        self.stuck: list[int] = []
        self.watch()

    def watch(self, **watchdog: str) -> None:
        """Look with these timeouts."""
        bootstrap = bootstrap_of(watchdogs={"worker_watchdog": watchdog})
        self.watchdogs = Watchdogs(self.clock, self.store, bootstrap, 2, self.stuck.append)
        self.watchdogs.start()

    def turn(self, seconds: float, *workers: int) -> None:
        """Main's loop turns often for so long, and those of these workers too."""
        for _ in range(round(seconds / 0.05)):
            for index in workers:
                self.watchdogs.touch(index)
            self.clock.advance(0.05)

    def counts(self, *names: str) -> list[int]:
        """The misses and mega misses under these names."""
        return [
            self.store.scope(name).counter(f"watchdog_{kind}").tally
            for name in names
            for kind in ("miss", "mega_miss")
        ]

    def test_turning(self) -> None:
        """Nothing is counted of loops that turn."""
        self.turn(3.0, 0, 1)
        self.assertEqual(self.counts("workers", "main_thread"), [0, 0, 0, 0])
        self.assertEqual(self.stuck, [])

    def test_not_started(self) -> None:
        """Nothing is counted of a worker that is not there yet, or no more."""
        self.turn(30.0, 0)
        self.watchdogs.forget(0)
        self.turn(30.0)
        self.assertEqual(self.counts("workers"), [0, 0])
        self.assertEqual(self.stuck, [])

    def test_misses(self) -> None:
        """A loop that does not turn counts one miss and one mega miss, and the same again the next
        time, for itself and for all workers.
        """
        self.turn(1.0, 0, 1)
        self.turn(0.5, 0)
        self.assertEqual(self.counts("server.worker_0", "server.worker_1"), [0, 0, 1, 0])
        self.turn(3.0, 0)
        self.assertEqual(self.counts("server.worker_0", "server.worker_1"), [0, 0, 1, 1])
        self.turn(1.0, 0, 1)
        self.turn(0.5, 0)
        self.assertEqual(self.counts("server.worker_1", "workers"), [2, 1, 2, 1])

    def test_stuck(self) -> None:
        """A worker that does not turn for long is to be ended, once."""
        self.turn(1.0, 0, 1)
        self.turn(KILL - 0.2, 0)
        self.assertEqual(self.stuck, [])
        self.turn(30.0, 0)
        self.assertEqual(self.stuck, [1])

    def test_never_begins(self) -> None:
        """A worker that was started and never turns is ended as well, and no miss is counted; one
        that turns is watched from then on.
        """
        self.watchdogs.begins(0)
        self.watchdogs.begins(1)
        self.turn(KILL - 1.0)
        self.turn(5.0, 1)
        self.assertEqual(self.stuck, [0])
        self.assertEqual(self.counts("workers"), [0, 0])
        self.turn(0.5)
        self.assertEqual(self.counts("workers"), [1, 0])

    def test_never_killed(self) -> None:
        """With a kill timeout of 0 it is left alone."""
        self.watchdogs.stop()
        self.watch(kill_timeout="0s")
        self.turn(1.0, 0, 1)
        self.turn(60.0, 0)
        self.assertEqual(self.stuck, [])

    def test_main(self) -> None:
        """Main's own loop is late where it did not turn; then nothing is said of workers, whose
        messages are not read yet.
        """
        self.turn(1.0, 0, 1)
        self.clock.advance(20.0)
        self.turn(1.0, 0, 1)
        self.assertEqual(self.counts("main_thread", "server.main_thread"), [1, 1, 1, 1])
        self.assertEqual(self.counts("workers"), [0, 0])
        self.assertEqual(self.stuck, [])

    def test_all_slept(self) -> None:
        """Where main's own loop did not turn for a while, as when the machine slept, workers have
        that while more to show that they turn; one that stood still before and after is stuck.
        """
        self.turn(1.0, 0, 1)
        self.turn(KILL / 2, 0)
        self.clock.advance(20.0)
        self.turn(0.5)
        self.assertEqual(self.stuck, [])
        self.assertEqual(self.counts("server.worker_0"), [1, 0])
        self.turn(KILL / 2, 0)
        self.assertEqual(self.stuck, [1])

    def test_stop(self) -> None:
        """Nothing is left with the clock."""
        self.watchdogs.stop()
        self.watchdogs.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
