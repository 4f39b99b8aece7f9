"""What the fast sockets of one network share: named here, so that none of them needs to know the
network itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tcpmesh.net.descriptor_reserve import DescriptorReserve
from tcpmesh.net.epoll.poller import Poller
from tcpmesh.net.epoll.splice import Pipes
from tcpmesh.net.timeout_queues import TimeoutQueue, TimeoutQueues


class EpollResources(Protocol):
    """An `EpollNetwork`, as its ports, connectors and transports see it."""

    clock: Any
    timers: TimeoutQueues
    connect_timeouts: TimeoutQueue[Any]
    """Where the attempts to connect wait that have the timeout which the last one had: nearly all
    have the same."""

    transport_type: Any
    """Makes a transport: of a network, a descriptor, a family, a peer, and whether it is watched
    already."""

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
