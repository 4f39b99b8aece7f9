"""Operators of HTTP: of a connection they say nothing, of a request to the admin interface what it
was.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.values.stream.http_request import HttpRequest
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

TEXT = (
    "%REQ(A)% %REQ(NO?A)% %REQUEST_HEADER(:AUTHORITY)% %RESP(B)% %RESPONSE_HEADER(:STATUS)% "
    "%PROTOCOL% %RESPONSE_CODE% %PATH(WQ)% %PATH(NQ)% %QUERY_PARAM(q r)% %QUERY_PARAMS% "
    "%QUERY_PARAMS(DECODED)%"
)

COUNTED = """
    REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES
    UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
    DOWNSTREAM_HEADER_BYTES_RECEIVED BYTES_RETRANSMITTED PACKETS_RETRANSMITTED
    """
"""Of which HTTP has some, and TCP none."""


class HttpTests(SynchronousTestCase):
    """What they say."""

    def said(self, at: Moment) -> str:
        """What all of them say at a moment."""
        return TextFormat(TEXT).format(StreamInfo(), at)

    def test_connection(self) -> None:
        """Of a connection there is nothing to say, and the code is 0."""
        self.assertEqual("- - - - - - 0 - - - - -", self.said(Moment(0, 0)))

    def test_counts(self) -> None:
        """There are 0 bytes of header fields in a connection, and Envoy says so."""
        for name in COUNTED.split():
            words = TextFormat(f"%{name}%").format(StreamInfo(), Moment(0, 0))
            self.assertEqual("0", words, name)

    def test_request(self) -> None:
        """Of a request all is said, by whatever spelling of a name."""
        request = HttpRequest(
            "GET", "/p?q%20r=1&s", "HTTP/1.1", 200, {"a": "1", "host": "h"}, {"b": "2"}
        )
        self.assertEqual(
            "1 1 h 2 200 HTTP/1.1 200 /p?q%20r=1&s /p 1 q%20r=1&s q r=1&s",
            self.said(Moment(0, 0, request=request)),
        )
