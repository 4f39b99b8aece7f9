"""Operators for the client's connection itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.stream.stream_info import REMOTE_RESET, ClientHello, StreamInfo
from tests.accesslog.known import known, said


class ConnectionTests(SynchronousTestCase):
    """What is said of a connection."""

    def test_bytes(self) -> None:
        """Bytes are counted where they are read and written: of the client's side, and of the
        upstream's.
        """
        text = (
            "%BYTES_RECEIVED% %BYTES_SENT% %DOWNSTREAM_WIRE_BYTES_RECEIVED% "
            "%DOWNSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED%"
        )
        self.assertEqual(said(text), "10 1999 10 1999 9 2000")

    def test_where_it_came_in(self) -> None:
        """Its listener, its filter chain and its number; the chain may have no name."""
        text = "%LISTENER_NAME% %FILTER_CHAIN_NAME% %CONNECTION_ID% %ACCESS_LOG_TYPE%"
        self.assertEqual(said(text), "entry chain 7 TcpConnectionEnd")
        self.assertEqual(said(text, StreamInfo()), "- - 0 TcpConnectionEnd")

    def test_stream_id(self) -> None:
        """STREAM_ID is a random UUID that a connection keeps."""
        about = known()
        first = said("%STREAM_ID%", about)
        self.assertRegex(first, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual(first, said("%STREAM_ID%", about))
        self.assertNotEqual(first, said("%STREAM_ID%"))

    def test_end(self) -> None:
        """How and why it ended, in Envoy's words; nothing stands where there is nothing to say."""
        text = (
            "%DOWNSTREAM_DETECTED_CLOSE_TYPE% %DOWNSTREAM_LOCAL_CLOSE_REASON% "
            "%CONNECTION_TERMINATION_DETAILS%"
        )
        about = known()
        self.assertEqual(said(text, about), "Normal - -")
        about.close_type, about.local_close_reason = REMOTE_RESET, "over_connection_limit"
        about.termination_details = "no such thing"
        self.assertEqual(said(text, about), "RemoteReset over_connection_limit no such thing")

    def test_details(self) -> None:
        """RESPONSE_CODE_DETAILS has an underscore for each blank, unless they are allowed."""
        about = known()
        about.details = "a b\t c"
        text = "%RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%"
        self.assertEqual(said(text, about), "a_b__c a b\t c")
        self.assertEqual(said(text), "- -")

    def test_server_name(self) -> None:
        """A server name is shown without what could not be part of one, and marked then: as Envoy
        wrote the same bytes.
        """
        names = {
            "": "-",
            "good.example": "good.example",
            "x_y": "x_y",
            "*.a": "invalid:_.a",
            "a:80": "invalid:a_80",
            'a b"c\\\nd\xe9_x%': "invalid:a_b_c__d___x_",
            "\udcff\ud800": "invalid:__",
        }
        for name, expected in names.items():
            about = known()
            about.hello = ClientHello(server_name=name, ja3="3", ja4="4")
            self.assertEqual(said("%REQUESTED_SERVER_NAME%", about), expected)
            self.assertEqual(said("%REQUESTED_SERVER_NAME(SNI_FIRST)%", about), expected)
            self.assertEqual(said("%TLS_JA3_FINGERPRINT%%TLS_JA4_FINGERPRINT%", about), "34")
        self.assertEqual(said("%TLS_JA3_FINGERPRINT%%TLS_JA4_FINGERPRINT%"), "--")

    def test_no_tls(self) -> None:
        """Why a client does not speak TLS is written without blanks."""
        about = known()
        self.assertEqual(said("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", about), "-")
        about.hello = ClientHello(failure="TLS_error|x y:TLS_error_end")
        text = said("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", about)
        self.assertEqual(text, "TLS_error|x_y:TLS_error_end")

    def test_without_tls(self) -> None:
        """Of a connection without TLS, nothing is known that only a handshake tells."""
        text = "%DOWNSTREAM_TLS_VERSION% %UPSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_CERT_V_START%"
        self.assertEqual(said(text), "- - -")
