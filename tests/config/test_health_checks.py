"""What is demanded of health checks and of the files of their events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, said

CHECK = "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, %s}"
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TYPED = f'typed_extension_protocol_options: {{{HTTP}: {{"@type": type.googleapis.com/{HTTP}, explicit_http_config: {{%s}}}}}}'
TCP = CHECK % "tcp_health_check: {}"


def problems(cluster: str) -> list[str]:
    """What is said of a cluster with these fields, without where."""
    return [line.partition(": ")[2] for line in said(changed(("type: STATIC", f"type: STATIC\n    {cluster}")))]


class HealthCheckTests(SynchronousTestCase):
    """Health checks."""

    def test_well(self) -> None:
        """One check of either kind, with outlier detection, is no problem."""
        for kind in ("tcp_health_check: {}", "http_health_check: {path: /}"):
            self.assertEqual([], problems(f"health_checks: [{CHECK % kind}]\n    outlier_detection: {{}}"))

    def test_several(self) -> None:
        """Several checks need names, which the schema has no field for."""
        (problem,) = problems(f"health_checks: [{TCP}, {TCP}]")
        self.assertIn("static_resources.clusters[0].health_checks[1]: several health checks each need a name", problem)

    def test_other_kinds(self) -> None:
        """Custom checks are refused."""
        (problem,) = problems(f"health_checks: [{CHECK % 'custom_health_check: {name: envoy.health_checkers.redis}'}]")
        self.assertIn("custom_health_check: Envoy knows this field", problem)

    def grpc(self, cluster: str, fields: str = "") -> list[str]:
        """What is said of gRPC checks with these fields in a cluster with those."""
        return problems(f"{cluster}\n    health_checks: [{CHECK % f'grpc_health_check: {{{fields}}}'}]")

    def test_grpc(self) -> None:
        """gRPC checks demand that the cluster is of HTTP/2, by its typed options or, without these, by its own field."""
        demands = "health_checks[0].grpc_health_check: gRPC health checks need a cluster with HTTP/2"
        self.assertEqual([], self.grpc(TYPED % "http2_protocol_options: {}"))
        self.assertFalse([said for said in self.grpc("http2_protocol_options: {}") if "warning" not in said])
        for cluster in ("lb_policy: RANDOM", TYPED % "http_protocol_options: {}"):
            (problem,) = self.grpc(cluster)
            self.assertIn(demands, problem)
        self.assertIn(demands, self.grpc("http2_protocol_options: {}\n    " + TYPED % "http_protocol_options: {}")[-1])

    def test_grpc_metadata(self) -> None:
        """Metadata may not be what the call itself consists of, and may have no operators."""
        for header, text in (
            ("{key: ':path', value: x}", "':path' cannot be set here"),
            ("{key: Host, value: x}", "'Host' cannot be set here"),
            ("{key: a, value: '%PROTOCOL%'}", "does not support '%PROTOCOL%'"),
        ):
            (problem,) = self.grpc(TYPED % "http2_protocol_options: {}", f"initial_metadata: [{{header: {header}}}]")
            self.assertIn(text, problem)

    def test_protocol_options(self) -> None:
        """Options of a protocol stand under their own name, and those of others than HTTP are refused."""
        (problem,) = problems((TYPED % "http2_protocol_options: {}").replace("_options: {envoy", "_options: {x.envoy"))
        self.assertIn("stands under its own name", problem)
        tcp = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions"
        (problem,) = problems(f'typed_extension_protocol_options: {{{tcp}: {{"@type": type.googleapis.com/{tcp}}}}}')
        self.assertIn("Envoy knows this extension", problem)

    def test_binary(self) -> None:
        """A binary payload, which Envoy accepts and never sends, is refused."""
        kind = "tcp_health_check: {send: {binary: cQ==}}"
        (problem,) = problems(f"health_checks: [{CHECK % kind}]")
        self.assertIn("binary: Envoy knows this field", problem)

    def test_operators(self) -> None:
        """Header fields may have no operators of access logs in them, but percent signs written twice."""
        for value, seen in (("100%%", 0), ("%PROTOCOL%", 1), ("%%%PROTOCOL%", 1), ("%", 1)):
            header = f"{{header: {{key: a, value: '{value}'}}}}"
            kind = f"http_health_check: {{path: /, request_headers_to_add: [{header}]}}"
            self.assertEqual(seen, len(problems(f"health_checks: [{CHECK % kind}]")), value)

    def test_log_folder(self) -> None:
        """The folder of an event log must be there."""
        (problem,) = problems(f"health_checks: [{CHECK % 'tcp_health_check: {}, event_log_path: /no/such/log'}]")
        self.assertIn("health_checks[0].event_log_path: cannot write '/no/such/log'", problem)
