"""What Envoy knows and the installed schema does not."""

from __future__ import annotations

from envoy.config.core.v3 import health_check_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.newer import newer_string, set_newer_string
from tests.config.texts import changed, said


class NewerTests(SynchronousTestCase):
    """Fields and types newer than the installed xds-protos."""

    def test_field(self) -> None:
        """A newer field is said to be newer, in either spelling."""
        for name in ("check_drain_close", "checkDrainClose"):
            found = said(changed(("idle_timeout: 5s", f"{name}: true")))
            self.assertEqual(1, len(found))
            self.assertIn(
                "15:11: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.check",
                found[0],
            )
            self.assertIn("does not support it yet", found[0])
            self.assertNotIn("unknown field", found[0])

    def test_type(self) -> None:
        """So is a newer type."""
        text = changed(
            ("tcp_proxy.v3.TcpProxy", "tcp_bandwidth_limit.v3.TcpBandwidthLimit"),
            (
                "          stat_prefix: tcp\n          cluster: web\n          idle_timeout: 5s\n",
                "",
            ),
        )

        self.assertIn("does not support it yet", said(text)[0])

    def test_string(self) -> None:
        """A string that works all the same is carried by the message, over the wire too, and the
        last one counts.
        """
        check = health_check_pb2.HealthCheck()
        self.assertEqual("", newer_string(check, "name"))
        for value in ("a", "b\u00fc" * 100):
            set_newer_string(check, "name", value)
            self.assertEqual(
                value,
                newer_string(
                    health_check_pb2.HealthCheck.FromString(check.SerializeToString()), "name"
                ),
            )
