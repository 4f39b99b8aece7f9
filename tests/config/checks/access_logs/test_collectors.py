"""What Envoy refuses of access logs that go to collectors; each case was put to Envoy 1.40."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, said, warned

_LOGGERS = "type.googleapis.com/envoy.extensions.access_loggers"
ALS = f"{_LOGGERS}.grpc.v3.TcpGrpcAccessLogConfig"
OTEL = f"{_LOGGERS}.open_telemetry.v3.OpenTelemetryAccessLogConfig"
FLUENTD = f"{_LOGGERS}.fluentd.v3.FluentdAccessLogConfig"

_GRPC = "grpc_service: {google_grpc: {target_uri: '127.0.0.1:1', stat_prefix: g}}"
_HTTP = "http_service: {http_uri: {uri: 'http://a/', cluster: web, timeout: 1s}%s}"


def log(kind: str, fields: str) -> str:
    """The good bootstrap with an access log of this type."""
    line = (
        f'          access_log: [{{name: x, typed_config: {{"@type": {kind}, {fields}}}}}]\n'
        "          idle_timeout: 5s\n"
    )
    return changed(("          idle_timeout: 5s\n", line))


class CollectorChecksTests(SynchronousTestCase):
    """By kinds of loggers."""

    def check(self, kind: str, cases: dict[str, str]) -> None:
        """Each has the problem that stands beside it, and an empty one none."""
        for fields, wanted in cases.items():
            found = said(log(kind, fields))
            if wanted:
                self.assertEqual(len(found), 1, (fields, found))
                self.assertIn(wanted, found[0])
            else:
                self.assertEqual(found, [], fields)

    def test_access_log_services(self) -> None:
        """The version of the API, and formats of tags."""
        common = f"common_config: {{log_name: l, {_GRPC}%s}}"
        self.check(
            ALS,
            {
                common % "": "",
                common % ", transport_api_version: V3": "",
                common % ", transport_api_version: V2": "it must be V3",
                common % ", custom_tags: [{tag: a, value: '%BYTES_SENT%'}]": "",
                common
                % ", custom_tags: [{tag: a, value: '%NOPE%'}]": "value: there is no operator",
                common % ", custom_tags: [{tag: a}]": "custom_tags[0]: one of literal",
                "common_config: {log_name: l}": "grpc_service is required",
                common % ", buffer_flush_interval: 0s": "buffer_flush_interval",
                common % ", grpc_stream_retry_policy: {retry_on: 5xx, num_retries: 2}": "",
            },
        )

    def test_open_telemetry(self) -> None:
        """One service, and values that can be formatted."""
        self.check(
            OTEL,
            {
                _GRPC: "",
                _HTTP % "": "",
                f"common_config: {{log_name: l, {_GRPC}}}": "",
                "log_name: l": "the collector needs a service",
                f"{_GRPC}, {_HTTP % ''}": "one service is allowed",
                f"{_GRPC}, body: {{string_value: '%NOPE%'}}": "body.string_value: there is no",
                f"{_GRPC}, body: {{int_value: 5}}": "body: what is formatted is a string_value",
                f"{_GRPC}, attributes: {{values: [{{key: a}}]}}": "attributes.values[0].value",
                f"{_GRPC}, body: {{array_value: {{values: [{{string_value: '%'}}]}}}}": (
                    "body.array_value.values[0].string_value"
                ),
                f"{_GRPC}, body: {{kvlist_value: {{values: [{{key: k, value: {{}}}}]}}}}": (
                    "body.kvlist_value.values[0].value"
                ),
                f"{_GRPC}, resource_attributes: {{values: [{{key: a, value: {{}}}}]}}": "",
                _HTTP % ", request_headers_to_add: [{header: {key: a, value: '%NOPE%'}}]": (
                    "request_headers_to_add[0].header.value: there is no operator NOPE"
                ),
            },
        )

    def test_a_cluster_that_is_not_there(self) -> None:
        """Envoy takes it for HTTP, and no request succeeds: a warning."""
        service = (_HTTP % "").replace("web", "wep")
        (line,) = warned(log(OTEL, service))
        self.assertIn("there is no cluster 'wep'", line)
        self.assertIn("did you mean 'web'", line)

    def test_fluentd(self) -> None:
        """The cluster, the record, and the pauses."""
        fields = "cluster: %s, tag: t, stat_prefix: p, record: {a: '%s'}%s"
        pauses = ", retry_options: {backoff_options: {base_interval: 1s, max_interval: %s}}"
        self.check(
            FLUENTD,
            {
                fields % ("web", "%BYTES_SENT%", ""): "",
                fields % ("wep", "b", ""): "there is no cluster 'wep' in the bootstrap",
                fields % ("web", "%NOPE%", ""): "record.a: there is no operator NOPE",
                fields % ("web", "b", pauses % "1s"): "",
                fields % ("web", "b", pauses % "0.5s"): "max_interval is shorter",
                "cluster: web, tag: t, stat_prefix: p": "record is required",
            },
        )
