"""How the proxies are started that the benchmark compares."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import tools
from benchmarks.backends import Backends
from benchmarks.proxies import PROXIES, Route


class BesideEachOtherTests(SynchronousTestCase):
    """All proxies of a round run at the same time."""

    def test_nobody_asks_for_the_place_of_another(self) -> None:
        """Those that could take over from each other are told that nobody will."""
        self.patch(tools, "envoy", lambda: "envoy")
        stem = Path(self.mktemp())
        route = Route({}, Backends((1, 2), 3))
        for proxy in PROXIES:
            if proxy.name.startswith(("tcpmesh", "envoy")):
                self.assertIn("--disable-hot-restart", proxy.prepare(stem, route).words)
