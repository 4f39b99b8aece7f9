"""The HTTP health check over HTTP/2 (`codec_client_type: HTTP2`): what it asks and demands is that
of `http_probe`.
"""

from __future__ import annotations

from time import time
from typing import NamedTuple

from tcpmesh.cluster.health.http2_exchange import Http2Probe
from tcpmesh.cluster.health.http_check import HttpCheck, judge
from tcpmesh.cluster.health.probe import IResults, Terms
from tcpmesh.cluster.health.request_headers import Headers
from tcpmesh.rpc.http2.connection import Http2Connection
from tcpmesh.rpc.http2.stream import Reset
from tcpmesh.values.address import Address


class Http2Response(NamedTuple):
    """A whole response."""

    status: int
    fields: Headers
    """Names and values; each character of them is a byte."""

    body: bytes

    def header(self, name: bytes) -> str | None:
        """The value of a header field, whose name is given in lower case, or `None`; several are
        joined (RFC 9110, 5.3).
        """
        wanted = name.decode("ascii")
        values = [value for each, value in self.fields if each == wanted]
        return (
            ",".join(values).encode("latin-1").decode("utf-8", "surrogateescape")
            if values
            else None
        )


class Http2CheckProbe(Http2Probe):
    """Asks one host."""

    __slots__ = ("_check", "_fields", "_kept", "_status")

    most_received = 1 << 16
    counts_body = False

    def __init__(self, terms: Terms, address: Address, results: IResults, check: HttpCheck) -> None:
        super().__init__(terms, address, results, check.body)
        self._check = check
        self._status = 0
        self._fields: Headers = ()
        self._kept = bytearray()

    def headers(self) -> Headers:
        """As the check has them; `host` is called otherwise here."""
        check, spec = self._check, self._results.spec
        pseudo = (
            (":method", check.method),
            (":authority", check.host(spec)),
            (":path", check.path),
            (":scheme", "http"),
        )
        return (*pseudo, *check.fields(spec, time()))

    def begin_stream(self, connection: Http2Connection) -> None:
        """Send the request."""
        self.request(connection, self)

    # As the observer of the request

    def on_headers(self, fields: Headers, ended: bool) -> None:
        """The head of the answer."""
        self._fields = fields
        self._kept = bytearray()
        self._status = int(dict(fields)[":status"])

    def on_data(self, data: bytes) -> None:
        """Some of its body."""
        self._kept += data[: self._check.keep - len(self._kept)]

    def on_trailers(self, fields: Headers) -> None:
        """They say nothing."""

    def on_drained(self) -> None:
        """The payload has left."""

    def on_end(self) -> None:
        """The answer is whole."""
        self.settle()
        judge(self, self._check, Http2Response(self._status, self._fields, bytes(self._kept)))

    def on_reset(self, reset: Reset) -> None:
        """There will be none."""
        self.broken_off()
