"""The benchmark of what grows."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import command
from benchmarks.backends import Backends
from benchmarks.growth import __main__ as command_line
from benchmarks.growth import bootstraps, picks
from benchmarks.growth.__main__ import Run
from benchmarks.growth.subjects import PROXIES, SUBJECTS, Site, Subject, is_quiet
from benchmarks.growth.table import Growth, Point, markdown, read
from benchmarks.process import BenchmarkError, Child, Ports
from benchmarks.workloads import Metric, Values
from tcpmesh.config.load import load

HOSTS = [("127.0.0.1", 80)]


class BootstrapTests(SynchronousTestCase):
    """What the proxies are given."""

    def test_right(self) -> None:
        """Each is a bootstrap without a mistake, with as much as was asked for."""
        for text, chains, hosts in (
            (bootstraps.of_hosts(1, 2, [(host, 80) for host in bootstraps.loopback(300)]), 1, 300),
            (bootstraps.of_hosts(1, 2, HOSTS, "MAGLEV"), 1, 1),
            (bootstraps.of_sources(1, 2, 300, HOSTS), 300, 1),
            (bootstraps.of_server_names(1, 2, 300, HOSTS), 300, 1),
        ):
            static = load(config_yaml=text).bootstrap.static_resources
            (listener,), (cluster,) = static.listeners, static.clusters
            endpoints = cluster.load_assignment.endpoints[0].lb_endpoints
            self.assertEqual((chains, hosts), (len(listener.filter_chains), len(endpoints)))

    def test_clusters(self) -> None:
        """So is the one of clusters."""
        loaded = load(config_yaml=bootstraps.of_clusters(1, 300))

        self.assertEqual(300, len(loaded.bootstrap.static_resources.clusters))

    def test_loopback(self) -> None:
        """Addresses are of the loopback network, no two are the same and none is the client's."""
        found = set(bootstraps.loopback(70_000))

        self.assertEqual(70_000, len(found))
        self.assertNotIn("127.0.0.1", found)
        self.assertTrue(all(each.startswith("127.") for each in found))


class PickTests(SynchronousTestCase):
    """Picks in this process."""

    def test_policies(self) -> None:
        """Each policy picks, from as many hosts as there are to be."""
        for policy in ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"):
            made = picks.served(policy, 20)
            self.assertEqual(20, len(made.hosts), policy)
            self.assertIsNotNone(made.pick(picks.Client(7)), policy)

    def test_measured(self) -> None:
        """And it takes time."""
        self.patch(picks, "REPEATS", 1)
        self.patch(picks, "SECONDS", 0.001)

        self.assertLess(0, picks.measured("ROUND_ROBIN", None, "tcpmesh", 5)["pick"])


class QuietTests(SynchronousTestCase):
    """What is measured only begins when the start is over."""

    def child(self, code: str) -> Child:
        """A program that says when it has begun."""
        folder = Path(self.mktemp())
        folder.mkdir()
        child = Child([sys.executable, "-c", code], folder, "child")
        self.addCleanup(child.stop)
        return child

    def test_quiet(self) -> None:
        """A program that waits has nothing to do, and one that counts has."""
        waits = self.child("import sys; sys.stdin = None; __import__('time').sleep(60)")
        counts = self.child("while True: pass")
        self.assertFalse(is_quiet(counts))
        for _ in range(20):
            if is_quiet(waits):
                return
        self.fail("it is never quiet")


METRIC = Metric("new", "CPU per new connection", "µs", 1)


def subject(measure: Callable[[Site, str, int], Values]) -> Subject:
    """Something there are 10 or 1000 of."""
    return Subject("sources", "Chains", "chains", (10, 1000), (METRIC,), measure)


