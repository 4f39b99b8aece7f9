"""Main's end of the link to a worker that is a process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.link.frames import TO_WORKER
from tcpmesh.server.link.numbers import WorkerMessage


class WorkerLink:
    """Tells a worker what main says, and whoever has made it what the worker says.

    :param receive: takes the bytes of each message.
    :param over: told when the worker has closed its end, with the reason.
    """

    def __init__(
        self,
        sock: socket.socket,
        clock: Any,
        receive: Callable[[bytes], object],
        over: Callable[[str], object],
    ) -> None:
        self._receive = receive
        self._channel = Channel(sock, clock, self._take, over)
        self.is_closed = False
        """Whether main has closed it: the worker is to end."""

    def send(self, message: WorkerMessage, sockets: Sequence[Any] = ()) -> None:
        """Tell the worker something, in order; never waits.

        :param sockets: sockets that belong to the message: what is sent are copies.
        """
        self._channel.send(TO_WORKER.encode(message), [each.fileno() for each in sockets])

    def close(self) -> None:
        """The worker has stopped: its process may end."""
        self.is_closed = True
        self._channel.close()

    def _take(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        for fd in descriptors:
            os.close(fd)
        if descriptors:
            raise FramingError("a worker has no descriptors for main")
        self._receive(body)
