"""What main tells one worker, in order: where there is much at once, as for a worker that joins, it
goes in steps, and what is to be told meanwhile waits its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tcpmesh.interfaces import INetwork
from tcpmesh.server.link.numbers import WorkerMessage
from tcpmesh.server.workers.binder import Binder
from tcpmesh.server.workers.interface import IWorkerLink
from tcpmesh.values.link import AddListener, ShareClients

AT_ONCE = 64
"""Messages that are sent at once; the rest follows in steps."""


class OrderedLink:
    """The link to one worker.

    :param binder: has the sockets that go with a listener.
    :param passing: tells over which sockets a worker shares clients.
    """

    def __init__(
        self,
        index: int,
        link: IWorkerLink,
        network: INetwork,
        binder: Binder,
        passing: Callable[[int], list[Any]],
    ) -> None:
        self._index = index
        self._link = link
        self._network = network
        self._binder = binder
        self._passing = passing
        self._waiting: deque[WorkerMessage] = deque()
        """What is still to be sent."""

    @property
    def is_behind(self) -> bool:
        """Whether it is still to be told something."""
        return bool(self._waiting)

    def send(self, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Tell it something, after all that it is still to be told.

        :param descriptors: are lent for the time of the call; only to one that is not behind.
        """
        if self._waiting:
            self._waiting.append(message)
        elif descriptors:
            self._link.send(message, descriptors=descriptors)
        else:
            self._send(message)

    def send_much(self, messages: Sequence[WorkerMessage]) -> None:
        """Tell it all of this."""
        for message in messages[:AT_ONCE]:
            self._send(message)
        self._waiting.extend(messages[AT_ONCE:])
        if self._waiting:
            self._network.cooperator.cooperate(self._steps())

    def _steps(self) -> Iterator[None]:
        while self._waiting:
            # It waits until it is sent, so that nothing overtakes it.
            self._send(self._waiting[0])
            if self._waiting:
                self._waiting.popleft()
            yield

    def _send(self, message: WorkerMessage) -> None:
        sockets: list[Any] = []
        if isinstance(message, AddListener):
            of_addresses = self._binder.sockets(message.listener, self._index)
            sockets = [each for sockets in of_addresses for each in sockets]
            message = replace(message, sockets=tuple(map(len, of_addresses)))
        elif isinstance(message, ShareClients):
            sockets = self._passing(self._index)
        self._link.send(message, sockets)

    def forget(self) -> None:
        """It is no more."""
        self._waiting.clear()

    def close(self) -> None:
        """It has stopped."""
        self._waiting.clear()
        self._link.close()
