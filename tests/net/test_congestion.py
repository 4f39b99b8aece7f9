"""Which congestion control the sockets of loopback addresses have."""

from __future__ import annotations

import os
import socket
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net import congestion
from tcpmesh.net.epoll.network import EpollNetwork
from tcpmesh.net.listen import bind
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions, SocketOption

CUBIC = SocketOption(socket.IPPROTO_TCP, getattr(socket, "TCP_CONGESTION", 13), b"cubic")


def control(sock: Any) -> bytes:
    """The congestion control of a socket."""
    name: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.rstrip(b"\0")


def offered() -> bytes:
    """What this system has, besides what every Linux has."""
    try:
        with open("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "rb") as f:
            return f.read()
    except OSError:
        return b""


class DefaultTests(SynchronousTestCase):
    """What the system's default is said to be."""

    def paces(self, default: bytes | None) -> bool:
        """The answer where the file of the system has this content."""
        path = self.mktemp()
        if default is not None:
            with open(path, "wb") as f:
                f.write(default)
        self.patch(congestion, "DEFAULT", path)
        congestion.default_paces.cache_clear()
        self.addCleanup(congestion.default_paces.cache_clear)
        return congestion.default_paces()

    def test_paces(self) -> None:
        """BBR of every version paces; others do not, nor does a system that does not tell."""
        self.assertEqual(
            [True, True, False, False],
            [self.paces(each) for each in (b"bbr\n", b"bbr3\n", b"cubic\n", None)],
        )


@skipUnless(hasattr(socket, "TCP_CONGESTION"), "only Linux and FreeBSD have a choice")
class BoundTests(SynchronousTestCase):
    """Sockets that listen, where the system's default paces."""

    def bound(self, address: Address, options: ListenOptions | None = None) -> bytes:
        """The congestion control of a socket bound to an address."""
        sock = bind(address, options or ListenOptions())
        self.addCleanup(sock.close)
        return control(sock)

    def setUp(self) -> None:
        with socket.socket() as sock:
            self.default = control(sock)
        self.patch(congestion, "default_paces", lambda: True)

    def test_loopback(self) -> None:
        """Those of loopback addresses do not pace, over IPv4 and IPv6."""
        self.assertEqual(
            [b"reno"] * 3, [self.bound(Address(host)) for host in ("127.0.0.1", "127.1.2.3", "::1")]
        )

    def test_others(self) -> None:
        """Those that clients from elsewhere may reach keep the system's default."""
        self.assertEqual(
            [self.default] * 2, [self.bound(Address(host)) for host in ("0.0.0.0", "::")]
        )

    def test_no_pacing_default(self) -> None:
        """Where the default does not pace, it is left to loopback addresses too."""
        self.patch(congestion, "default_paces", lambda: False)
        self.assertEqual(self.default, self.bound(Address("127.0.0.1")))

    @skipUnless(b"cubic" in offered(), "this system does not offer cubic")
    def test_chosen(self) -> None:
        """What `socket_options` choose is not touched."""
        self.assertEqual(
            b"cubic", self.bound(Address("127.0.0.1"), ListenOptions(before_bind=(CUBIC,)))
        )

    def test_refused(self) -> None:
        """A system that forbids the choice gets its own way: nothing is raised."""
        self.patch(congestion, "PLAIN", b"no such thing")
        self.assertEqual(self.default, self.bound(Address("127.0.0.1")))


class Watching(ClientFactory):
    """Looks at the sockets of a connection as soon as it is made."""

    noisy = False

    def __init__(self) -> None:
        self.made: Deferred[bytes] = Deferred()

    def buildProtocol(self, addr: Any) -> Protocol:
        """A protocol that tells."""
        made = self.made

        class Told(Protocol):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                fd = transport.fileno() if hasattr(transport, "fileno") else transport.fd
                with socket.socket(fileno=os.dup(fd)) as sock:
                    made.callback(control(sock))
                transport.abortConnection()

        return Told()


@skipUnless(hasattr(socket, "TCP_CONGESTION"), "only Linux and FreeBSD have a choice")
class ConnectingTests(TestCase):
    """Connections to a loopback address, where the system's default paces."""

    async def connected(self, network: Any, options: ConnectOptions | None = None) -> bytes:
        """The congestion control of a connection just made."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        factory = Watching()
        network.connect(
            Address.from_sockaddr(listening.family, listening.getsockname()), factory, 5.0, options
        )
        return await factory.made

    def networks(self) -> list[Any]:
        """Both kinds."""
        epoll, stock = EpollNetwork(reactor), StockNetwork(reactor)
        self.addCleanup(epoll.stop)
        self.patch(congestion, "default_paces", lambda: True)
        return [epoll, stock]

    async def test_loopback(self) -> None:
        """They do not pace, whichever transports are used."""
        self.assertEqual(
            [b"reno"] * 2, [await self.connected(network) for network in self.networks()]
        )

    @skipUnless(b"cubic" in offered(), "this system does not offer cubic")
    async def test_chosen(self) -> None:
        """What `socket_options` choose is not touched."""
        options = ConnectOptions(before_bind=(CUBIC,))
        self.assertEqual(
            [b"cubic"] * 2, [await self.connected(network, options) for network in self.networks()]
        )
