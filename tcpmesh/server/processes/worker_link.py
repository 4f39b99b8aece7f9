"""Main's end of the link to a worker that is a process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.link.frames import TO_WORKER
from tcpmesh.server.link.numbers import WorkerMessage


class WorkerLink:
    """Tells a worker what main says, and whoever has made it what the worker says.

    :param receive: takes the bytes of each message, and the descriptors that came with it, which
        are lent for the time of the call.
    :param over: told when the worker has closed its end, with the reason.
    """

    def __init__(
        self,
        sock: socket.socket,
        clock: Any,
        receive: Callable[[bytes, Sequence[int]], object],
        over: Callable[[str], object],
    ) -> None:
        self._receive = receive
        self._channel = Channel(sock, clock, self._take, over, cut=self._take_cut)
        self.is_closed = False
        """Whether main has closed it: the worker is to end."""

    def send(
        self,
        message: WorkerMessage,
        sockets: Sequence[Any] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Tell the worker something, in order; never waits.

        :param sockets: sockets that belong to the message: what is sent are copies.
        :param descriptors: ... and those of a client.
        """
        beside = [*(each.fileno() for each in sockets), *descriptors]
        self._channel.send(TO_WORKER.encode(message), beside)

    def close(self) -> None:
        """The worker has stopped: its process may end."""
        self.is_closed = True
        self._channel.close()

    def _take(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        try:
            self._receive(body, descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _take_cut(self, body: bytes) -> None:
        """Main has no descriptors left for those that came."""
        self._receive(body, ())
