"""How a client that one worker has accepted gets to another one: over a socket that belongs to the
other one's place, and that main keeps, too.  So what is on the way to a worker that dies is served
by the one that takes its place.

A socket takes some hundred descriptors; where it takes no more the client stays where it is.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger

from tcpmesh.listener.balancing.exact import KEY_SIZE

log = Logger(namespace="connection")

FORM = struct.Struct(f"{KEY_SIZE}sI")
"""The key of a listener, and which of its addresses."""

BATCH = 64
"""Clients that are taken at once."""

_SPACE = socket.CMSG_SPACE(array("i").itemsize)

Take = Callable[[bytes, int, int], object]


@implementer(IReadDescriptor)
class Passing:
    """One worker's ends.

    :param index: the number of the worker.
    :param sockets: what comes to this worker, and then one that goes to each worker.
    :param take: takes the key of a listener, the place of its address and the descriptor of a
        client, which is its own to close.
    :param emptied: told when nothing has come that was not taken.
    """

    def __init__(
        self,
        clock: Any,
        index: int,
        sockets: Sequence[socket.socket],
        take: Take,
        emptied: Callable[[], object],
    ) -> None:
        self._clock = clock
        self.index = index
        self._own, *self._others = sockets
        self._take = take
        self._emptied = emptied
        self._is_started = self._is_closed = False

    def start(self) -> None:
        """Listeners are open: take what comes from now on."""
        if not self._is_started and not self._is_closed:
            self._is_started = True
            self._clock.addReader(self)

    def pass_on(self, worker: int, key: bytes, place: int, descriptor: int) -> bool:
        """Give a copy of the descriptor of a client to a worker; whether it was taken."""
        if self._is_closed:
            return False
        try:
            socket.send_fds(
                self._others[worker], [FORM.pack(key, place)], [descriptor], socket.MSG_NOSIGNAL
            )
        except OSError:
            return False
        return True

    def close(self) -> None:
        """The worker takes and has no more clients."""
        if self._is_closed:
            return
        if self._is_started:
            self._clock.removeReader(self)
        self._is_closed = True
        for each in (self._own, *self._others):
            each.close()

    # What the reactor calls

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._own.fileno()

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return "passing"

    def connectionLost(self, reason: Any) -> None:
        """The reactor gives up on the descriptor."""
        self.close()

    def doRead(self) -> None:
        """Clients have come."""
        for _ in range(BATCH):
            try:
                data, descriptors = self._read()
            except BlockingIOError:
                self._emptied()
                return
            except OSError:
                return
            if len(data) == FORM.size and len(descriptors) == 1:
                key, place = FORM.unpack(data)
                self._taken(key, place, descriptors[0])
            else:
                for fd in descriptors:
                    os.close(fd)
            if self._is_closed:
                return

    def _read(self) -> tuple[bytes, array[int]]:
        data, beside, _, _ = self._own.recvmsg(FORM.size, _SPACE, socket.MSG_CMSG_CLOEXEC)
        descriptors = array("i")
        for level, kind, content in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content)
        return data, descriptors

    def _taken(self, key: bytes, place: int, descriptor: int) -> None:
        try:
            self._take(key, place, descriptor)
        except BaseException:
            log.failure("a client that another worker has accepted could not be served")
