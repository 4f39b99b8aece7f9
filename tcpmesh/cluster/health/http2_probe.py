"""The HTTP health check over HTTP/2 (`codec_client_type: HTTP2`): what it asks and demands is that
of `http_probe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import time
from typing import Any, NamedTuple

from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
)

from tcpmesh.cluster.health.http2_exchange import Http2Probe
from tcpmesh.cluster.health.http_check import HttpCheck, judge
from tcpmesh.cluster.health.probe import IResults, Terms
from tcpmesh.cluster.health.request_headers import Headers
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

    def event(self, event: Event) -> None:
        """Read the answer; trailers say nothing."""
        if isinstance(event, ResponseReceived):
            self._head(event)
        elif isinstance(event, DataReceived):
            self._kept += (event.data or b"")[: self._check.keep - len(self._kept)]
        elif isinstance(event, StreamEnded):
            self._judge()
        elif (
            isinstance(event, InformationalResponseReceived)
            and _status(_texts(event.headers)) == "101"
        ):
            self.break_off()

    def _head(self, event: ResponseReceived) -> None:
        self._fields = _texts(event.headers)
        self._kept = bytearray()
        status = _status(self._fields)
        if len(status) == 3 and status.isdigit():
            self._status = int(status)
        else:
            self.break_off()

    def _judge(self) -> None:
        self.close_stream(True)
        judge(self, self._check, Http2Response(self._status, self._fields, bytes(self._kept)))


def _texts(headers: Iterable[Any] | None) -> Headers:
    return tuple((str(name), str(value)) for name, value in headers or ())


def _status(fields: Headers) -> str:
    return dict(fields)[":status"]
