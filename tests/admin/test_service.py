"""The admin interface on real sockets: `tcpmesh.admin.service`."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tcpmesh.admin.service import AdminService
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.net.listen import BindError
from tcpmesh.values.address import Address
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.socket_options import ListenOptions
from tests.admin.fakes import FakeServer

READY = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Asking(Protocol):
    """Sends one request and keeps what comes back until the connection is closed."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Ask."""
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self._received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        """That is all."""
        self.done.callback(self._received)


class ServiceTests(TestCase):
    """Binding, serving and stopping."""

    def cooperator(self) -> Cooperator:
        """What long answers are made by, until the end of the test."""
        cooperator = shared_cooperator(reactor)
        self.addCleanup(cooperator.stop)
        return cooperator

    def serve(self, address: Address, mode: int | None = None, **options: Any) -> AdminService:
        """A service at this address that is stopped after the test."""
        self.server = FakeServer(ServerOptions(**options))
        how = ListenOptions(reuse_port=False, mode=mode)
        service = AdminService(self.server, reactor, address, self.cooperator(), how)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def ask(self, service: AdminService, request: bytes = READY) -> bytes:
        """Connect to where the service says it is, and ask."""
        asking = Asking(request)
        factory = ClientFactory.forProtocol(lambda: asking)
        factory.noisy = False
        where: Any = service.bound_address
        net: Any = reactor
        if where.startswith(("/", "@")):
            net.connectUNIX(where.replace("@", "\0"), factory)
        else:
            host, _, port = where.rpartition(":")
            net.connectTCP(host.strip("[]"), int(port), factory)
        return await asking.done

    async def test_any_free_port(self) -> None:
        """With port 0 the real port is told, and written where the command line says."""
        path = self.mktemp()
        service = self.serve(Address("127.0.0.1", 0), admin_address_path=path)
        self.assertRegex(service.bound_address, r"127\.0\.0\.1:[1-9]\d*")
        self.assertEqual(service.bound_address, Path(path).read_text())
        answer = await self.ask(service)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\nLIVE\n"), answer)

    async def test_ipv6(self) -> None:
        """The address may be one of IPv6."""
        service = self.serve(Address("::1", 0))
        self.assertRegex(service.bound_address, r"\[::1\]:[1-9]\d*")
        self.assertIn(b"LIVE", await self.ask(service))

    async def test_unix_socket(self) -> None:
        """The address may be a path; a socket that an earlier process left there is replaced, its
        mode is as asked for.
        """
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "admin.sock")
        left = socket.socket(socket.AF_UNIX)
        left.bind(path)
        left.close()
        service = self.serve(Address(path), mode=0o600)
        self.assertEqual((path, 0o600), (service.bound_address, os.stat(path).st_mode & 0o777))
        self.assertIn(b"LIVE", await self.ask(service))

    async def test_abstract_socket(self) -> None:
        """The address may be an abstract one."""
        service = self.serve(Address(f"@tcpmesh-admin-{os.getpid()}"))
        self.assertIn(b"LIVE", await self.ask(service))

    async def test_quit_after_the_answer(self) -> None:
        """The process is told to end only after the client has the answer."""
        service = self.serve(Address("127.0.0.1", 0))
        told: Deferred[None] = Deferred()
        self.server.quit = lambda: told.callback(None)  # type: ignore[method-assign]
        answer = await self.ask(
            service, b"POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertTrue(answer.endswith(b"\r\n\r\nOK\n"), answer)
        await told

    def test_an_address_in_use(self) -> None:
        """An address that somebody else has is an error with the address in it, before anything is
        served.
        """
        service = self.serve(Address("127.0.0.1", 0))
        host, _, port = service.bound_address.rpartition(":")
        other = AdminService(FakeServer(), reactor, Address(host, int(port)), self.cooperator())
        with self.assertRaises(BindError) as caught:
            other.privilegedStartService()
        self.assertIn(service.bound_address, str(caught.exception))

    def test_an_unwritable_address_path(self) -> None:
        """That the address cannot be written down is said in the log, and stops nothing."""
        service = self.serve(Address("127.0.0.1", 0), admin_address_path="/nonexistent/admin")
        self.assertTrue(service.running)

    def test_stopping_what_never_started(self) -> None:
        """A service that could not start can be stopped."""
        service = AdminService(FakeServer(), reactor, Address("127.0.0.1", 0), self.cooperator())
        self.assertIsNone(self.successResultOf(service.stopService()))
