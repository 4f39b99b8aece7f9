"""A network that is none: for what is built to find out whether it can be, and then given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tcpmesh.interfaces import INetwork
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.net.timeout_queues import TimeoutQueues


@implementer(INetwork)
class NoNetwork:
    """A network on which nobody answers, and no time passes."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.timers = TimeoutQueues(self.clock)
        self.cooperator = shared_cooperator(self.clock)

    def bind(self, address: Any, options: Any) -> Any:
        """Nothing is bound."""
        raise RuntimeError("nothing is bound while a configuration is judged")

    def take_rest(self, address: Any, options: Any) -> Any:
        """Nothing is there."""
        return ()

    def listen(
        self, sock: Any, factory: Any, accepts_per_event: int = 0, passes: Any = None
    ) -> Any:
        """As above."""
        raise RuntimeError("nothing is bound while a configuration is judged")

    def connect(
        self,
        address: Any,
        factory: Any,
        timeout: float,
        options: Any = None,
        for_client: bool = False,
    ) -> Any:
        """Nobody is connected to, and nobody hears of it."""
        return _Nobody()

    def connect_check(
        self, address: Any, listener: Any, timeout: float, options: Any = None
    ) -> Any:
        """As above."""
        return _Nobody()

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call this in the next turn of the reactor."""
        self.clock.callLater(0, call)

    def stop(self) -> Deferred[None]:
        """Nothing is open."""
        self.timers.stop()
        return succeed(None)


class _Nobody:
    """An attempt to connect that never ends."""

    def start(self) -> None:
        """Nothing happens."""

    def stop(self) -> None:
        """As above."""

    stopConnecting = disconnect = stop
