"""How the proxies are started that the benchmark compares."""

import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import tools
from benchmarks.backends import Backends
from benchmarks.process import BenchmarkError, Child
from benchmarks.proxies import PROXIES, Command, Route
from benchmarks.proxies.envoy import envoy_configuration, uses_io_uring
from benchmarks.proxies.route import FILTERING, INNER, THROUGH, TUNNELS, UNENCRYPTED
from benchmarks.terminator import authority, configuration
from tcpmesh.config.load import load


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


class ThroughTests(SynchronousTestCase):
    """Listeners that forward through something else."""

    def test_right(self) -> None:
        """The bootstrap that Envoy and tcpmesh get has no mistake, whichever listeners it has."""
        for names in (UNENCRYPTED, FILTERING, THROUGH, TUNNELS, INNER):
            ports = {name: 1000 + number for number, name in enumerate(names)}
            text = envoy_configuration(Route(ports, Backends((1, 2), 3, connect=4)))
            static = load(config_yaml=text).bootstrap.static_resources
            self.assertLessEqual(set(names), {listener.name for listener in static.listeners})

    def test_tunnels(self) -> None:
        """Tunnels go to the proxy that is asked for them, and ask for web or bulk."""
        ports = {name: 1000 + number for number, name in enumerate(TUNNELS)}
        text = envoy_configuration(Route(ports, Backends((1, 2), 3, connect=4)))

        self.assertEqual(4, text.count("port_value: 4 }"))
        for name in ("web", "bulk"):
            self.assertEqual(2, text.count(f"hostname: {authority(name)} "))

    def test_terminator(self) -> None:
        """That proxy is one of HTTP that knows all who are asked for."""
        domains = [
            domain
            for host in json.loads(configuration(4, Backends((1, 2), 3)))["static_resources"][
                "listeners"
            ][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
            for domain in host["domains"]
        ]
        self.assertEqual([authority("web"), authority("bulk")], domains)


class VariantTests(SynchronousTestCase):
    """Programs that take part more than once."""

    def command(self, name: str) -> Command:
        """How the proxy of this name is started; its configuration is `self.stem` and a suffix."""
        self.stem = Path(self.mktemp())
        proxy = next(proxy for proxy in PROXIES if proxy.name == name)
        return proxy.prepare(self.stem, Route({}, Backends((1, 2), 3)))

    def test_half_close(self) -> None:
        """One nginx closes both directions of a connection at once, as it does by default; the
        other lets each end by itself.
        """
        self.patch(tools, "program", lambda name: name)
        self.patch(tools, "nginx_stream_directive", lambda: "")
        for name, setting in (("nginx", "off"), ("nginx-half", "on")):
            self.command(name)
            self.assertIn(
                f"proxy_half_close {setting};", self.stem.with_suffix(".conf").read_text()
            )

    def test_transports(self) -> None:
        """One tcpmesh is on io_uring, and all others on epoll whatever the environment says."""
        for name, transport in (("tcpmesh", "epoll"), ("tcpmesh-uring", "uring")):
            self.assertEqual(transport, self.command(name).environment["TCPMESH_TRANSPORT"])

    def test_no_io_uring(self) -> None:
        """A process that runs on something else is not taken for one on io_uring."""
        folder = Path(self.mktemp())
        folder.mkdir()
        with Child([sys.executable, "-c", "import time; time.sleep(60)"], folder, "epoll") as child:
            self.assertRaisesRegex(BenchmarkError, "io_uring cannot be had", uses_io_uring, child)
