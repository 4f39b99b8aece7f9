"""Connecting for the io_uring network: an entry of the ring, and what came of it."""

from __future__ import annotations

import os
import socket
from typing import Any

from tcpmesh.net.epoll.connect import EpollConnector


class UringConnector(EpollConnector):
    """One attempt to connect."""

    __slots__ = ()

    def _call(self, sock: Any) -> None:
        # The ring would wait for room in a unix socket's queue, which the system call does not.
        if self._address.family == socket.AF_UNIX:
            super()._call(sock)

    def _begin(self) -> None:
        poller: Any = self._network.poller
        if self._address.family == socket.AF_UNIX:
            poller.await_room(self._fd, self)
        else:
            poller.connect(self._fd, self, self._address)

    def has_room(self, mask: int) -> None:
        """The attempt came to an end, one way or the other."""
        self.ready(mask)
        if self._transport is not None:
            self._transport.start()

    def connect_done(self, result: int) -> None:
        """The same, and this is the result."""
        if result < 0:
            self._close()
            self._fail(OSError(-result, os.strerror(-result)))
            return
        transport = self._connected()
        if transport is not None:
            transport.start()
