"""Extensions of PROXY headers whose values are formats."""

from __future__ import annotations

from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.tlvs import TlvEntries
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import ClientHello, StreamInfo
from tests.mesh import parse


class TlvTests(SynchronousTestCase):
    """What entries add."""

    def test_values(self) -> None:
        """A value is as it was given, a format as the connection is."""
        text = "{text_format: '%CONNECTION_ID% %REQUESTED_SERVER_NAME%'}"
        json = "{json_format: {id: '%CONNECTION_ID%'}}"
        entries = f"{{type: 1, value: /w==}}, {{format_string: {text}}}, {{format_string: {json}}}"
        message = parse(ProxyProtocolConfig, f"added_tlvs: [{entries}]")
        made = TlvEntries(message.added_tlvs, None)
        info = StreamInfo(7)
        info.hello = ClientHello("a.test")
        self.assertTrue(made)
        self.assertEqual(
            ((1, b"\xff"), (0, b"7 a.test"), (0, b'{"id":7}\n')), made.of(info, Moment(0, 0))
        )

    def test_none(self) -> None:
        """Without entries there is nothing to ask for."""
        self.assertFalse(TlvEntries((), None))
