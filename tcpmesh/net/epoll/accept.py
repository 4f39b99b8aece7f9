"""Accepting for the epoll transports: in batches under load, one at a time otherwise, and never
spinning when descriptors run out.

A listening socket is watched level-triggered, so whatever is left waiting is reported again.
Asking for one connection more than there are costs a system call and an exception; so a port
accepts one connection an event, and doubles that, up to `BATCH`, each time it is reported again in
the next round through what is ready.  A round may take several calls to the kernel: where a
thousand clients are busy, the port stands behind all of them, and one connection a round would let
the last of a thousand newcomers wait for seconds.  A port also stops where others are to have their
turn, after one connection at the earliest.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from select import EPOLLIN
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed

from tcpmesh.interfaces import IAdopts, ICountsAccepts, IHandsOver, IPausable
from tcpmesh.net.epoll.resources import EpollResources
from tcpmesh.net.sockets import EXHAUSTED
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing

BATCH = 64
"""Accepts an event, at most."""


@implementer(IHandsOver, IPausable)
class AcceptingPort:
    """A listening socket in the epoll set."""

    def __init__(
        self, network: EpollResources, sock: socket.socket, factory: Any, accepts_per_event: int = 0
    ) -> None:
        self._network = network
        self._sock = sock
        self._factory = factory
        self._accepted_in_event = (
            factory.accepted_in_event if ICountsAccepts.providedBy(factory) else None
        )
        self._most = min(accepts_per_event or BATCH, BATCH)
        self._batch = 1
        self._turn = 0
        self._address = Address.from_sockaddr(sock.family, sock.getsockname())
        self._open = False
        self._pauses = 1
        """For how many reasons it accepts nobody; as long as it has not started for one more."""

    def startListening(self) -> None:
        """Begin to accept."""
        with all_or_nothing() as undo:
            self._factory.doStart()
            undo.callback(self._factory.doStop)
            self.resume_accepting()
            undo.callback(self.pause_accepting)
            self._network.reserve.add(self)
        self._network.ports.add(self)
        self._open = True

    def stopListening(self) -> Deferred[None]:
        """Accept no more and close the socket; connections already accepted stay."""
        if self._open:
            self._open = False
            self._network.ports.discard(self)
            self._network.reserve.discard(self)
            self.pause_accepting()
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

    def pause_accepting(self) -> None:
        """Let clients wait."""
        if not self._pauses:
            self._network.poller.unregister(self._sock.fileno())
        self._pauses += 1

    def resume_accepting(self) -> None:
        """Accept again, where nobody else has asked for a pause."""
        if self._pauses == 1:
            self._network.poller.register(self._sock.fileno(), self, EPOLLIN)
        self._pauses -= 1

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._sock.fileno()

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
        poller, reserve = self._network.poller, self._network.reserve
        self._batch = min(2 * self._batch, self._most) if poller.turn - self._turn <= 1 else 1
        self._turn = poller.turn
        accepted = 0
        for _ in range(self._batch):
            if reserve.is_near and not reserve.has_room(self._sock.fileno()):
                reserve.rest(self, "the limit of open files is near")
                break
            try:
                fd, peer = accept()
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno in EXHAUSTED:
                    reserve.rest(self, os.strerror(e.errno))
                    break
                continue  # this client has gone already
            os.set_blocking(fd, False)
            self._serve(fd, family, peer)
            accepted += 1
            if self._pauses:  # also where it has stopped
                break
            if fd >= reserve.near:
                reserve.is_near = True
            if poller.is_over():
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
        network, make = self._network, self._network.transport_type
        transport = make(network, fd, family, peer, False)
        try:
            protocol = self._factory.buildProtocol(peer)
            if protocol is None:
                transport.loseConnection()
                return
            transport.serve(protocol)
        except BaseException:
            transport.abortConnection()
            raise


@implementer(IAdopts)
class PassingPort(AcceptingPort):
    """One whose connections may be served elsewhere.

    :param passes: see `INetwork.listen`.
    """

    def __init__(
        self,
        network: EpollResources,
        sock: socket.socket,
        factory: Any,
        accepts_per_event: int,
        passes: Callable[[int], bool],
    ) -> None:
        super().__init__(network, sock, factory, accepts_per_event)
        self._passes = passes

    def _serve(self, fd: int, family: int, peer: Any) -> None:
        try:
            is_passed = self._passes(fd)
        except BaseException:
            os.close(fd)
            raise
        if is_passed:
            os.close(fd)
        else:
            super()._serve(fd, family, peer)

    def adopt(self, descriptor: int) -> None:
        """See `IAdopts`."""
        with socket.socket(fileno=descriptor) as sock:
            try:
                peer = sock.getpeername()
            except OSError:
                return  # it has gone meanwhile
            sock.setblocking(False)
            family = sock.family
            sock.detach()
        super()._serve(descriptor, family, peer)
