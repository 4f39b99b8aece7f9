"""What the ring serves in these tests, on a reactor and a clock that stand still by themselves."""

from __future__ import annotations

import gc
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.turns import turn


class Counting:
    """What bytes are counted by that nobody wants to see."""

    bytes = 0


class Serving:
    """One end of a connection, which notes what it is served and how long that took."""

    def __init__(self, name: str, tests: PollerCase, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.data = b""
        self.unsent = b""
        self.results: list[int] = []
        self._tests = tests
        # What the poller looks at.
        self._protocol = Counting()
        self._onto: Serving | None = None
        self._out: bytes | None = None
        self._paused = False
        self._pump: object = None

    def received(self, data: memoryview) -> None:
        """Bytes that could not just be sent on."""
        self.data += bytes(data)
        self._tests.serve(self.name)

    def receive_ended(self, result: int) -> None:
        """No more will come."""
        self.results.append(result)
        self._tests.serve(f"{self.name} ended")

    def connect_done(self, result: int) -> None:
        """An attempt to connect has come to an end."""
        self.results.append(result)

    def send_failed(self, left: memoryview, is_broken: bool) -> None:
        """Bytes that were sent on were not taken."""
        self.unsent += bytes(left)
        self._out = self.unsent
        self._tests.serve(f"{self.name} {'broken' if is_broken else 'full'}")

    def filled(self) -> None:
        """A whole buffer was sent on."""

    def receive_anew(self) -> None:
        """The kernel may have missed its end."""
        self._tests.poller.cancel_receive(self.fd)

    def ready(self, mask: int) -> None:
        """The kernel reported these epoll events."""
        self._tests.serve(f"{self.name} {mask:x}")

    def has_become_ready(self, mask: int) -> None:
        """What was awaited is there."""
        self._tests.serve(f"{self.name} awaited {mask:x}")

    def has_room(self, mask: int) -> None:
        """It takes bytes again."""
        self._tests.serve(f"{self.name} {mask:x}")

    def ready_again(self) -> None:
        """The poller has come to what was put off."""
        self._tests.serve(f"{self.name} again")

    def failed(self) -> None:
        """It has raised."""
        self._tests.served.append(f"{self.name} failed")

    def stop(self) -> None:
        """The poller stops."""
        self._tests.poller.close(self.fd)


class Watched(Serving):
    """What only waits until something is ready."""

    def receive_anew(self) -> None:
        """It never receives."""
        raise AssertionError("taken for a connection")


class Receiving(Serving):
    """What receives on whenever it was cancelled."""

    def receive_ended(self, result: int) -> None:
        """It was, or the kernel had no buffer."""
        super().receive_ended(result)
        self._tests.poller.receive(self.fd, self)


class PollerCase(SynchronousTestCase):
    """A ring whose channels take half a millisecond for whatever they do."""

    def setUp(self) -> None:
        """A ring, on a reactor and a clock that stand still by themselves."""
        from tcpmesh.net.uring.poller import UringPoller

        self.time = 0.0
        self.cost = 0.0005
        """Seconds that serving a completion takes."""
        self.served: list[str] = []
        self.acts: dict[str, Callable[[], object]] = {}
        """What is done when something is served."""
        self.reactor = MemoryReactorClock()
        gc.collect()
        self.before = set(os.listdir("/proc/self/fd"))
        self.poller: Any = UringPoller(self.reactor, lambda: self.time)
        self.addCleanup(self.poller.stop)

    def serve(self, what: str) -> None:
        """A channel does something."""
        self.served.append(what)
        self.time += self.cost
        self.acts.pop(what, lambda: None)()

    def pair(self, name: str = "0") -> tuple[Serving, socket.socket]:
        """A channel for which nothing is under way, and its peer."""
        near, peer = socket.socketpair()
        self.addCleanup(peer.close)
        near.setblocking(False)
        return Serving(name, self, near.detach()), peer

    def fill(self, fd: int) -> None:
        """Let a descriptor take no more bytes."""
        with suppress(BlockingIOError):
            while True:
                os.write(fd, bytes(1 << 16))

    def connect(self, name: str, kind: type[Serving] = Serving) -> tuple[Serving, socket.socket]:
        """A channel that receives, and its peer."""
        near, peer = socket.socketpair()
        self.addCleanup(peer.close)
        near.setblocking(False)
        channel = kind(name, self, near.detach())
        self.poller.receive(channel.fd, channel)
        return channel, peer

    def connect_many(self, count: int) -> list[tuple[Serving, socket.socket]]:
        """Some of them, by numbers; the ring is at rest."""
        connected = [self.connect(str(number)) for number in range(count)]
        self.rest()
        return connected

    def relay(self, name: str) -> tuple[Serving, socket.socket, Serving, socket.socket]:
        """Two channels of which what the first receives goes to the second, and their peers."""
        source, speaker = self.connect(name)
        sink, listener = self.connect(f"sink of {name}")
        source._onto = sink
        listener.setblocking(False)
        return source, speaker, sink, listener

    def turn(self) -> list[str]:
        """What is served in one turn of the reactor."""
        self.served.clear()
        if select.select([self.poller], [], [], 0)[0]:
            self.poller.doRead()
        turn(self.reactor)
        return list(self.served)

    def rest(self) -> list[str]:
        """Turns until nothing is to be done; what was served."""
        served = []
        while some := self.turn():
            served += some
        return served

    def is_due(self) -> bool:
        """Whether the reactor would call the ring now."""
        if select.select([self.poller], [], [], 0)[0]:
            return True
        return any(each.getTime() <= self.reactor.seconds() for each in self.reactor.calls)

    def silence(self) -> None:
        """The kernel has told of all that there is, and of what joins it tells no more."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.poller.fileno())
