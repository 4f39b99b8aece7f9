"""An HTTP client in memory: speaks bytes with a site, over a transport that can be slow."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tcpmesh.admin.channel import AdminChannel
from tcpmesh.admin.site import AdminSite
from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.interfaces import IServer
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.values.address import Address


class Transport(StringTransport):
    """Remembers being closed, and stops reading what it was told."""

    closed = False

    def loseConnection(self) -> None:
        """Remember."""
        self.closed = self.disconnecting = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay."""


@dataclass
class Response:
    """A parsed response."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> str:
        """The body as text."""
        return self.data.decode()


class Client:
    """One connection to the admin pages of a server."""

    def __init__(
        self, server: IServer, clock: Clock | None = None, site: AdminSite | None = None
    ) -> None:
        self.clock = clock or Clock()
        self.site = site or AdminSite(server, ENDPOINTS, self.clock, shared_cooperator(self.clock))
        self.transport = Transport()
        channel = self.site.buildProtocol(Address("127.0.0.1", 5))
        assert isinstance(channel, AdminChannel)
        self.channel = channel
        channel.makeConnection(self.transport)

    @property
    def producer(self) -> IPushProducer:
        """What the transport tells that it is full."""
        producer = self.transport.producer
        assert producer is not None
        return IPushProducer(producer)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """Send a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.channel.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def run(self) -> None:
        """Let everything that is due happen."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def response(self) -> Response:
        """What came back for one request."""
        self.run()
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        self.transport.clear()
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        if headers.get("transfer-encoding") == "chunked":
            body = _unchunked(body)
        return Response(int(first.split()[1]), headers, body)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
        """Send a request and take the response."""
        self.send(method, path, body, **headers)
        return self.response()

    def leave(self) -> None:
        """Close the connection."""
        self.channel.connectionLost(Failure(ConnectionDone()))


def _unchunked(body: bytes) -> bytes:
    """The body without its chunks; raises `AssertionError` where it does not end as it should."""
    found: list[bytes] = []
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n", "a chunk is cut off"
        if not length:
            assert rest == b"\r\n", "bytes after the last chunk"
            return b"".join(found)
        found.append(rest[:length])
        body = rest[length + 2 :]
