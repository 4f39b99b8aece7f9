"""What Envoy demands, in code, of how upstream connections are made."""

from __future__ import annotations

from tests.config.test_checks import CheckTests, cluster
from tests.config.texts import GOOD


class UpstreamTests(CheckTests):
    """How upstream connections are made."""

    def test_bind_config(self) -> None:
        """Source addresses are IP addresses, the extra one is single and of the other family; for one cluster and for all."""
        four, six, name = (f"{{address: {each}, port_value: 0}}" for each in ("127.0.0.1", "'::1'", "example.com"))
        extra = "extra_source_addresses: [{address: %s}]"
        for wrap in (lambda body: cluster(f"upstream_bind_config: {{{body}}}"), self.for_all):
            self.assert_fine(wrap(f"source_address: {four}, {extra % six}"))
            self.assert_fine(wrap(f"source_address: {six}, {extra % four}"))
            self.assert_says("malformed IP address: 'example.com'", wrap(f"source_address: {name}"))
            self.assert_says("malformed IP address: 'example.com'", wrap(f"source_address: {four}, {extra % name}"))
            self.assert_says("without a source_address", wrap(extra % four))
            self.assert_says("of another family", wrap(f"source_address: {four}, {extra % four}"))
            self.assert_says(
                "may be one", wrap(f"source_address: {four}, extra_source_addresses: [{{address: {six}}}, {{address: {six}}}]")
            )

    def for_all(self, body: str) -> str:
        """The good bootstrap with this bind config for all clusters."""
        return f"cluster_manager: {{upstream_bind_config: {{{body}}}}}\n{GOOD}"

    def test_additional_address(self) -> None:
        """A further address of an endpoint is an IP address or a unix socket."""
        for address, words in (
            ("{socket_address: {address: '::1', port_value: 9}}", ""),
            ("{pipe: {path: /run/x}}", ""),
            ("{pipe: {path: /%s}}" % ("x" * 108), "must be shorter"),
            ("{socket_address: {address: example.com, port_value: 9}}", "malformed IP address"),
            ("{}", "needs an address"),
        ):
            first = "{socket_address: {address: 127.0.0.1, port_value: 9}}"
            more = f"{{endpoint: {{address: {first}, additional_addresses: [{{address: {address}}}]}}}}"
            text = cluster(f"load_assignment: {{cluster_name: other, endpoints: [{{lb_endpoints: [{more}]}}]}}")
            if words:
                self.assert_says(words, text)
            else:
                self.assert_fine(text)

    def test_per_host_thresholds(self) -> None:
        """Of each host only max_connections can be limited."""
        text = "circuit_breakers: {per_host_thresholds: [{max_connections: 1, track_remaining: true%s}]}"
        self.assert_fine(cluster(text % ""))
        for name in ("max_pending_requests", "max_requests", "max_retries", "max_connection_pools"):
            self.assert_says(f"{name} cannot be limited", cluster(text % f", {name}: 1"))
