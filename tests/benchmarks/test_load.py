"""The small requests of the benchmark, by wrk: a reply that is not the right one is found."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import workloads
from benchmarks.backends import Backends
from benchmarks.load import Load, percentile, small_requests
from benchmarks.process import BenchmarkError, Child
from tests.benchmarks.peers import Damage, DamagingProxy, EchoBackend


@dataclass(frozen=True)
class CountedBackends(Backends):
    """What `small_requests` asks how many requests were answered."""

    backend: EchoBackend = field(kw_only=True)

    def requests(self) -> int:
        """How many requests the backend of the test has answered."""
        return self.backend.answered


class ThroughProxy(SynchronousTestCase):
    """A backend and a proxy for it."""

    def proxy(self, damage: Damage) -> DamagingProxy:
        """A proxy that runs until the test ends."""
        self.backend = EchoBackend()
        proxy = DamagingProxy(self.backend.port, damage)
        for listening in (self.backend, proxy):
            listening.start()
            self.addCleanup(listening.stop)
        return proxy

    def child(self) -> Child:
        """A process to look at: that of a proxy, in a benchmark."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        child = Child(
            [sys.executable, "-c", "import time; time.sleep(60)"], self.directory, "idler"
        )
        self.addCleanup(child.stop)
        return child


class SmallRequestTests(ThroughProxy):
    """A second of requests through a proxy."""

    if shutil.which("wrk") is None:
        skip = "wrk is not installed"

    def load(self, damage: Damage) -> Load:
        """Two connections for one second."""
        proxy, child = self.proxy(damage), self.child()
        backends = CountedBackends((0, 0), 0, backend=self.backend)
        return small_requests(child, proxy.port, backends, self.directory, connections=2, seconds=1)

    def test_right(self) -> None:
        """Through a proxy that damages nothing all is right, and there are figures."""
        load = self.load(bytes)

        self.assertTrue(0 < load.p50 <= load.p99)
        self.assertLess(0, load.rate)

    def test_changed_byte(self) -> None:
        """A body of which one bit is changed is found, even where it is another number."""
        seen = 0

        def damage(data: bytes) -> bytes:
            nonlocal seen
            seen += 1
            return data if seen % 100 else data[:-1] + bytes([data[-1] ^ 1])

        self.assertRaisesRegex(BenchmarkError, "'wrong': ", self.load, damage)

    def test_changed_header(self) -> None:
        """A header field that is not as in the other replies is found."""
        seen = 0

        def damage(data: bytes) -> bytes:
            nonlocal seen
            seen += 1
            return data if seen % 100 else data.replace(b"text/plain", b"text/plaim")

        self.assertRaisesRegex(BenchmarkError, "'wrong': ", self.load, damage)

    def test_repeated_reply(self) -> None:
        """A reply that was right for an earlier request is wrong for the next."""
        replies: list[bytes] = []

        def damage(data: bytes) -> bytes:
            replies.append(data)
            return replies[0] if len(replies) == 100 else data

        self.assertRaisesRegex(BenchmarkError, "'wrong': ", self.load, damage)

    def test_other_status(self) -> None:
        """A reply with another status is found."""
        self.assertRaisesRegex(
            BenchmarkError, "'wrong': ", self.load, lambda data: data.replace(b" 200 ", b" 503 ")
        )


class CrosstalkTests(ThroughProxy):
    """The check that replies come back on the connection that asked."""

    def check(self, damage: Damage) -> None:
        """Let the check run."""
        workloads.verify_crosstalk(self.proxy(damage).port)

    def test_right(self) -> None:
        """Through a proxy that mixes nothing up all is right."""
        self.check(bytes)

    def test_swapped(self) -> None:
        """The reply to another connection is found."""
        self.assertRaisesRegex(
            BenchmarkError,
            "connection 7 got b'8-3' as reply 3",
            self.check,
            lambda data: data.replace(b"\n7-3", b"\n8-3"),
        )

    def test_no_text(self) -> None:
        """So is one that is no text at all."""
        self.assertRaisesRegex(
            BenchmarkError,
            "connection 7 got",
            self.check,
            lambda data: data.replace(b"\n7-3", b"\n\xff-3"),
        )


class PercentileTests(SynchronousTestCase):
    """Percentiles of counted values."""

    def test_nearest_rank(self) -> None:
        """Of a hundred values the 99th is the 99th percentile, and the 50th the median."""
        counts = dict.fromkeys(range(1, 101), 1)

        self.assertEqual((50, 99), (percentile(counts, 0.5), percentile(counts, 0.99)))

    def test_counts(self) -> None:
        """A value counts as often as it was seen."""
        self.assertEqual((3, 8), (percentile({8: 2, 3: 98}, 0.98), percentile({8: 2, 3: 98}, 0.99)))

    def test_nothing(self) -> None:
        """Of nothing there is none."""
        self.assertRaisesRegex(BenchmarkError, "no request", percentile, {}, 0.5)