class RunTests(SynchronousTestCase):
    """The order of a run."""

    def setUp(self) -> None:
        self.growth = Growth({})
        self.told: list[str] = []
        self.patch(command_line, "say", self.told.append)
        site = Site(Backends((1, 2), 3), Path("."), Ports(), 1)
        self.run_ = Run(self.growth, site, 2)

    def test_turns(self) -> None:
        """The proxies take turns at each size, and another one is first in the next round."""
        order: list[tuple[str, int]] = []

        def measure(site: Site, proxy: str, size: int) -> Values:
            order.append((proxy, size))
            return {"new": float(size)}

        for count in range(2):
            self.run_.round(count, [subject(measure)])
        first, second = PROXIES
        self.assertEqual([(first, 10), (second, 10), (first, 1000), (second, 1000)], order[:4])
        self.assertEqual([(second, 10), (first, 10), (second, 1000), (first, 1000)], order[4:])
        self.assertEqual(8, len(self.growth.points))

    def test_failure(self) -> None:
        """What goes wrong is a line of the report, and the others go on."""

        def measure(site: Site, proxy: str, size: int) -> Values:
            if proxy == "envoy" and size == 1000:
                raise BenchmarkError("envoy ended:\nwords of it")
            return {"new": 1.0}

        self.run_.round(0, [subject(measure)])
        self.assertEqual(["sources, 1,000, envoy: envoy ended"], self.growth.failures)
        self.assertEqual(3, len(self.growth.points))
        self.assertIn("words of it", "\n".join(self.told))


class TableTests(SynchronousTestCase):
    """The page."""

    def setUp(self) -> None:
        figures = {
            ("tcpmesh", 10): (8.0, 80.0),
            ("envoy", 10): (10.0, 100.0),
            ("tcpmesh", 10_000): (16.0, 170.0),
            ("envoy", 10_000): (20.0, 200.0),
        }
        self.growth = Growth(
            {"kernel": "Linux"},
            [
                Point(count, "sources", proxy, size, {"new": values[count]})
                for (proxy, size), values in figures.items()
                for count in range(2)
            ],
        )

    def test_row(self) -> None:
        """A row has the lowest of the rounds, what it is by Envoy's, and what the last is by the
        first.
        """
        self.assertIn(
            "| CPU per new connection, µs | tcpmesh | 8.0 (0.80x) | 16.0 (0.80x) | 2.00 |",
            markdown(self.growth),
        )

    def test_missing(self) -> None:
        """Where there is no figure there is a dash."""
        self.growth.points = [each for each in self.growth.points if each.size == 10]

        self.assertIn("| envoy | 10.0 | - | - |", markdown(self.growth))

    def test_failures(self) -> None:
        """What went wrong is on the page."""
        self.growth.failures.append("sources, 10, envoy: it ended")

        self.assertIn("- sources, 10, envoy: it ended", markdown(self.growth))

    def test_json(self) -> None:
        """Written figures are read back equal, and another file is refused."""
        path = Path(self.mktemp())
        self.growth.write(path)
        self.assertEqual(self.growth, read(path))
        path.write_text("{}")
        self.assertRaisesRegex(BenchmarkError, "is not a growth.json", read, path)


class CommandTests(SynchronousTestCase):
    """What a user can get wrong."""

    def setUp(self) -> None:
        self.told: list[str] = []
        self.patch(command, "say", self.told.append)
        self.patch(command_line, "_run", self.fail)

    def status(self, *arguments: str) -> int:
        """The exit status of the command."""
        return command.status_of(lambda: command_line.main(arguments))

    def test_unknown_name(self) -> None:
        """Names that nothing has are told before anything runs."""
        self.assertEqual(2, self.status("--only", "sources,sorces"))
        self.assertEqual(["unknown: sorces; --list prints what there is"], self.told)

    def test_descriptors(self) -> None:
        """So are too few descriptors."""
        self.patch(resource, "getrlimit", lambda which: (1024, 1024))
        self.patch(resource, "setrlimit", lambda which, limits: None)

        self.assertEqual(2, self.status("--only", "connections"))
        self.assertRegex(self.told[0], "9000 connections need 18300 descriptors, and 1024 are")

    def test_names(self) -> None:
        """No two subjects have the same name, and each is measured with little and with much."""
        self.assertEqual(len(SUBJECTS), len({each.name for each in SUBJECTS}))
        for each in SUBJECTS:
            self.assertLessEqual(100 * each.sizes[0], each.sizes[-1])

    def test_python(self) -> None:
        """`--python` chooses what runs tcpmesh."""
        self.patch(os, "environ", dict(os.environ))
        self.assertEqual(2, self.status("--python", "/opt/python", "--only", "nothing"))
        self.assertEqual("/opt/python", os.environ["TCPMESH_BENCH_PYTHON"])
