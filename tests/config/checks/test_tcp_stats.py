"""What Envoy demands of the transport socket tcp_stats."""

from __future__ import annotations

from tests.config.checks.test_checks import CheckTests, cluster
from tests.config.checks.test_proxy_headers import RAW, SOCKETS


def counted(fields: str) -> str:
    """A cluster with it."""
    config = f"'@type': {SOCKETS}tcp_stats.v3.Config, {fields}"
    return cluster(f"transport_socket: {{name: t, typed_config: {{{config}}}}}")


class TcpStatsTests(CheckTests):
    """Its two fields."""

    def test_fields(self) -> None:
        """It needs a transport socket within, one for hosts, and a period of 1 ms at least."""
        inner = f"transport_socket: {RAW}"
        self.assert_fine(counted(inner))
        self.assert_fine(counted(f"{inner}, update_period: 0.001s"))
        self.assert_says("update_period", counted(f"{inner}, update_period: 0.0009s"))
        self.assert_says("transport_socket", counted("update_period: 1s"))
        kind = f"{SOCKETS}tls.v3.DownstreamTlsContext"
        clients = f"transport_socket: {{name: tls, typed_config: {{'@type': {kind}}}}}"
        self.assert_says("here one for hosts is needed", counted(clients))
