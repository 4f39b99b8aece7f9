"""What a worker does with clients that come from the process before: it is offered each, says
whether it can go on with it, and waits with everything else until that process has let it go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from twisted.logger import Logger

from tcpmesh.listener.listeners import Listeners
from tcpmesh.server.handover.descriptors import copies
from tcpmesh.server.handover.form import NoConnection, decode
from tcpmesh.values.lifecycle.moving import ForgetClient, OfferAnswered, OfferClient, TakeClient
from tcpmesh.values.stream.moved import NO_DESCRIPTORS, MovedConnection

log = Logger(namespace="main")


class Offered(NamedTuple):
    """A client that may come."""

    moved: MovedConnection
    descriptors: tuple[int, int]

    def close(self) -> None:
        """It does not."""
        for each in self.descriptors:
            os.close(each)


class Arriving:
    """The clients that come to one worker.

    :param send: tells main.
    """

    def __init__(
        self, worker: int, listeners: Listeners, send: Callable[[OfferAnswered], object]
    ) -> None:
        self._worker = worker
        self._listeners = listeners
        self._send = send
        self._offered: dict[int, Offered] = {}
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            TakeClient: self._take,
            ForgetClient: self._forget,
        }
        """What is done with each message of main's but offers, which have descriptors."""

    def stop(self) -> None:
        """The worker ends."""
        while self._offered:
            self._offered.popitem()[1].close()

    def offer(self, told: OfferClient, descriptors: Sequence[int]) -> None:
        """Main asks whether a client can go on here."""
        found = self._look_at(told, descriptors)
        if isinstance(found, Offered):
            self._offered[told.client] = found
        refused = found if isinstance(found, str) else ""
        self._send(OfferAnswered(self._worker, told.client, refused))

    def _look_at(self, told: OfferClient, descriptors: Sequence[int]) -> Offered | str:
        if len(descriptors) != 2:
            return NO_DESCRIPTORS
        try:
            moved = decode(told.state)
        except NoConnection as e:
            return f"it cannot be read: {e}"
        refused = self._listeners.why_not(moved)
        if refused:
            return refused
        try:
            return Offered(moved, copies(*descriptors))
        except OSError:
            return NO_DESCRIPTORS

    def _take(self, told: TakeClient) -> None:
        offered = self._offered.pop(told.client, None)
        if offered is None:
            return
        refused = self._listeners.arrive(offered.moved, offered.descriptors)
        if refused:
            offered.close()
            log.error(
                "[C{id}] is cut off: what it needs has gone while it came: {reason}",
                id=offered.moved.id,
                reason=refused,
            )

    def _forget(self, told: ForgetClient) -> None:
        offered = self._offered.pop(told.client, None)
        if offered is not None:
            offered.close()
