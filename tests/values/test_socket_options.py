"""The options of outgoing sockets, as the system has them afterwards."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectBindError
from twisted.trial.unittest import TestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import (
    PATIENCE,
    Client,
    HarnessTestCase,
    Server,
    SocketHarness,
    TransportHarness,
)
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, OptionError, SocketOption, keepalive

NOWHERE = SocketOption(99, 99, 1)


class StockTests(HarnessTestCase, TestCase):
    """Options on Twisted's own transports."""

    family = "tcp4"

    def make_harness(self) -> TransportHarness:
        """Real sockets."""
        return SocketHarness(reactor, StockNetwork, self.family)

    async def connected(self, options: ConnectOptions) -> tuple[Any, Any]:
        """The transport of a client that has connected with these options, and the server's."""
        server = RecordingProtocol()
        client = Client(RecordingProtocol())
        self.harness.recorders += [server, client.given]
        port = self.harness.listen(Server(server))
        self.harness.network.connect(port.getHost(), client, PATIENCE, options)
        await self.harness.until(
            lambda: client.failure or (client.connected and server.transport), "the connection"
        )
        assert client.failure is None, client.failure
        return client.given.transport, server.transport

    async def failure(self, options: ConnectOptions) -> Exception:
        """Why a client with these options does not connect."""
        client = Client(RecordingProtocol())
        self.harness.network.connect(
            self.harness.listen(Server()).getHost(), client, PATIENCE, options
        )
        self.assertIsNone(client.failure)
        await self.harness.until(lambda: client.failure, "the failure")
        assert client.failure is not None and isinstance(client.failure.value, Exception)
        return client.failure.value

    async def test_keepalive(self) -> None:
        """Keepalive is on, with the numbers given and the system's for the others."""
        transport, _ = await self.connected(ConnectOptions(before_bind=keepalive(3, 40, None)))
        self.assertTrue(transport.getTcpKeepAlive())
        values = [
            self.option(transport, socket.IPPROTO_TCP, name)
            for name in (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE)
        ]
        self.assertEqual([3, 40], values)
        with socket.socket() as other:
            default = other.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        self.assertEqual(default, self.option(transport, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL))

    async def test_port(self) -> None:
        """A source with a port is bound to that port."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.4", 0))
            source = Address.from_sockaddr(socket.AF_INET, probe.getsockname())
        reuse = SocketOption(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _, far = await self.connected(ConnectOptions(source, before_bind=(reuse,)))
        self.assertEqual(source, far.getPeer())

    async def test_after_bind(self) -> None:
        """Options are set after binding too, as numbers and as bytes."""
        options = (
            SocketOption(socket.IPPROTO_IP, socket.IP_TTL, 17),
            SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, (1).to_bytes(4, sys.byteorder)),
        )
        transport, _ = await self.connected(
            ConnectOptions(Address("127.0.0.4"), after_bind=options)
        )
        self.assertEqual(17, self.option(transport, socket.IPPROTO_IP, socket.IP_TTL))
        self.assertTrue(transport.getTcpKeepAlive())

    async def test_refused_option(self) -> None:
        """An option that the system does not know fails the attempt, and the reason names it."""
        for options in (
            ConnectOptions(before_bind=(NOWHERE,)),
            ConnectOptions(after_bind=(NOWHERE,)),
        ):
            problem = await self.failure(options)
            self.assertIs(OptionError, type(problem))
            self.assertIn("99/99", str(problem))

    async def test_freebind(self) -> None:
        """With freebind a source that this machine does not have can be bound: then it is the way
        back that is missing.
        """
        foreign = Address("203.0.113.7")
        self.assertIsInstance(await self.failure(ConnectOptions(foreign)), ConnectBindError)
        with socket.socket() as sock:
            ConnectOptions(foreign, freebind=True).apply(sock)
            self.assertEqual("203.0.113.7", sock.getsockname()[0])
        with socket.socket(socket.AF_INET6) as sock:
            ConnectOptions(Address("2001:db8::1"), freebind=True).apply(sock)
            self.assertEqual("2001:db8::1", sock.getsockname()[0])

    async def test_no_port_before_connect(self) -> None:
        """A source without a port takes none before it connects, so that one port serves for many
        destinations.
        """
        with socket.socket() as sock:
            ConnectOptions(Address("127.0.0.4")).apply(sock)
            self.assertEqual(("127.0.0.4", 0), sock.getsockname())

    def option(self, transport: Any, level: int, name: int) -> int:
        """An option of a transport's socket."""
        return int(transport.socket.getsockopt(level, name))


if sys.platform == "linux":
    from tcpmesh.net.epoll.network import EpollNetwork

    class EpollTests(StockTests):
        """Options on the epoll transports."""

        def make_harness(self) -> TransportHarness:
            """Real sockets in an epoll set."""
            return SocketHarness(reactor, EpollNetwork, self.family)

        def option(self, transport: Any, level: int, name: int) -> int:
            """An option of a transport's socket."""
            with socket.socket(fileno=socket.dup(transport.fd)) as sock:
                return sock.getsockopt(level, name)
