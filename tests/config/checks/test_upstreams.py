"""What Envoy demands, in code, of how upstream connections are made."""

from __future__ import annotations

from tests.config.checks.test_checks import CheckTests, cluster
from tests.config.texts import GOOD, said


class UpstreamTests(CheckTests):
    """How upstream connections are made."""

    def test_bind_config(self) -> None:
        """Source addresses are IP addresses, the extra one is single and of the other family; for
        one cluster and for all.
        """
        four, six, name = (
            f"{{address: {each}, port_value: 0}}" for each in ("127.0.0.1", "'::1'", "example.com")
        )
        extra = "extra_source_addresses: [{address: %s}]"
        for wrap in (lambda body: cluster(f"upstream_bind_config: {{{body}}}"), self.for_all):
            self.assert_fine(wrap(f"source_address: {four}, {extra % six}"))
            self.assert_fine(wrap(f"source_address: {six}, {extra % four}"))
            self.assert_says("malformed IP address: 'example.com'", wrap(f"source_address: {name}"))
            self.assert_says(
                "malformed IP address: 'example.com'",
                wrap(f"source_address: {four}, {extra % name}"),
            )
            self.assert_says("without a source_address", wrap(extra % four))
            self.assert_says("of another family", wrap(f"source_address: {four}, {extra % four}"))
            self.assert_says(
                "may be one",
                wrap(
                    f"source_address: {four}, extra_source_addresses: [{{address: {six}}}, "
                    f"{{address: {six}}}]"
                ),
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
            more = (
                f"{{endpoint: {{address: {first}, additional_addresses: [{{address: "
                f"{address}}}]}}}}"
            )
            text = cluster(
                f"load_assignment: {{cluster_name: other, endpoints: [{{lb_endpoints: [{more}]}}]}}"
            )
            if words:
                self.assert_says(words, text)
            else:
                self.assert_fine(text)

    def test_per_host_thresholds(self) -> None:
        """Of each host only max_connections can be limited."""
        text = (
            "circuit_breakers: {per_host_thresholds: [{max_connections: 1, track_remaining: "
            "true%s}]}"
        )
        self.assert_fine(cluster(text % ""))
        for name in ("max_pending_requests", "max_requests", "max_retries", "max_connection_pools"):
            self.assert_says(f"{name} cannot be limited", cluster(text % f", {name}: 1"))

    def test_preconnect_policy(self) -> None:
        """Ratios of connections to clients are from 1 to 3."""
        for name in ("per_upstream_preconnect_ratio", "predictive_preconnect_ratio"):
            text = f"preconnect_policy: {{{name}: %s}}"
            for fine in (1, 1.5, 3):
                self.assert_fine(cluster(text % fine))
            self.assert_says("at least 1", cluster(text % 0.9))
            self.assert_says("at most 3", cluster(text % 3.1))
        self.assertEqual([], said(cluster("preconnect_policy: {per_upstream_preconnect_ratio: 2}")))

    def test_upstream_config(self) -> None:
        """The generic pool of TCP is the one there is; that of HTTP, with which Envoy ends each
        client, is refused.
        """
        text = (
            'upstream_config: {name: x, typed_config: {"@type": '
            "type.googleapis.com/envoy.extensions.upstreams.%s}}"
        )
        self.assertEqual([], said(cluster(text % "tcp.generic.v3.GenericConnectionPoolProto")))
        (problem,) = said(cluster(text % "http.generic.v3.GenericConnectionPoolProto"))
        self.assertIn("Envoy knows this extension", problem)

    def test_of_http(self) -> None:
        """What limits HTTP only is accepted."""
        limits = (
            "max_connection_pools: 1, max_requests: 1, max_retries: 1, retry_budget: "
            "{min_retry_concurrency: 4}"
        )
        for text in (
            f"circuit_breakers: {{thresholds: [{{{limits}}}]}}",
            "upstream_connection_options: {set_local_interface_name_on_upstream_connections: true}",
            "max_requests_per_connection: 1",
            "connection_pool_per_downstream_connection: true",
            "track_timeout_budgets: true",
        ):
            self.assertEqual([], [line for line in said(cluster(text)) if "warning" not in line])
