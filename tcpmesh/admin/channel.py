"""A client's connection to the admin interface and the requests that come by it: counted, and with
bounds where Twisted's have none.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString

from tcpmesh.admin.traffic import AdminTraffic

BODY_LIMIT = 1 << 14
"""Bytes of the body of a request: that of a form, for no page wants any other."""

GRACE = 1.0
"""Seconds to answer who has asked and then sent end of stream."""

MOST_PIECES = 1000
"""Pieces in which a body may come, so that nobody sends it in chunks of a byte."""

HEAD_LIMIT = 60 << 10
"""Bytes of a request line and the header fields after it, as in Envoy."""

MOST_FIELDS = 100
"""Header fields of a request, as in Envoy."""

HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 31\r\n\r\nRequest Header Fields Too Large"
)

TOO_LARGE = b"HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BodyTooLarge(Exception):
    """A request has more of a body than it may have."""


class AdminRequest(Request):
    """A request whose query and body wait for whoever wants to know them.

    Twisted would write a large body to a file, and parse forms and all their parts before anybody
    has asked for them.
    """

    began = 0.0
    """When it was whole, by the clock of the site."""

    _pieces = 0
    _is_too_large = False

    def gotLength(self, length: int | None) -> None:
        """The header fields are there, which tell the length unless the body comes in chunks."""
        self.content = BytesIO()
        self._is_too_large = length is not None and length > BODY_LIMIT

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body.

        :raise BodyTooLarge: where it is one too many.
        """
        assert self.content is not None
        self._pieces += 1
        if self._pieces > MOST_PIECES or self.content.tell() + len(data) > BODY_LIMIT:
            self._is_too_large = True
        if self._is_too_large:
            raise BodyTooLarge
        self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is whole."""
        assert self.content is not None
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.args = {}
        self.process()

    def process(self) -> None:
        """Have the site answer it, whatever the method."""
        self.setHeader(b"date", datetimeToString())
        channel_of(self).site.answer(self)


class AnswersRequests(Protocol):
    """The site of a channel."""

    traffic: AdminTraffic

    def answer(self, request: AdminRequest) -> None:
        """Answer a request, at once or later."""


@implementer(IHalfCloseableProtocol)
class AdminChannel(HTTPChannel):
    """A client's connection: counted, and followed by what had to wait until the client is gone.

    One that has sent all it will, as `nc -N` does, still gets its answers, if that does not take
    long: most who send end of stream are gone, and nobody would take a long answer.
    """

    site: AnswersRequests
    requestFactory = AdminRequest
    _opened_at = 0.0
    MAX_LENGTH = HEAD_LIMIT
    totalHeadersSize = HEAD_LIMIT
    maxHeaders = MOST_FIELDS

    def __init__(self) -> None:
        super().__init__()
        self.afterwards: Callable[[], object] | None = None
        self._has_spoken = False
        self._is_refused = False
        self._head = self._fields = 0
        """Bytes and fields of the head of a request so far."""
        self._is_read = False
        """Whether the client sends no more."""
        self.number: int | None = None
        """Its number in access logs, from the first record on."""
        self._grace: IDelayedCall | None = None
        """The end of the time that is left for its answers then."""

    def connectionMade(self) -> None:
        """Count the connection."""
        self._opened_at = self.site.traffic.opened()
        super().connectionMade()

    def asked(self, request: Any) -> None:
        """Count a request."""
        if not self._has_spoken:
            self._has_spoken = True
            self.site.traffic.spoke()
        request.began = self.site.traffic.asked(request.notifyFinish())

    def lineReceived(self, line: bytes) -> None:
        """A line of a head, which may have so many bytes and fields."""
        self._head += len(line)
        self._fields += 1
        if self._is_refused:
            return
        if self._head > HEAD_LIMIT or self._fields > MOST_FIELDS + 1:
            self._refuse(HEAD_TOO_LARGE)
            return
        if not line:
            self._head = self._fields = 0
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line is too long by itself, and may not have ended yet."""
        self._refuse(HEAD_TOO_LARGE)

    def dataReceived(self, data: bytes) -> None:
        """Bytes; of whoever was refused they are thrown away."""
        if not self._is_refused:
            super().dataReceived(data)

    def _refuse(self, answer: bytes) -> None:
        if self._is_refused:
            return
        self._is_refused = True
        self.write(answer)
        self.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of a body; whoever sends too many is refused."""
        if self._is_refused:
            return
        try:
            super().rawDataReceived(data)
        except BodyTooLarge:
            self._refuse(TOO_LARGE)

    def readConnectionLost(self) -> None:
        """The client has sent all it will: answer what was asked, then close."""
        self._is_read = True
        if self.requests:
            self._grace = self.callLater(GRACE, self._give_up)
        else:
            self.loseConnection()

    def _give_up(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Never: this side closes both ways."""

    def requestDone(self, request: Request) -> None:
        """A request is answered; the next one may have come with it."""
        super().requestDone(request)
        if self._is_read and not self.requests:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count its end, and do what had to wait for it."""
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        super().connectionLost(reason)
        # Twisted leaves a cycle of these, with the bytes in it, for the garbage collector.
        self._transferDecoder = None
        del self.requests[:]
        self.site.traffic.closed(self._opened_at, self._has_spoken)
        if self.afterwards is not None:
            self.afterwards()


def channel_of(request: Any) -> AdminChannel:
    """The connection that a request came by, which it forgets when it is finished."""
    assert isinstance(request.channel, AdminChannel)
    return request.channel
