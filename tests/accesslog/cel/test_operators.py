"""The operators CEL and TYPED_CEL: what expressions come to, as Envoy wrote it."""

from __future__ import annotations

import json
from typing import Any

from envoy.config.core.v3 import base_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.operators import Operators
from tcpmesh.config.fields.operators import FormatError
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.stream_info import ClientHello, StreamInfo
from tests.accesslog.known import LATER, connected, known, said
from tests.extras import needs_cel


def typed(expression: str, info: StreamInfo | None = None, node: Any = None) -> Any:
    """What TYPED_CEL yields."""
    line = JsonFormat({"a": f"%TYPED_CEL({expression})%"}, known=Operators(node)).format(
        info or connected(), LATER
    )
    return json.loads(line)["a"]


@needs_cel
class TextTests(SynchronousTestCase):
    """What CEL writes."""

    def test_kinds(self) -> None:
        """Each kind of value has its text."""
        texts = {
            "1+1": "2",
            "1.5": "1.5",
            "1234567.0": "1.23457e+06",
            '"a"': "a",
            "true": "true",
            "null": "NULL",
            "[1]": "CelList value",
            "{'a':1}": "CelMap value",
            "source": "CelMap value",
            "type(1)": "CelType value",
            'duration("1s")': "1s",
            'duration("3723.5s")': "1h2m3.5s",
            'duration("-0.000093s")': "-93us",
            'duration("0.0025s")': "2.5ms",
            'duration("0.000999s")': "999us",
            'duration("0.001s")': "1ms",
            'duration("1s") - duration("0.000001s")': "999.999ms",
            'duration("0s")': "0",
            "request.time": "2026-11-24T17:31:50.442668+00:00",
            'xds.cluster_metadata.filter_metadata["m"]["k"]': "v",
            "nonsense": "-",
            "1/0": "-",
            "request.path": "-",
        }
        for expression, text in texts.items():
            self.assertEqual(said(f"%CEL({expression})%", connected()), text, expression)
        self.assertEqual(said('%CEL("abc"):2%'), "ab")
        self.assertEqual(said('%CEL(b"a\\xff")%').encode("utf-8", "surrogateescape"), b"a\xff")

    def test_message(self) -> None:
        """A message is written on one line, as protobuf's text."""
        text = said("%CEL(xds.listener_metadata)%")
        self.assertTrue(text.startswith("filter_metadata { key: "), text)

    def test_refused(self) -> None:
        """What is no expression cannot be built."""
        self.assertRaises(FormatError, said, "%CEL(1+)%")


@needs_cel
class ValueTests(SynchronousTestCase):
    """What TYPED_CEL yields."""

    def test_kinds(self) -> None:
        """Each kind of value is one of JSON; bytes are in base64."""
        values: dict[str, Any] = {
            "1+1": 2,
            "1u": 1,
            "1.5": 1.5,
            "1.0": 1,
            '"a"': "a",
            "true": True,
            "null": None,
            "[1, 2.5, true, null]": [1, 2.5, True, None],
            '{"b":[1,{"a":2u}],"c":b"x"}': {"b": [1, {"a": 2}], "c": "eA=="},
            "type(1)": None,
            'b"ab"': "YWI=",
            'duration("1s")': "1s",
            'duration("-1.5s")': "-1.500s",
            'duration("0.001631s")': "0.001631s",
            'timestamp("2020-01-01T00:00:00Z")': "2020-01-01T00:00:00Z",
            "request.time": "2026-11-24T17:31:50.442668Z",
            "nonsense": None,
        }
        for expression, value in values.items():
            self.assertEqual(typed(expression), value, expression)

    def test_in_a_text(self) -> None:
        """In a text they are what CEL writes."""
        for expression in ("[1]", "1.5", "true", "xds.listener_metadata", 'b"ab"', '"x"', "7"):
            self.assertEqual(said(f"%TYPED_CEL({expression})%"), said(f"%CEL({expression})%"))
        self.assertEqual(said('%TYPED_CEL("abc"):2%'), "ab")


