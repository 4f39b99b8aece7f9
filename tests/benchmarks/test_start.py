"""The benchmark of a start."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.process import Ports
from benchmarks.start import DEMO, answers, own_ports
from tcpmesh.config.load import load


class StartBenchmarkTests(SynchronousTestCase):
    """What it starts."""

    def test_own_ports(self) -> None:
        """It is the demo's file, but for ports that nobody has."""
        text, admin = own_ports(DEMO.read_text(), Ports())

        bootstrap = load(config_yaml=text).bootstrap
        (listener,) = bootstrap.static_resources.listeners
        ports = {admin, listener.address.socket_address.port_value}
        self.assertEqual(admin, bootstrap.admin.address.socket_address.port_value)
        self.assertEqual(2, len(ports - {10000, 9901}))

    def test_nobody_answers(self) -> None:
        """Who is not there is not ready."""
        self.assertFalse(answers(Ports().take()))
