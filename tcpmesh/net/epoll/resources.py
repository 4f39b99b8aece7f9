"""What the fast sockets of one network share: named here, so that none of them needs to know the
network itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tcpmesh.net.descriptor_reserve import DescriptorReserve
from tcpmesh.net.epoll.poller import Poller
from tcpmesh.net.epoll.splice import Pipes
from tcpmesh.net.timeout_queues import TimeoutQueues
from tcpmesh.values.address import Address


class EpollResources(Protocol):
    """An `EpollNetwork`, as its ports, connectors and transports see it."""

    clock: Any
    timers: TimeoutQueues
    poller: Poller
    pipes: Pipes
    reserve: DescriptorReserve
    ports: set[Any]
    """The ports that accept."""

    before_close: dict[Any, tuple[Callable[[], object], ...]]
    """What transports call before they close their descriptors: few have something to call, and
    those that have not need no room for it.
    """

    iov: list[memoryview]

    def iov_of(self, size: int) -> list[memoryview]:
        """The shared buffer cut to this many bytes, as `os.readv` takes it."""

    def accepted(self, fd: int, family: int, peer: Any) -> Any:
        """The transport of a connection just accepted, not yet watched."""

    def connected(self, fd: int, address: Address) -> Any:
        """The transport of a connection just made, already watched."""
