"""What is demanded of health checks and of the files of their events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, said

CHECK = "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, %s}"
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TYPED = (
    f'typed_extension_protocol_options: {{{HTTP}: {{"@type": type.googleapis.com/{HTTP}, '
    f"explicit_http_config: {{%s}}}}}}"
)
TCP = CHECK % "tcp_health_check: {}"
NAMED = TCP.replace("{timeout", "{name: %s, timeout")


def problems(cluster: str) -> list[str]:
    """What is said of a cluster with these fields, without where."""
    return [
        line.partition(": ")[2]
        for line in said(changed(("type: STATIC", f"type: STATIC\n    {cluster}")))
    ]


def http_check(fields: str) -> str:
    """One HTTP check of the path / with these fields more."""
    return f"health_checks: [{CHECK % f'http_health_check: {{path: /, {fields}}}'}]"


class HealthCheckTests(SynchronousTestCase):
    """Health checks."""

    def test_well(self) -> None:
        """One check of either kind, with outlier detection, is no problem."""
        for kind in ("tcp_health_check: {}", "http_health_check: {path: /}"):
            self.assertEqual(
                [], problems(f"health_checks: [{CHECK % kind}]\n    outlier_detection: {{}}")
            )

    def test_several(self) -> None:
        """Several checks need names, and each its own."""
        self.assertEqual([], problems(f"health_checks: [{NAMED % 'a'}, {NAMED % 'b'}]"))
        where = "static_resources.clusters[0].health_checks"
        for names, wanted in (
            (("a", '""'), [f"{where}[1]: a health check has no name"]),
            (("a", "b", "a"), [f"{where}[2].name: another health check has the name 'a' too"]),
            (
                ('""', "null"),
                [
                    f"{where}[0]: a health check has no name",
                    f"{where}[1]: a health check has no name",
                ],
            ),
            (
                ("a", "[b]"),
                [f"{where}[1].name: expected a string", f"{where}[1]: a health check has no name"],
            ),
        ):
            found = problems(f"health_checks: [{', '.join(NAMED % name for name in names)}]")
            self.assertEqual(len(wanted), len(found), found)
            for text, problem in zip(sorted(wanted), sorted(found), strict=True):
                self.assertIn(text, problem)

    def test_other_kinds(self) -> None:
        """Custom checks are refused."""
        (problem,) = problems(
            f"health_checks: [{CHECK % 'custom_health_check: {name: envoy.health_checkers.redis}'}]"
        )
        self.assertIn("custom_health_check: Envoy knows this field", problem)

    def grpc(self, cluster: str, fields: str = "") -> list[str]:
        """What is said of gRPC checks with these fields in a cluster with those."""
        return problems(
            f"{cluster}\n    health_checks: [{CHECK % f'grpc_health_check: {{{fields}}}'}]"
        )

    def test_grpc(self) -> None:
        """gRPC checks demand that the cluster is of HTTP/2, by its typed options or, without these,
        by its own field.
        """
        demands = (
            "health_checks[0].grpc_health_check: gRPC health checks need a cluster with HTTP/2"
        )
        self.assertEqual([], self.grpc(TYPED % "http2_protocol_options: {}"))
        self.assertFalse(
            [said for said in self.grpc("http2_protocol_options: {}") if "warning" not in said]
        )
        for cluster in ("lb_policy: RANDOM", TYPED % "http_protocol_options: {}"):
            (problem,) = self.grpc(cluster)
            self.assertIn(demands, problem)
        self.assertIn(
            demands,
            self.grpc("http2_protocol_options: {}\n    " + TYPED % "http_protocol_options: {}")[-1],
        )

    def test_grpc_metadata(self) -> None:
        """Metadata may not be what the call itself consists of; it may have operators."""
        for header, text in (
            ("{key: ':path', value: x}", "':path' cannot be set here"),
            ("{key: Host, value: x}", "'Host' cannot be set here"),
            ("{key: a, value: '%BYTES_SENT%'}", "Envoy knows the operator BYTES_SENT"),
        ):
            (problem,) = self.grpc(
                TYPED % "http2_protocol_options: {}", f"initial_metadata: [{{header: {header}}}]"
            )
            self.assertIn(text, problem)

    def test_protocol_options(self) -> None:
        """Options of a protocol stand under their own name, those of HTTP as those of TCP."""
        (problem,) = problems(
            (TYPED % "http2_protocol_options: {}").replace("_options: {envoy", "_options: {x.envoy")
        )
        self.assertIn("stand under the name of their type", problem)
        tcp = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions"
        text = (
            f'typed_extension_protocol_options: {{%s: {{"@type": type.googleapis.com/{tcp}, '
            f"idle_timeout: 5s}}}}"
        )
        self.assertEqual([], problems(text % tcp))
        for name in (HTTP, "other"):
            (problem,) = problems(text % name)
            self.assertIn("stand under the name of their type", problem)

    def test_binary(self) -> None:
        """A binary payload, which Envoy accepts and never sends, is refused."""
        kind = "tcp_health_check: {send: {binary: cQ==}}"
        (problem,) = problems(f"health_checks: [{CHECK % kind}]")
        self.assertIn("binary: Envoy knows this field", problem)

    def test_operators(self) -> None:
        """Header fields may have operators in them, which must be sound; a percent sign is written
        twice.
        """
        for value, wanted in (
            ("100%%", ""),
            ("%%%PROTOCOL%", ""),
            ("%START_TIME(%s)%", ""),
            ("%METADATA(UPSTREAM_HOST:a:b)%%UPSTREAM_METADATA(a:b)%", ""),
            ("%", "no operator can be read at character 0"),
            ("%NOPE%", "there is no operator NOPE"),
            (
                "%METADATA(CLUSTER:a:b)%",
                "Envoy knows the operator METADATA(CLUSTER:a:b), tcpmesh does not support it",
            ),
            (
                "%BYTES_SENT%",
                "Envoy knows the operator BYTES_SENT, tcpmesh does not support it in the header "
                "fields of health",
            ),
        ):
            header = f"{{header: {{key: a, value: '{value}'}}}}"
            found = problems(http_check(f"request_headers_to_add: [{header}]"))
            self.assertEqual(
                [bool(wanted)] * bool(wanted),
                [f"header.value: {wanted}" in each for each in found],
                found,
            )

    def test_host_field(self) -> None:
        """What a request itself consists of is no header field to be added, as in Envoy."""
        for key in (":path", "Host"):
            header = f"{{header: {{key: '{key}', value: a}}}}"
            (problem,) = problems(http_check(f"request_headers_to_add: [{header}]"))
            self.assertIn(f"{key!r} cannot be set here", problem)

    def test_codec(self) -> None:
        """Checks over HTTP/1 and HTTP/2; over HTTP/3 there are none."""
        for codec, wanted in (("HTTP1", 0), ("HTTP2", 0), ("HTTP3", 1)):
            found = problems(http_check(f"codec_client_type: {codec}"))
            self.assertEqual(wanted, len(found), found)
            self.assertTrue(
                all("codec_client_type" in each and "HTTP3" in each for each in found), found
            )

    def test_log_folder(self) -> None:
        """The folder of an event log must be there."""
        (problem,) = problems(
            f"health_checks: [{CHECK % 'tcp_health_check: {}, event_log_path: /no/such/log'}]"
        )
        self.assertIn("health_checks[0].event_log_path: cannot write '/no/such/log'", problem)

    def test_regex(self) -> None:
        """An expression must be one of RE2, and not larger than Envoy allows or the configuration
        says.
        """
        field = "health_checks[0].http_health_check.service_name_matcher.safe_regex.regex: "
        for regex, wanted in (
            ("regex: a+", ""),
            ("regex: (a", "no regular expression of RE2: missing ): (a"),
            ("regex: (?<=x)a", "no regular expression of RE2: invalid perl operator: (?<="),
            ("regex: 'x{96}'", ""),
            ("regex: 'x{97}'", "the program of this expression has size 101, and 100 is the most"),
            ("regex: 'x{97}', google_re2: {max_program_size: 101}", ""),
            (
                "regex: a, google_re2: {max_program_size: 1}",
                "the program of this expression has size 5, and 1 is the most",
            ),
        ):
            kind = (
                f"http_health_check: {{path: /, service_name_matcher: {{safe_regex: {{{regex}}}}}}}"
            )
            found = problems(f"health_checks: [{CHECK % kind}]")
            self.assertEqual(bool(wanted), bool(found), found)
            for problem in found:
                self.assertIn(field + wanted, problem)

    def test_regex_ignoring_case(self) -> None:
        """A regular expression says itself whether case counts."""
        kind = (
            "http_health_check: {path: /, service_name_matcher: {safe_regex: {regex: a}, "
            "ignore_case: true}}"
        )
        (problem,) = problems(f"health_checks: [{CHECK % kind}]")
        self.assertIn(
            "service_name_matcher.ignore_case: ignore_case has no effect on a regular expression",
            problem,
        )

    def test_payload(self) -> None:
        """Only methods of requests with a body may have a payload."""
        for method, well in (
            ("POST", True),
            ("PUT", True),
            ("PATCH", True),
            ("OPTIONS", True),
            ("HEAD", False),
            ("GET", False),
        ):
            kind = f"http_health_check: {{path: /, method: {method}, send: {{text: '41'}}}}"
            found = problems(f"health_checks: [{CHECK % kind}]")
            self.assertEqual(
                [] if well else [True],
                [f"http_health_check.send: {method} has no payload" in each for each in found],
            )

    def test_buffer(self) -> None:
        """The bytes that are expected must fit into those that are looked at, of which 0 means
        all.
        """
        for size, wanted in ((1, 1), (2, 0), (0, 0)):
            kind = (
                f"http_health_check: {{path: /, receive: [{{text: '41'}}, {{text: '42'}}], "
                f"response_buffer_size: {size}}}"
            )
            self.assertEqual(wanted, len(problems(f"health_checks: [{CHECK % kind}]")))
        kind = f"http_health_check: {{path: /, receive: [{{text: '{'41' * 1025}'}}]}}"
        self.assertIn("1025 bytes are expected", problems(f"health_checks: [{CHECK % kind}]")[0])
