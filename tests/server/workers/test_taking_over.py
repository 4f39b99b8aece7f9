"""Main takes over the listening sockets of a process that had more workers, fewer, or one: on
sockets of the system.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.listening import Handed, ListeningSockets
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.registry import MainContext
from tcpmesh.server.workers.binder import Binder
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.values.link import AddListener, Start, Stop
from tests.mesh import listener_message, tcp_proxy

ANY = "127.0.0.1:0"
COUNTS = (1, 2, 3, 5)
"""Of workers."""


class Proxy:
    """What main has of its workers, with one listener.

    :param before: the process that it takes over from.
    """

    def __init__(
        self,
        workers: int,
        before: Proxy | None = None,
        address: str = ANY,
        more: str = "",
    ) -> None:
        handed = [] if before is None else before.handed()
        self.listening = ListeningSockets(handed=handed)
        context = MainContext(StockNetwork(Clock(), listening=self.listening), Store())
        said: list[Any] = []
        logs = MemoryAccessLogs(context.store, Clock())
        self.binder = Binder(context, said.append, workers, logs)
        self.workers = workers
        message = listener_message("l", address, tcp_proxy(), more)
        if self.binder.refuses(AddListener(1, "l", message)) or self.binder.refuses(Start()):
            raise AssertionError(said)
        self.left = self.listening.settle()

    def handed(self) -> list[Handed]:
        """Its sockets, as another process gets them."""
        return [
            Handed(
                each.name, each.asked, each.namespace, socket.socket(fileno=os.dup(each.fileno()))
            )
            for each in self.listening.opened()
        ]

    def sockets(self) -> list[list[socket.socket]]:
        """What each worker accepts from at the first address."""
        return [list(self.binder.sockets(1, worker)[0]) for worker in range(self.workers)]

    def stop(self) -> None:
        """It is no more."""
        self.binder.refuses(Stop())


def inodes(sockets: Sequence[Sequence[socket.socket]]) -> list[int]:
    """The sockets behind descriptors."""
    return [os.fstat(each.fileno()).st_ino for some in sockets for each in some]


class TakingOverTests(SynchronousTestCase):
    """Any number of workers after any other."""

    def proxy(self, *arguments: Any, **options: Any) -> Proxy:
        """A process."""
        found = Proxy(*arguments, **options)
        self.addCleanup(found.stop)
        return found

    def pairs(self) -> Any:
        """All numbers of workers, before and after."""
        return ((before, after) for before in COUNTS for after in COUNTS)

    def wait_at(self, proxy: Proxy, clients: int) -> list[socket.socket]:
        """Clients that nobody accepts yet."""
        address = proxy.sockets()[0][0].getsockname()
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        found = []
        for _ in range(clients):
            sock = socket.socket(family)
            self.addCleanup(sock.close)
            sock.connect(address)
            found.append(sock)
        return found

    def accepted(self, proxy: Proxy) -> int:
        """How many clients the workers accept together."""
        count = 0
        for sock in (each for some in proxy.sockets() for each in some):
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.dup().accept()[0].close()
                    count += 1
        return count

    def test_each_is_accepted_from(self) -> None:
        """Whoever waits at a socket of the process before is accepted, however many workers there
        are now; each worker has at least one socket, and none is closed.
        """
        for before, after in self.pairs():
            old = self.proxy(before)
            self.wait_at(old, 12)
            new = self.proxy(after, old)
            old.stop()
            self.assertEqual([], new.left)
            found = inodes(new.sockets())
            self.assertEqual(max(before, after), len(set(found)), (before, after))
            self.assertEqual(len(found), len(set(found)))
            self.assertTrue(all(new.sockets()))
            self.assertEqual(12, self.accepted(new), (before, after))
            new.stop()

    def test_shared(self) -> None:
        """One socket for all workers stays one, also where it is at a path."""
        path = os.path.abspath(self.mktemp())
        for address, more in ((ANY, "enable_reuse_port: false"), (path, "")):
            for before, after in self.pairs():
                old = self.proxy(before, address=address, more=more)
                self.wait_at(old, 3)
                new = self.proxy(after, old, address=address, more=more)
                old.stop()
                self.assertEqual(1, len(set(inodes(new.sockets()))))
                self.assertEqual(after, len(inodes(new.sockets())))
                self.assertEqual(3, self.accepted(new))
                new.stop()

    def test_each_for_all(self) -> None:
        """Where workers had sockets of their own and are to share one, all of those stay."""
        old = self.proxy(3)
        self.wait_at(old, 9)
        new = self.proxy(2, old, more="enable_reuse_port: false")
        old.stop()
        self.assertEqual([2, 1], [len(each) for each in new.sockets()])
        self.assertEqual(9, self.accepted(new))

    def test_all_from_one(self) -> None:
        """Where one socket was shared that cannot be bound once more, workers go on sharing it, as
        do those of the process after the next upgrade; there is one to hand over.
        """
        old = self.proxy(2, more="enable_reuse_port: false")
        for workers in (3, 2):
            new = self.proxy(workers, old)
            old.stop()
            self.assertEqual(1, len(set(inodes(new.sockets()))))
            self.assertEqual(workers, len(inodes(new.sockets())))
            self.assertEqual(1, len(new.listening.opened()))
            old = new

    def test_many_in_a_row(self) -> None:
        """Through a row of processes sockets become no more than the most workers there ever
        were.
        """
        old = self.proxy(1)
        for workers in (3, 1, 2, 4, 1, 3):
            self.wait_at(old, 4)
            new = self.proxy(workers, old)
            old.stop()
            self.assertEqual(4, self.accepted(new))
            old = new
        self.assertEqual(4, len(set(inodes(old.sockets()))))

    def test_two_addresses(self) -> None:
        """Two addresses of a listener, each with a port that the system has chosen, keep their own
        sockets.
        """
        more = (
            "additional_addresses: [{address: {socket_address: {address: 127.0.0.1, "
            "port_value: 0}}}]"
        )
        old = self.proxy(3, more=more)
        ports = [each[0].getsockname() for each in old.binder.sockets(1, 0)]
        self.assertEqual(2, len(set(ports)))
        for workers in (2, 1, 4):
            new = self.proxy(workers, old, more=more)
            old.stop()
            for worker in range(workers):
                found = [[s.getsockname() for s in some] for some in new.binder.sockets(1, worker)]
                self.assertEqual([[ports[0]] * len(found[0]), [ports[1]] * len(found[1])], found)
            old = new

    def test_not_bound(self) -> None:
        """A listener that binds no port takes over none, and what the one before had is closed."""
        old = self.proxy(2)
        new = self.proxy(2, old, more="bind_to_port: false")
        self.assertEqual([[], []], new.sockets())
        self.assertEqual(1, len(new.left))
