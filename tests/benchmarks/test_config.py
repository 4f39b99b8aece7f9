"""The benchmark of large bootstraps."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.config import bootstrap, seconds
from benchmarks.process import BenchmarkError
from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError


class ConfigBenchmarkTests(SynchronousTestCase):
    """What it measures."""

    def test_right(self) -> None:
        """The right file is a bootstrap of as many listeners and clusters, without a warning."""
        loaded = load(config_yaml=bootstrap(300))

        self.assertEqual((), loaded.warnings)
        static = loaded.bootstrap.static_resources
        self.assertEqual((300, 300), (len(static.listeners), len(static.clusters)))

    def test_wrong(self) -> None:
        """The wrong one has a mistake in each cluster."""
        error = self.assertRaises(ConfigError, load, config_yaml=bootstrap(300, "conect_timeout"))

        self.assertEqual(300, len(error.problems))

    def test_status(self) -> None:
        """A command that ends otherwise than it should stops the benchmark, with what it said."""
        command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]

        self.assertLess(0, seconds(command, 1))
        self.assertIn("no such thing", str(self.assertRaises(BenchmarkError, seconds, command, 0)))
