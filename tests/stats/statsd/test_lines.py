"""Lines for statsd servers, in each dialect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.metrics import KEPT_LIMIT, Merge
from tcpmesh.stats.statsd.lines import Dialect, datadog, graphite, lines, plain, sending
from tcpmesh.stats.store import Store
from tests.stats.test_snapshot import snapshot_of


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.flushes = 0

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        self.flushes += 1


class LineTests(SynchronousTestCase):
    """What a flush comes to."""

    def setUp(self) -> None:
        """A store that keeps values."""
        self.store = Store()
        self.store.keep_values()
        self.scope = self.store.scope("cluster.c")

    def lines(self, dialect: Dialect = plain, prefix: str = "envoy") -> list[str]:
        """All lines of a flush."""
        return [line for line in lines(snapshot_of(self.store), prefix, dialect) if line]

    def test_counter(self) -> None:
        """A counter is what it has grown by, also nothing; one that never moved is left out."""
        self.scope.counter("other")
        self.scope.counter("total").tally += 3
        self.assertEqual(["envoy.cluster.c.total:3|c"], self.lines())
        self.assertEqual(["envoy.cluster.c.total:0|c"], self.lines())

    def test_gauge(self) -> None:
        """A gauge is what it is, each time."""
        self.scope.gauge("active", Merge.SUM).add(2)
        self.assertEqual(["pre.cluster.c.active:2|g"], self.lines(prefix="pre"))
        self.assertEqual(["pre.cluster.c.active:2|g"], self.lines(prefix="pre"))

    def test_histogram(self) -> None:
        """Each value of a histogram is a line, once, a whole number of whatever unit."""
        histogram = self.scope.histogram("length_us", "us")
        for value in (0, 131, 2.9):
            histogram.record(value)
        self.assertEqual([f"envoy.cluster.c.length_us:{v}|ms" for v in (0, 131, 2)], self.lines())
        self.assertEqual([], self.lines())

    def test_fractions(self) -> None:
        """A fraction is no timer."""
        self.scope.histogram("lost", "percent").record(0.25)
        self.assertEqual(["envoy.cluster.c.lost:0.250000|h"], self.lines())

    def test_sampled(self) -> None:
        """Of more values than are kept the first ones stand for all, with their rate."""
        histogram = self.scope.histogram("length_ms")
        for value in range(KEPT_LIMIT * 4):
            histogram.record(value)
        found = self.lines()
        self.assertEqual(KEPT_LIMIT, len(found))
        self.assertEqual("envoy.cluster.c.length_ms:0|ms|@0.25", found[0])

    def test_dialects(self) -> None:
        """Datadog has tags at the end, Graphite after the name, both with the name without them;
        where there are none there is nothing.
        """
        scope = self.store.scope("listener.127.0.0.1_80.worker_0")
        scope.counter("downstream_cx_total").tally += 1
        self.store.counter("server.x").tally += 1
        self.assertEqual(
            [
                "envoy.listener.worker_downstream_cx_total:1|c"
                "|#envoy.worker_id:0,envoy.listener_address:127.0.0.1_80",
                "envoy.server.x:1|c",
            ],
            self.lines(datadog),
        )
        self.assertEqual(
            [
                "envoy.listener.worker_downstream_cx_total"
                ";envoy.worker_id=0;envoy.listener_address=127.0.0.1_80:0|c",
                "envoy.server.x:0|c",
            ],
            self.lines(graphite),
        )

    def test_sending(self) -> None:
        """Lines are written as bytes, whatever a name has, and flushed at the end."""
        kept = Kept()
        steps = list(sending(iter(["a:1|c", None, "\udcff:1|c"]), kept))
        self.assertEqual([None], steps)
        self.assertEqual(([b"a:1|c", b"\\udcff:1|c"], 1), (kept.lines, kept.flushes))
