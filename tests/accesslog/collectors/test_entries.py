"""What an access log service is told of a connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.data.accesslog.v3 import accesslog_pb2
from google.protobuf import text_format, wrappers_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.accesslog.collectors.entries import Entries
from tcpmesh.connection.state_objects import FACTORIES
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.moment import LogType
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import ClientHello, ClusterInfo, StreamInfo, UpstreamInfo
from tests.accesslog.collectors.connections import LATER, connection, served

USUAL = """
    common_properties {
      downstream_remote_address { socket_address { address: "127.0.0.1" port_value: 36210 } }
      downstream_local_address { socket_address { address: "127.0.0.1" port_value: 32116 } }
      start_time { seconds: 1795541510 nanos: 442668000 }
      upstream_remote_address { socket_address { address: "10.0.0.3" port_value: 5432 } }
      upstream_local_address { socket_address { address: "10.0.0.9" port_value: 41000 } }
      upstream_cluster: "db"
      downstream_direct_remote_address { socket_address { address: "127.0.0.1" port_value: 36210 } }
      duration { seconds: 1 nanos: 250000000 }
      upstream_request_attempt_count: 1
      downstream_wire_bytes_sent: 8
      downstream_wire_bytes_received: 5
      upstream_wire_bytes_sent: 6
      upstream_wire_bytes_received: 7
      access_log_type: TcpConnectionEnd
    }
    connection_properties { received_bytes: 5 sent_bytes: 8 }
    """

REFUSED = """
    common_properties {
      downstream_remote_address { socket_address { address: "127.0.0.1" port_value: 36210 } }
      downstream_local_address { socket_address { address: "127.0.0.1" port_value: 32116 } }
      start_time { seconds: 1795541510 nanos: 442668000 }
      upstream_remote_address { socket_address { address: "10.0.0.3" port_value: 5432 } }
      upstream_cluster: "db"
      response_flags { upstream_connection_failure: true upstream_retry_limit_exceeded: true }
      upstream_transport_failure_reason: "delayed connect error: Connection refused"
      downstream_direct_remote_address { socket_address { address: "127.0.0.1" port_value: 36210 } }
      duration { nanos: 500000000 }
      upstream_request_attempt_count: 1
      access_log_type: TcpConnectionEnd
    }
    connection_properties { }
    """

LIVING = """
    common_properties {
      downstream_remote_address { socket_address { address: "127.0.0.1" port_value: 36210 } }
      downstream_local_address { socket_address { address: "127.0.0.1" port_value: 32116 } }
      start_time { seconds: 1795541510 nanos: 442668000 }
      downstream_direct_remote_address { socket_address { address: "127.0.0.1" port_value: 36210 } }
      intermediate_log_entry: true
      access_log_type: TcpConnectionStart
    }
    connection_properties { }
    """


def entry(info: StreamInfo, *states: str, log_type: LogType = LogType.TCP_CONNECTION_END) -> Any:
    """The entry of a connection."""
    at = replace(LATER, log_type=log_type)
    return Entries(states, CustomTags((), {})).of(info, at)


class EntriesTests(SynchronousTestCase):
    """Field by field, as Envoy 1.40 has filled them in the same cases."""

    maxDiff = None

    def check(self, found: Any, wanted: str, info: StreamInfo) -> None:
        """The entry says what the text says, and the connection's id."""
        self.assertEqual(found.common_properties.stream_id, info.stream_id)
        found.common_properties.ClearField("stream_id")
        parsed = text_format.Parse(wanted, accesslog_pb2.TCPAccessLogEntry())
        self.assertEqual(str(found), str(parsed))

    def test_a_usual_connection(self) -> None:
        """One that was relayed has addresses of both sides, the cluster by its own name, times and
        bytes.
        """
        info = served()
        self.check(entry(info), USUAL, info)

    def test_a_refused_connection(self) -> None:
        """Flags, the reason in words with blanks, and the host that refused."""
        info = connection()
        host = HostSpec(Address("10.0.0.3", 5432))
        upstream = info.upstream = UpstreamInfo(ClusterInfo("db", "alt"))
        upstream.attempted, upstream.failed_host = (host,), host
        upstream.failure = CloseReason(
            EndedBy.UPSTREAM,
            CONNECTING,
            Cause.CONNECT_FAILED,
            111,
            "delayed_connect_error:_Connection_refused",
        )
        info.flags = ResponseFlag.UF | ResponseFlag.URX
        info.ended = 1000.5
        self.check(entry(info), REFUSED, info)

    def test_one_that_has_just_begun(self) -> None:
        """What has not ended says so, and has neither a duration nor an upstream."""
        info = connection()
        self.check(entry(info, log_type=LogType.TCP_CONNECTION_START), LIVING, info)

    def test_a_listeners_record_has_no_type(self) -> None:
        """What a listener records is of the type that is not set."""
        info = served()
        found = entry(info, log_type=LogType.NOT_SET)
        self.assertEqual(found.common_properties.access_log_type, 0)

    def test_the_id_of_a_connection_stays(self) -> None:
        """Each record of a connection has the same id, and another connection has another."""
        info = served()
        ids = {entry(info).common_properties.stream_id for _ in range(3)}
        self.assertEqual(len(ids), 1)
        self.assertNotIn(entry(served()).common_properties.stream_id, ids)

    def test_addresses_of_other_kinds(self) -> None:
        """IPv6 and unix sockets are told as such, and what a filter knows better goes first."""
        info = connection("[::1]:99", "/run/l.sock")
        info.restored_remote = Address("192.0.2.1", 5)
        common = entry(info).common_properties
        self.assertEqual(common.downstream_remote_address.socket_address.address, "192.0.2.1")
        self.assertEqual(common.downstream_direct_remote_address.socket_address.address, "::1")
        self.assertEqual(common.downstream_local_address.pipe.path, "/run/l.sock")

    def test_every_flag_is_told(self) -> None:
        """Each response flag that the message has a field for sets it, and only it."""
        told: set[str] = set()
        for flag in ResponseFlag:
            info = connection()
            info.flags = flag
            flags = entry(info).common_properties.response_flags
            told.update(field.name for field, _ in flags.ListFields())
            self.assertLessEqual(len(flags.ListFields()), 1, flag)
        names = accesslog_pb2.ResponseFlags.DESCRIPTOR.fields_by_name
        self.assertEqual(told, set(names))

    def test_the_name_that_a_client_asked_for(self) -> None:
        """SNI and the JA3 fingerprint are there where a filter has seen them."""
        info = connection()
        self.assertFalse(entry(info).common_properties.HasField("tls_properties"))
        info.hello = ClientHello("db.example", ja3="abc")
        tls = entry(info).common_properties.tls_properties
        self.assertEqual((tls.tls_sni_hostname, tls.ja3_fingerprint), ("db.example", "abc"))

    def test_no_tls(self) -> None:
        """Why a client does not speak TLS is there where a filter has looked for it."""
        info = connection()
        self.assertEqual("", entry(info).common_properties.downstream_transport_failure_reason)
        info.hello = ClientHello(failure="TLS_error|x y:TLS_error_end")
        self.assertEqual(
            "TLS_error|x y:TLS_error_end",
            entry(info).common_properties.downstream_transport_failure_reason,
        )

    def test_filter_state(self) -> None:
        """The objects that the configuration names are told in the types that Envoy gives them;
        kinds without such a form are left out.
        """
        kinds = {
            "envoy.bool": ("1", "BoolValue", b"\x08\x01"),
            "envoy.hashable_string": ("hs", "StringValue", b"\n\x02hs"),
            "envoy.tcp_proxy.per_connection_idle_timeout_ms": ("5000", "UInt64Value", b"\x08\x88'"),
            "envoy.tcp_proxy.disable_tunneling": ("0", "BoolValue", b""),
            "envoy.upstream.dynamic_port": ("99", "UInt32Value", b"\x08c"),
        }
        info = served()
        for kind, (text, _, _) in kinds.items():
            value = FACTORIES[kind](text)
            assert value is not None
            info.set_filter_state(kind, value)
        cluster = FACTORIES["envoy.tcp_proxy.cluster"]("c")
        assert cluster is not None
        info.set_filter_state("untyped", cluster)
        found = entry(info, "absent", "untyped", *kinds).common_properties.filter_state_objects
        self.assertEqual(
            {key: (value.TypeName(), value.value) for key, value in found.items()},
            {key: (f"google.protobuf.{name}", data) for key, (_, name, data) in kinds.items()},
        )

    def test_numbers_in_filter_state(self) -> None:
        """Each number of 32 bits has the form of one, the first and the last too."""
        for number in (0, 2**32 - 1):
            info = served()
            value = FACTORIES["envoy.upstream.dynamic_port"](str(number))
            assert value is not None
            info.set_filter_state("n", value)
            found = entry(info, "n").common_properties.filter_state_objects["n"]
            wrapped = wrappers_pb2.UInt32Value()
            self.assertTrue(found.Unpack(wrapped))
            self.assertEqual(number, wrapped.value)

    def test_metadata_of_any_shape(self) -> None:
        """Dynamic metadata is told as it is; what is no value of JSON, or too deep, is null."""
        info = served()
        endless: list[Any] = []
        endless.append(endless)
        info.metadata = {"ns": {"n": 1, "t": True, "s": "x", "l": [None, 1.5], "o": {}, "b": b"x"}}
        fields = entry(info).common_properties.metadata.filter_metadata["ns"].fields
        self.assertEqual(fields["n"].number_value, 1)
        self.assertIs(fields["t"].bool_value, True)
        self.assertEqual(fields["l"].list_value.values[1].number_value, 1.5)
        self.assertEqual(fields["o"].WhichOneof("kind"), "struct_value")
        self.assertEqual(fields["b"].WhichOneof("kind"), "null_value")
        info.metadata = {"ns": {"e": endless}}
        self.assertGreater(entry(info).ByteSize(), 0)

    @settings(deadline=None)
    @given(st.text(st.characters()), st.binary(max_size=40))
    def test_hostile_texts(self, text: str, data: bytes) -> None:
        """Whatever a client sent, its connection is recorded."""
        info = served()
        texts = (text, data.decode("utf-8", "surrogateescape"), "\ud800")
        for each in texts:
            info.hello = ClientHello(each)
            info.termination_details = each
            info.metadata = {each: {each: each}}
            info.set_filter_state("k", Text(each))
            found = entry(info, "k")
            again = accesslog_pb2.TCPAccessLogEntry.FromString(found.SerializeToString())
            self.assertEqual(again, found)
