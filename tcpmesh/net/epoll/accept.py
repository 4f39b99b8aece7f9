"""Accepting for the epoll transports: in batches under load, one at a time otherwise, and never
spinning when descriptors run out.

A listening socket is watched level-triggered, so whatever is left waiting is reported again.
Asking for one connection more than there are costs a system call and an exception; so a port
accepts one connection an event, and doubles that, up to `BATCH`, each time it is reported again in
the next round through what is ready.  A round may take several calls to the kernel: where a
thousand clients are busy, the port stands behind all of them, and one connection a round would let
the last of a thousand newcomers wait for seconds.
"""

from __future__ import annotations

import os
import resource
import socket
from select import EPOLLIN
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from tcpmesh.net.epoll.resources import EpollResources
from tcpmesh.net.sockets import EXHAUSTED
from tcpmesh.values.address import Address

log = Logger(namespace="listener")

BATCH = 64
"""Accepts an event, at most."""

RESERVE = 64
"""Descriptors that clients may not take, or an eighth of all where that is less: for the admin
interface, health checks, log files and DNS."""

REST = 0.1
"""Seconds without accepting when descriptors have run out."""

QUIET = 60.0
"""Seconds between two log lines about that."""


def for_clients(limit: int) -> int:
    """Of so many descriptors that a process may have, those that clients and their upstreams may
    take.
    """
    return limit - min(RESERVE, limit // 8)


@implementer(IListeningPort)
class AcceptingPort:
    """A listening socket in the epoll set."""

    def __init__(
        self, network: EpollResources, sock: socket.socket, factory: Any, accepts_per_event: int = 0
    ) -> None:
        self._network = network
        self._sock = sock
        self._factory = factory
        self._accepted_in_event = getattr(factory, "accepted_in_event", None)
        self._most = min(accepts_per_event or BATCH, BATCH)
        self._batch = 1
        self._turn = 0
        self._limit = for_clients(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._address = Address.from_sockaddr(sock.family, sock.getsockname())
        self._resting: Any = None
        self._warned = -QUIET
        self._open = False

    def startListening(self) -> None:
        """Begin to accept."""
        self._open = True
        self._network.ports.add(self)
        self._factory.doStart()
        self._network.poller.register(self._sock.fileno(), self, EPOLLIN)

    def stopListening(self) -> Deferred[None]:
        """Accept no more and close the socket; connections already accepted stay."""
        if self._open:
            self._open = False
            self._network.ports.discard(self)
            if self._resting is not None:
                self._resting.cancel()
            else:
                self._network.poller.unregister(self._sock.fileno())
            self._sock.close()
            self._factory.doStop()
        return succeed(None)

    def duplicate(self) -> socket.socket:
        """Another descriptor of the same listening socket, which stays open when this port
        stops.
        """
        copy = self._sock.dup()
        copy.setblocking(False)
        return copy

    def getHost(self) -> Address:
        """What is bound; the port is the real one where 0 was asked for."""
        return self._address

    def ready(self, mask: int) -> None:
        """Clients are waiting."""
        accepted = self._accept()
        if self._accepted_in_event is not None:
            self._accepted_in_event(accepted)

    def _accept(self) -> int:
        """Accept some of them; how many."""
        accept, family = self._sock._accept, self._sock.family  # type: ignore[attr-defined]
        turn = self._network.poller.turn
        self._batch = min(2 * self._batch, self._most) if turn - self._turn <= 1 else 1
        self._turn = turn
        accepted = 0
        for _ in range(self._batch):
            try:
                fd, peer = accept()
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno in EXHAUSTED:
                    self._rest(os.strerror(e.errno))
                    break
                continue  # this client has gone already
            os.set_blocking(fd, False)
            self._serve(fd, family, peer)
            accepted += 1
            if not self._open:
                break
            if fd >= self._limit:
                self._rest("the limit of open files is near")
                break
        return accepted

    def ready_again(self) -> None:
        """Nothing is ever put off here."""

    def failed(self) -> None:
        """The factory raised for one client, which is closed by now; the port goes on."""

    def stop(self) -> None:
        """The poller stops."""
        self.stopListening()

    def _serve(self, fd: int, family: int, peer: Any) -> None:
        transport = self._network.accepted(fd, family, peer)
        try:
            protocol = self._factory.buildProtocol(peer)
            if protocol is None:
                transport.loseConnection()
                return
            transport.protocol = protocol
            protocol.makeConnection(transport)
        except Exception:
            transport.abortConnection()
            raise
        transport.start()

    def _rest(self, why: str) -> None:
        """Stop accepting for a while, rather than spin on an error that only closing connections
        can cure.
        """
        now = self._network.clock.seconds()
        if now - self._warned >= QUIET:
            self._warned = now
            log.warn(
                "not accepting on {address} for {rest} s: {why}",
                address=self._address,
                rest=REST,
                why=why,
            )
        self._network.poller.unregister(self._sock.fileno())
        self._resting = self._network.clock.callLater(REST, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._network.poller.register(self._sock.fileno(), self, EPOLLIN)
