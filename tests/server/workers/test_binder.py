"""Main binds for its workers, and builds before them: on sockets of the system."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.registry import MainContext
from tcpmesh.server.workers.binder import Binder
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.link import (
    AddListener,
    Bound,
    ListenerRefused,
    RemoveListener,
    Start,
    Stop,
    StopListening,
    UpdateChains,
)
from tests.mesh import listener_message, tcp_proxy

ANY = "127.0.0.1:0"


class BinderTestCase(SynchronousTestCase):
    """Three workers."""

    def setUp(self) -> None:
        """Nothing is bound."""
        self.store = Store()
        self.context = MainContext(StockNetwork(Clock()), self.store)
        self.said: list[Any] = []
        logs = MemoryAccessLogs(self.store, Clock())
        self.binder = Binder(self.context, self.said.append, 3, logs)
        self.addCleanup(self.binder.refuses, Stop())
        self.numbers = iter(range(1, 100))

    def add(self, address: str = ANY, more: str = "", predecessor: int = 0) -> int:
        """Add a listener; its number."""
        number = next(self.numbers)
        message = listener_message("l", address, tcp_proxy(), more)
        told = AddListener(number, "l", message, predecessor)
        self.assertFalse(self.binder.refuses(told), self.said)
        return number

    def sockets(self, number: int) -> list[socket.socket]:
        """The socket of each worker."""
        found = [self.binder.sockets(number, worker) for worker in range(3)]
        return [each for ((each,),) in found]

    def is_listening(self, sock: socket.socket) -> bool:
        """Whether clients may wait there."""
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


class SocketTests(BinderTestCase):
    """What main keeps."""

    def test_one_for_each(self) -> None:
        """Each worker has a socket of its own, all of one port, which main tells."""
        sockets = self.sockets(self.add())
        self.assertEqual(3, len({each.fileno() for each in sockets}))
        (name,) = {each.getsockname() for each in sockets}
        (bound,) = self.said
        self.assertEqual([name], [each.sockaddr for each in bound.addresses])

    def test_shared(self) -> None:
        """Without enable_reuse_port, and of a unix socket, there is one for all."""
        path = os.path.abspath(self.mktemp())
        for address, more in ((ANY, "enable_reuse_port: false"), (path, "")):
            sockets = self.sockets(self.add(address, more))
            self.assertEqual(1, len({each.fileno() for each in sockets}))

    def test_start(self) -> None:
        """Clients may wait from the start on, at what comes later at once."""
        early = self.sockets(self.add())
        self.assertEqual([False] * 3, list(map(self.is_listening, early)))
        self.assertFalse(self.binder.refuses(Start()))
        later = self.sockets(self.add())
        self.assertEqual([True] * 6, list(map(self.is_listening, [*early, *later])))
        opened = [each.is_open for each in self.said if isinstance(each, Bound)]
        self.assertEqual([False, True, True], opened)

    def test_wait_for_a_worker(self) -> None:
        """A client is connected though no worker is there; whoever gets the socket accepts it."""
        self.binder.refuses(Start())
        sockets = self.sockets(self.add())
        with socket.create_connection(sockets[0].getsockname()):
            accepted = 0
            for each in sockets:
                with contextlib.suppress(BlockingIOError):
                    each.dup().accept()[0].close()
                    accepted += 1
        self.assertEqual(1, accepted)

    def test_taken_over(self) -> None:
        """A listener that replaces another has the sockets of that one, with the clients that wait
        there.
        """
        self.binder.refuses(Start())
        old = self.add()
        before = [os.fstat(each.fileno()).st_ino for each in self.sockets(old)]
        new = self.add(more="tcp_backlog_size: 7", predecessor=old)
        after = [os.fstat(each.fileno()).st_ino for each in self.sockets(new)]
        self.assertEqual(before, after)
        self.assertEqual((), tuple(self.binder.sockets(old, 0)))

    def test_replaced_early(self) -> None:
        """One that is replaced before it has begun leaves nothing behind, and the sockets of all
        workers have one port.
        """
        old = self.add()
        new = self.sockets(self.add(more="tcp_backlog_size: 7", predecessor=old))
        self.assertEqual(1, len({each.getsockname() for each in new}))
        self.assertEqual(3, len({each.fileno() for each in new}))

    def test_ends(self) -> None:
        """Nothing is kept of a listener that is removed, of those that are stopped, and at the
        end.
        """
        self.binder.refuses(Start())
        for end in (lambda number: RemoveListener(number), lambda _: StopListening(DrainScope.ALL)):
            number = self.add()
            kept = self.sockets(number)
            self.binder.refuses(end(number))
            self.assertEqual([-1] * 3, [each.fileno() for each in kept])
            left = [each for worker in range(3) for each in self.binder.sockets(number, worker)]
            self.assertFalse(any(left), left)
        kept = self.sockets(self.add())
        self.binder.refuses(Stop())
        self.assertEqual([-1] * 3, [each.fileno() for each in kept])

    def test_not_bound(self) -> None:
        """A listener with bind_to_port: false has none."""
        number = self.add("127.0.0.1:1", "bind_to_port: false")
        self.assertEqual([[]], list(self.binder.sockets(number, 0)))


class RefusalTests(BinderTestCase):
    """What cannot be."""

    def test_address(self) -> None:
        """An address that is in use is refused, and of the others nothing is left, no file
        either.
        """
        path = Path(self.mktemp()).absolute()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            more = (
                f"additional_addresses: [{{address: {{socket_address: {{address: 127.0.0.1, "
                f"port_value: {taken.getsockname()[1]}}}}}}}]"
            )
            message = listener_message("l", str(path), tcp_proxy(), more)
            self.assertTrue(self.binder.refuses(AddListener(1, "l", message)))
        (refused,) = self.said
        self.assertIsInstance(refused, ListenerRefused)
        self.assertIn("Address already in use", refused.reason)
        self.assertFalse(path.exists())

    def test_start(self) -> None:
        """So is a start where another process listens by now."""
        number = self.add(more="enable_reuse_port: false")
        (sock, *_) = self.sockets(number)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(sock.getsockname())
            taken.listen()
            self.assertTrue(self.binder.refuses(Start()))
        self.assertIn("cannot listen on", self.said[-1].reason)

    def test_chains(self) -> None:
        """An update with a chain that cannot be built is refused; nothing is left of what was."""
        number = self.add()
        before = {each.name for each in self.store.counters()}
        unknown = '[{name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.Empty}}]'
        message = listener_message("l", ANY, unknown)
        self.assertTrue(self.binder.refuses(UpdateChains(number, 2, message, (0,), (0,))))
        self.assertEqual(before, {each.name for each in self.store.counters()})
        self.assertFalse(self.binder.refuses(UpdateChains(number, 2, message, (), ())))
