"""A network that stands above another one, and is the one below in all that it does not do
itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.interfaces import INetwork


class NetworkAbove:
    """What inherits this has `connect` and `connect_check` of its own."""

    def __init__(self, below: INetwork) -> None:
        self.below = below
        self.clock = below.clock
        self.timers = below.timers
        self.cooperator = below.cooperator

    def call_soon(self, call: Callable[[], object]) -> None:
        """As the network below does."""
        self.below.call_soon(call)

    def bind(self, address: Any, options: Any) -> Any:
        """As the network below does."""
        return self.below.bind(address, options)

    def take_rest(self, address: Any, options: Any) -> Any:
        """As the network below does."""
        return self.below.take_rest(address, options)

    def listen(
        self, sock: Any, factory: Any, accepts_per_event: int = 0, passes: Any = None
    ) -> Any:
        """As the network below does."""
        return self.below.listen(sock, factory, accepts_per_event, passes)

    def stop(self) -> Any:
        """Stop the network below, and with it all that stands on it."""
        return self.below.stop()