@needs_cel
class AttributeTests(SynchronousTestCase):
    """What expressions know of a connection."""

    def test_connected(self) -> None:
        """All attributes that a TCP connection has."""
        info = connected()
        info.flags = ResponseFlag.UF | ResponseFlag.URX
        info.termination_details = "a\udcffb"
        info.hello = ClientHello(server_name="A b")
        values: dict[str, Any] = {
            "connection.id": 7,
            "connection.mtls": False,
            "connection.requested_server_name": "invalid:A_b",
            "connection.termination_details": "a\ufffdb",
            "connection.tls_version": None,
            "source.address": "127.0.0.1:36210",
            "source.port": 36210,
            "destination.address": "127.0.0.1:32116",
            "destination['port']": 32116,
            "upstream.address": "10.0.0.3:5432",
            "upstream.port": 5432,
            "upstream.local_address": "10.0.0.1:40000",
            "upstream.locality": {},
            "upstream.transport_failure_reason": "delayed_connect_error:_Connection_refused",
            "upstream.request_attempt_count": 2,
            "upstream.cx_pool_ready_duration": "0.250s",
            "request.size": 10,
            "request.total_size": 10,
            "request.duration": "1.250s",
            "request.headers": {},
            "request.headers_bytes": 0,
            "response.headers": {},
            "response.trailers": {},
            "response.headers_bytes": 0,
            "response.size": 1999,
            "response.total_size": 1999,
            "response.flags": 0x8020,
            "response.code": None,
            "metadata.filter_metadata.ns.deep.list[0]": 1,
            "metadata.filter_metadata['ns']['word']": "x y",
            "filter_state.pre": "YSJiLDE=",
            "filter_state['addr'].port": 80,
            "upstream_filter_state.pre": "YSJiLDE=",
            "upstream_filter_state.num": None,
            "xds.cluster_name": "db",
            "xds.cluster_metadata.filter_metadata.m.deep": {"x": [1, "a"]},
            "xds.upstream_host_metadata.filter_metadata.h.k": "hv",
            "xds.upstream_host_locality_metadata": None,
            "xds.filter_chain_name": "chain",
            "xds.listener_metadata.filter_metadata.l.k": "lv",
            "xds.listener_direction": 1,
            "xds.node": None,
        }
        for expression, value in values.items():
            self.assertEqual(typed(expression, info), value, expression)

    def test_without_an_upstream(self) -> None:
        """What there is no upstream for is absent; an empty text or message stands for what Envoy
        has one.
        """
        values: dict[str, Any] = {
            "connection.requested_server_name": "",
            "connection.termination_details": None,
            "upstream.address": None,
            "upstream.local_address": None,
            "upstream.transport_failure_reason": "",
            "upstream.cx_pool_ready_duration": None,
            "request.duration": None,
            "metadata": {},
            "filter_state": {},
            "upstream_filter_state": {},
            "xds.cluster_name": None,
            "xds.cluster_metadata": None,
            "xds.listener_metadata": {},
            "xds.filter_chain_name": "",
        }
        for expression, value in values.items():
            self.assertEqual(typed(expression, StreamInfo()), value, expression)

    def test_no_utf8(self) -> None:
        """What is no UTF-8 in metadata is replaced, however deep it stands."""
        info = known()
        info.metadata = {"n": {"k": ["x\udcff", {"\udcfe": "\udcfd", "one": 1}]}}
        expected = ["x\ufffd", {"\ufffd": "\ufffd", "one": 1}]
        self.assertEqual(typed("metadata.filter_metadata.n.k", info), expected)

    def test_node(self) -> None:
        """Where the proxy is a node, expressions may ask for it."""
        node = base_pb2.Node(id="n", locality=base_pb2.Locality(zone="z"))
        self.assertEqual(typed("xds.node", node=node), {"id": "n", "locality": {"zone": "z"}})
        self.assertEqual(typed("xds.node.id", known(), node), "n")
