"""The listener filter original_dst, told by a network in memory what the kernel would tell."""

from __future__ import annotations

import socket
from unittest import skipUnless

from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from zope.interface.verify import verifyClass

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.filters.listener.original_dst import OriginalDst
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.net.sockets import SO_ORIGINAL_DST, original_destination
from tcpmesh.values.socket_options import IP_TRANSPARENT
from tests.extensions.filters.listener.inspected import ListenerFilterTestCase
from tests.mesh import FRONT, tcp_proxy

FILTER = (
    f"{{name: o, typed_config: {{'@type': "
    f"type.googleapis.com/{original_dst_pb2.OriginalDst.DESCRIPTOR.full_name}}}}}"
)


class OriginalDstTests(ListenerFilterTestCase):
    """The filter before a tcp_proxy."""

    def setUp(self) -> None:
        """A listener with the filter, and a host."""
        super().setUp()
        self.mesh.add_listener("l", FRONT, tcp_proxy(), f"listener_filters: [{FILTER}]")
        self.mesh.listeners.start()

    def test_interface(self) -> None:
        """It is a listener filter."""
        verifyClass(IListenerFilter, OriginalDst)

    def test_restores(self) -> None:
        """The local address of a redirected client is the one it wanted, of either family; it is
        served where it came in.
        """
        for wanted in ("10.1.1.1:99", "[fd00::1]:99"):
            client = self.mesh.redirect(wanted)
            self.assertEqual(wanted, str(self.mesh.connections[-1].stream_info.local_address))
            self.assertEqual(FRONT, str(self.mesh.connections[-1].transport.getHost()))
            self.assertFalse(client.ended)
        self.assertEqual(2, len(self.upstream.built))

    def test_not_redirected(self) -> None:
        """A client that came directly has no restored address, and the remote address of either is
        its own.
        """
        client = self.mesh.connect()
        connection = self.mesh.connections[-1]
        self.assertIsNone(connection.stream_info.restored_local)
        self.assertEqual(FRONT, str(connection.stream_info.local_address))
        self.assertEqual(client.transport.getHost(), connection.stream_info.remote_address)


class FakeSocket:
    """A socket with the given options, by level and name; others are an error."""

    def __init__(self, own: tuple[str, int], **options: bytes | int) -> None:
        self.family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
        self._own = own
        self._options = options

    def getsockname(self) -> tuple[str, int]:
        """Its address."""
        return self._own

    def getsockopt(self, level: int, name: int, size: int = 0) -> bytes | int:
        """What the kernel would say."""
        key = {IP_TRANSPARENT: "transparent", 75: "transparent", SO_ORIGINAL_DST: "original"}[name]
        if level not in (socket.SOL_IP, socket.IPPROTO_IPV6) or key not in self._options:
            raise OSError("no such thing")
        return self._options[key]


V4 = bytes.fromhex("0200 0050 0a010101 0000000000000000")
V6 = bytes.fromhex("0a00 0050 00000000 fd000000000000000000000000000001 00000000")


class KernelTests(SynchronousTestCase):
    """What is made of the kernel's answers."""

    def told(self, own: tuple[str, int], **options: bytes | int) -> str:
        """The original destination as text."""
        return str(original_destination(FakeSocket(own, **options)))

    def test_redirected(self) -> None:
        """SO_ORIGINAL_DST tells the address, of both families."""
        self.assertEqual("10.1.1.1:80", self.told(("127.0.0.1", 1), transparent=0, original=V4))
        self.assertEqual("[fd00::1]:80", self.told(("::1", 1), transparent=0, original=V6))

    def test_own_address(self) -> None:
        """Connection tracking tells the own address of a socket that was not redirected; that is
        none, or the proxy would loop.
        """
        self.assertEqual("None", self.told(("10.1.1.1", 80), transparent=0, original=V4))

    def test_untracked(self) -> None:
        """Without connection tracking there is none."""
        self.assertEqual("None", self.told(("127.0.0.1", 1), transparent=0))

    def test_transparent(self) -> None:
        """The own address of a transparent socket is what the client wanted."""
        self.assertEqual("10.1.1.1:80", self.told(("10.1.1.1", 80), transparent=1, original=V4))
        self.assertEqual("[fd00::1]:80", self.told(("fd00::1", 80), transparent=1))

    @skipUnless(hasattr(socket, "SOL_IP"), "needs Linux's socket options")
    def test_real_sockets(self) -> None:
        """Sockets that were not redirected, connected or not, have none, and none raises."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with (
                socket.create_server((host, 0), family=family) as server,
                socket.create_connection(server.getsockname()[:2]) as one,
            ):
                self.assertEqual([None] * 2, [original_destination(each) for each in (server, one)])
