"""Where an extension is asked for, and what Envoy leaves to others to demand."""

from __future__ import annotations

from tests.config.checks.test_checks import CheckTests, cluster, filters, listener
from tests.config.texts import GOOD, judged


class WellKnownNameTests(CheckTests):
    """An extension is chosen by its type, and its name helps to find that."""

    def test_type_is_told(self) -> None:
        """A filter that has only its name is told its type, in the spelling of any time."""
        for name, wanted in (
            ("envoy.filters.network.tcp_proxy", "tcp_proxy.v3.TcpProxy}"),
            ("envoy.tcp_proxy", "tcp_proxy.v3.TcpProxy}"),
            ("envoy.filters.network.postgres_proxy", "postgres_proxy.v3alpha.PostgresProxy}"),
            ("envoy.filters.network.rbac", "rbac.v3.RBAC}"),
            ("envoy.filters.network.direct_response", "direct_response.v3.Config}"),
        ):
            self.assert_says(f"network.{wanted}", filters(f"{{name: {name}}}"))

    def test_not_told(self) -> None:
        """A name that nobody knows is not guessed at."""
        found = judged(filters("{name: envoy.filters.network.nonsense}"))
        self.assertFalse(any("add typed_config" in each for each in found), found)

    def test_of_a_oneof(self) -> None:
        """A message that is the only one of its oneof is not demanded: Envoy looks only at it where
        it is set.
        """
        stdout = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
        log = f"access_log: {{name: a, typed_config: {{'@type': {stdout}}}}}"
        address = "address: {socket_address: {address: 127.0.0.1, port_value: 10001}}"
        found = judged(listener(f"name: b, {address}, filter_chains: [{{filters: []}}], {log}"))
        self.assertFalse(any("log_format" in each for each in found), found)

    def test_endpoint_without_address(self) -> None:
        """A DNS cluster may have an endpoint without an address, as in Envoy; a STATIC one not."""
        for host in ("{}", "{endpoint: {}}"):
            body = f"load_assignment: {{cluster_name: o, endpoints: [{{lb_endpoints: [{host}]}}]}}"
            self.assert_fine(cluster(f"type: STRICT_DNS, {body}"))
            self.assert_says("an endpoint needs an address", cluster(f"type: STATIC, {body}"))

    def test_version_of_the_api(self) -> None:
        """A source of discovery that does not say its version has the only one there is."""
        source = "api_type: GRPC, grpc_services: {envoy_grpc: {cluster_name: web}}"
        for version, is_wrong in (("", False), ("AUTO", False), ("V2", True), ("V3", False)):
            said = f"transport_api_version: {version}, " if version else ""
            node = "node: {id: a, cluster: b}"
            text = f"{node}\ndynamic_resources: {{ads_config: {{{said}{source}}}}}\n"
            found = [each for each in judged(text + GOOD) if "is gone" in each]
            self.assertEqual(is_wrong, bool(found), found)
