"""What Envoy knows and the installed schema does not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, said


class NewerTests(SynchronousTestCase):
    """Fields and types newer than the installed xds-protos."""

    def test_field(self) -> None:
        """A newer field is said to be newer, in either spelling."""
        for name in ("check_drain_close", "checkDrainClose"):
            found = said(changed(("idle_timeout: 5s", f"{name}: true")))
            self.assertEqual(1, len(found))
            self.assertIn("15:11: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.check", found[0])
            self.assertIn("does not support it yet", found[0])
            self.assertNotIn("unknown field", found[0])

    def test_type(self) -> None:
        """So is a newer type."""
        text = changed(
            ("tcp_proxy.v3.TcpProxy", "tcp_bandwidth_limit.v3.TcpBandwidthLimit"),
            ("          stat_prefix: tcp\n          cluster: web\n          idle_timeout: 5s\n", ""),
        )

        self.assertIn("does not support it yet", said(text)[0])
