"""What is demanded of health checks and of the files of their events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, said

CHECK = "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, %s}"
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
        """gRPC and custom checks are refused."""
        (problem,) = problems(f"health_checks: [{CHECK % 'grpc_health_check: {}'}]")
        self.assertIn("grpc_health_check: Envoy knows this field", problem)

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
