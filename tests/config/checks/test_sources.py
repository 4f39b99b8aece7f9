"""What is said of gRPC services, wherever they stand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tests.config.texts import changed, judged, load_text

LOG = (
    "          access_log: {{name: a, typed_config: {{'@type': type.googleapis.com/"
    "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig, common_config: {{log_name: l, "
    "transport_api_version: V3, grpc_service: {{{}}}}}}}}}\n"
)
HTTP2 = "\n    http2_protocol_options: {}"


def text(service: str, cluster: str = HTTP2) -> str:
    """A bootstrap with an access log to this gRPC service."""
    log = LOG.format(service)
    return changed(
        ("          idle_timeout: 5s\n", log), ("type: STATIC", f"type: STATIC{cluster}")
    )


class ServiceTests(SynchronousTestCase):
    """`GrpcService`."""

    def said(self, service: str) -> list[str]:
        """What is wrong with one, without where."""
        return [line.partition("grpc_service.")[2] for line in judged(text(service))]

    def warned(self, service: str, cluster: str = HTTP2) -> str:
        """What is worth a warning, be there errors or not."""
        try:
            warnings = load_text(text(service, cluster)).warnings
        except ConfigError as e:
            warnings = e.warnings
        return "\n".join(str(each) for each in warnings if "cluster_name" in str(each))

    def test_well(self) -> None:
        """A cluster, and targets in all forms, are no problem."""
        self.assertEqual([], self.said("envoy_grpc: {cluster_name: web}"))
        for target in (
            "a.example:1",
            "dns:///a.example:1",
            "dns:a.example",
            "127.0.0.1:1",
            "[::1]:1",
            "ipv4:127.0.0.1:1,127.0.0.2:2",
            "ipv6:[::1]:1",
            "unix:/run/a",
            "unix:///run/a",
            "unix:a",
            "unix-abstract:a",
        ):
            found = self.said(f"google_grpc: {{target_uri: '{target}', stat_prefix: g}}")
            self.assertEqual([], found, target)

    def test_targets(self) -> None:
        """Targets that cannot be connected to."""
        for target in (
            "a:x",
            "a:0",
            "a:70000",
            ":1",
            "ipv4:a:1",
            "xds:///a",
            "unix:",
            "dns://s/a",
        ):
            (found,) = self.said(f"google_grpc: {{target_uri: '{target}', stat_prefix: g}}")
            self.assertTrue(found.startswith("google_grpc.target_uri: "), (target, found))

    def test_metadata(self) -> None:
        """Header fields that calls have already, and operators that nobody knows."""
        service = "envoy_grpc: {cluster_name: web}, initial_metadata: [{key: %s, value: '%s'}]"
        self.assertEqual([], self.said(service % ("a", "%HOSTNAME%")))
        for key in (":path", "Host"):
            (found,) = self.said(service % (f"'{key}'", "b"))
            self.assertTrue(found.startswith("initial_metadata[0].key: a header field"), found)
        (found,) = self.said(service % ("a", "%NOPE%"))
        self.assertTrue(found.startswith("initial_metadata[0].value: "), found)

    def test_cluster(self) -> None:
        """A cluster that is not there, or not of HTTP/2, is worth a warning."""
        self.assertEqual("", self.warned("envoy_grpc: {cluster_name: web}"))
        found = self.warned("envoy_grpc: {cluster_name: nope}")
        self.assertIn("there is no cluster 'nope'", found)
        found = self.warned("envoy_grpc: {cluster_name: web}", "")
        self.assertIn("does not say that it speaks HTTP/2", found)
