"""A listener replaced at its own address, on real sockets: there is no moment at which the address
is nobody's.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import skipUnless

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.base_pb2 import Node

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.net.listen import BindError
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.server.assembly import assemble
from tcpmesh.stats.store import Store
from tests.mesh import listener_message

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object


class ReplacementTests(Base):
    """What every kind of transports does; a class below for each.  The chains are empty: they close
    whom they accept.
    """

    def make_network(self) -> Any:
        """The network under test."""
        raise NotImplementedError

    def setUp(self) -> None:
        """A manager whose workers have started."""
        self.network = self.make_network()
        self.addCleanup(self.network.stop)
        self.manager = assemble(Bootstrap(), Node(), self.network, Store()).main.listeners
        self.addCleanup(self.manager.stop)
        self.manager.start()

    async def replace(self, address: str, more: str = "") -> str:
        """Serve an address, then replace the listener there; the address."""
        self.manager.add_or_update(listener_message("l", address, more=more))
        await self.settle()
        self.manager.add_or_update(
            listener_message("l", address, more=f"{more}\ntcp_backlog_size: 7")
        )
        await self.settle()
        return address

    async def settle(self) -> None:
        """Let the reactor do what was put off to its next turns."""
        for _ in range(3):
            await deferLater(reactor, 0)

    async def assert_served(self, family: int, sockaddr: Any) -> None:
        """A client is accepted there, and closed by the empty chain."""
        with socket.socket(family) as client:
            client.setblocking(False)
            self.assertIn(client.connect_ex(sockaddr), (0, errno.EINPROGRESS))
            for _ in range(2000):
                await deferLater(reactor, 0.001)
                try:
                    self.assertEqual(b"", client.recv(1))
                    return
                except BlockingIOError:
                    pass
        self.fail("not served")

    async def test_port(self) -> None:
        """A port is served by the successor."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        await self.replace(f"127.0.0.1:{port}")
        await self.assert_served(socket.AF_INET, ("127.0.0.1", port))

    async def test_port_that_is_not_shared(self) -> None:
        """So is one that is not shared with other processes."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        await self.replace(f"127.0.0.1:{port}", "enable_reuse_port: false")
        await self.assert_served(socket.AF_INET, ("127.0.0.1", port))

    async def test_additional_address(self) -> None:
        """So is an additional address, also where it is the listener's own one from then on."""
        ports = []
        for host in ("127.0.0.1", "127.0.0.2"):
            with socket.create_server((host, 0)) as free:
                ports.append(free.getsockname()[1])
        more = (
            f"additional_addresses: [{{address: {{socket_address: {{address: 127.0.0.2, "
            f"port_value: {ports[1]}}}}}}}]"
        )
        await self.replace(f"127.0.0.1:{ports[0]}", f"enable_reuse_port: false\n{more}")
        await self.assert_served(socket.AF_INET, ("127.0.0.2", ports[1]))
        self.manager.add_or_update(
            listener_message("l", f"127.0.0.2:{ports[1]}", more="enable_reuse_port: false")
        )
        await self.settle()
        await self.assert_served(socket.AF_INET, ("127.0.0.2", ports[1]))

    async def test_unix(self) -> None:
        """So is a unix socket."""
        with tempfile.TemporaryDirectory() as directory:
            path = await self.replace(str(Path(directory) / "l.sock"))
            await self.assert_served(socket.AF_UNIX, path)

    async def test_unix_with_other_options(self) -> None:
        """So is one whose permissions and socket options change, which are the successor's then;
        one that cannot have what it wants leaves all as it was.
        """
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory) / "l.sock")

            def message(mode: int, more: str = "") -> Any:
                made = listener_message("l", path, more=more)
                made.address.pipe.mode = mode
                return made

            self.manager.add_or_update(message(0o600))
            await self.settle()
            taken = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(taken.close)
            port = taken.getsockname()[1]
            other = f"{{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"
            wrong = f"enable_reuse_port: false\nadditional_addresses: [{other}]"
            self.assertRaises(BindError, self.manager.add_or_update, message(0o666, wrong))
            self.assertEqual(0o600, stat.S_IMODE(os.stat(path).st_mode))
            await self.assert_served(socket.AF_UNIX, path)
            option = "{level: 1, name: 8, int_value: 20000, state: STATE_PREBIND}"
            self.manager.add_or_update(message(0o666, f"socket_options: [{option}]"))
            await self.settle()
            self.assertEqual(0o666, stat.S_IMODE(os.stat(path).st_mode))
            await self.assert_served(socket.AF_UNIX, path)


class StockReplacementTests(ReplacementTests, TestCase):
    """Twisted's own transports."""

    def make_network(self) -> Any:
        return StockNetwork(reactor)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollReplacementTests(ReplacementTests, TestCase):
    """The fast transports."""

    def make_network(self) -> Any:
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(reactor)
