"""The access logs of the admin interface: each request that was answered, as Envoy has it, in the
record of a connection that came for this alone.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from tcpmesh.accesslog.access_logs import AccessLogs
from tcpmesh.admin.channel import AdminRequest, channel_of
from tcpmesh.values.address import Address
from tcpmesh.values.stream.http_request import HttpRequest
from tcpmesh.values.stream.moment import LogType
from tcpmesh.values.stream.stream_info import StreamInfo


class _Ends:
    """The addresses of a client's connection."""

    def __init__(self, request: AdminRequest) -> None:
        self._request = request

    def getPeer(self) -> Address:
        """The client's."""
        return _address(self._request.getClientAddress())

    def getHost(self) -> Address:
        """This side's."""
        return _address(self._request.getHost())


class AdminLog:
    """Writes down requests.

    :param logs: where, closed with `close`.
    """

    def __init__(self, logs: AccessLogs, clock: IReactorTime) -> None:
        self._logs = logs
        self._clock = clock
        self._numbers = count()

    def answered(self, request: AdminRequest) -> None:
        """A request was answered."""
        channel = channel_of(request)
        if channel.number is None:
            channel.number = next(self._numbers)
        info = StreamInfo(channel.number, _Ends(request), request.began)
        info.ended = self._clock.seconds()
        received = len(request.content.getvalue()) if request.content is not None else 0
        info.bytes = (received, 0, 0, request.sentLength)
        info.details = "admin_filter_response"
        self._logs.log(info, LogType.DOWNSTREAM_END, request_of(request))

    def close(self) -> None:
        """No more requests come."""
        self._logs.close()


def request_of(request: Request) -> HttpRequest:
    """A request of Twisted's as a value; who has asked is in `x-forwarded-for`, as in Envoy."""
    headers = _fields(request.requestHeaders)
    client = _address(request.getClientAddress()).host
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded},{client}" if forwarded else client
    headers.setdefault("x-forwarded-proto", "http")
    return HttpRequest(
        _text(request.method),
        _text(request.uri),
        _text(request.clientproto),
        request.code,
        headers,
        _fields(request.responseHeaders),
    )


def _fields(headers: Any) -> dict[str, str]:
    return {
        _text(name).lower(): ",".join(map(_text, values))
        for name, values in headers.getAllRawHeaders()
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _address(address: Any) -> Address:
    """An address of Twisted's as ours."""
    if isinstance(address, Address):
        return address
    return Address(getattr(address, "host", ""), getattr(address, "port", 0))
