"""Connections as OpenTelemetry has them."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service_pb2
from opentelemetry.proto.logs.v1 import logs_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.accesslog.collectors.otlp import LogRecords, records_of, request_of
from tcpmesh.config.fields.operators import FormatError
from tcpmesh.connection.state_objects import FACTORIES
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.accesslog.collectors.connections import LATER, served
from tests.mesh import parse

CONFIG = """
log_name: access
body: {string_value: "rx %BYTES_RECEIVED%"}
attributes:
  values:
  - {key: mixed, value: {string_value: "a-%PROTOCOL%-%BYTES_SENT%"}}
  - {key: none, value: {string_value: "%PROTOCOL%"}}
  - {key: in, value: {kvlist_value: {values: [{key: k, value: {string_value: v}}]}}}
  - key: list
    value: {array_value: {values: [{string_value: x}, {string_value: "%CONNECTION_ID%"}]}}
filter_state_objects_to_log: [state, absent]
custom_tags: [{tag: t, literal: {value: l}}]
resource_attributes: {values: [{key: r, value: {string_value: "%BYTES_SENT%"}}]}
"""

RECORD = r"""
time_unix_nano: 1795541510442668000
body { string_value: "rx 5" }
attributes { key: "mixed" value { string_value: "a---8" } }
attributes { key: "none" value { string_value: "-" } }
attributes {
  key: "in"
  value { kvlist_value { values { key: "k" value { string_value: "v" } } } }
}
attributes {
  key: "list"
  value { array_value { values { string_value: "x" } values { string_value: "7" } } }
}
attributes { key: "state" value { string_value: "\"s\"" } }
attributes { key: "t" value { string_value: "l" } }
"""

RESOURCE = """
attributes { key: "log_name" value { string_value: "access" } }
attributes { key: "zone_name" value { string_value: "z" } }
attributes { key: "cluster_name" value { string_value: "c" } }
attributes { key: "node_name" value { string_value: "i" } }
attributes { key: "r" value { string_value: "%BYTES_SENT%" } }
"""

NODE = base_pb2.Node(id="i", cluster="c", locality=base_pb2.Locality(zone="z"))


def config(text: str = CONFIG) -> Any:
    """A configuration."""
    return parse(logs_service_pb2.OpenTelemetryAccessLogConfig, text)


def record(info: StreamInfo, text: str = CONFIG) -> Any:
    """The record of a connection."""
    message = config(text)
    return LogRecords(message, CustomTags(message.custom_tags, {})).of(info, LATER)


class LogRecordsTests(SynchronousTestCase):
    """As Envoy 1.40 makes them."""

    maxDiff = None

    def test_a_record(self) -> None:
        """The time is when the connection began, texts are formatted, and filter state and tags are
        attributes too.
        """
        info = served()
        value = FACTORIES["envoy.string"]("s")
        assert value is not None
        info.set_filter_state("state", value)
        wanted = text_format.Parse(RECORD, logs_pb2.LogRecord())
        self.assertEqual(str(record(info)), str(wanted))

    def test_nothing_is_asked_for(self) -> None:
        """Then a record is its time."""
        found = record(served(), "{}")
        self.assertEqual([field.name for field, _ in found.ListFields()], ["time_unix_nano"])

    def test_a_body_of_another_shape(self) -> None:
        """The body may be a list or a mapping, also an empty one."""
        found = record(served(), "body: {array_value: {values: [{string_value: '%DURATION%'}]}}")
        self.assertEqual(found.body.array_value.values[0].string_value, "1250")
        for kind in ("kvlist_value", "array_value"):
            found = record(served(), f"body: {{{kind}: {{}}}}")
            self.assertEqual(found.body.WhichOneof("value"), kind)

    def test_other_values(self) -> None:
        """Only texts, lists and mappings can be formatted: others are refused, as in Envoy."""
        for value in ("{int_value: 5}", "{bool_value: true}", "{}"):
            text = f"attributes: {{values: [{{key: k, value: {value}}}]}}"
            self.assertRaises(FormatError, record, served(), text)
        self.assertRaises(FormatError, record, served(), "body: {string_value: '%NOPE%'}")

    @settings(deadline=None)
    @given(st.text(st.characters()))
    def test_hostile_texts(self, text: str) -> None:
        """Whatever is known of a connection, it is recorded."""
        info = served()
        info.metadata = {"ns": {"k": text}}
        found = record(info, "body: {string_value: '%DYNAMIC_METADATA(ns:k)%'}")
        self.assertEqual(logs_pb2.LogRecord.FromString(found.SerializeToString()), found)


class RequestTests(SynchronousTestCase):
    """What goes around the records."""

    def test_the_resource(self) -> None:
        """It names the log and this proxy, and has what the configuration says, as it is."""
        request = request_of(config(), NODE)
        records_of(request).append(record(served()))
        read = service_pb2.ExportLogsServiceRequest.FromString(request.SerializeToString())
        self.assertEqual(len(records_of(read)), 1)
        wanted = type(read.resource_logs[0].resource)()
        text_format.Parse(RESOURCE, wanted)
        self.assertEqual(read.resource_logs[0].resource, wanted)

    def test_no_labels(self) -> None:
        """`disable_builtin_labels` leaves the resource empty; a name may stand at its old place."""
        request = request_of(config("disable_builtin_labels: true"), NODE)
        self.assertTrue(request.resource_logs[0].HasField("resource"))
        self.assertEqual(len(request.resource_logs[0].resource.attributes), 0)
        request = request_of(config("common_config: {log_name: old}"), NODE)
        value = request.resource_logs[0].resource.attributes[0].value
        self.assertEqual(value.string_value, "old")
