"""The io_uring network: the sockets of `tcpmesh.net.epoll`, for which one ring receives and sends.

`tcpmesh.net.uring.poller` and `tcpmesh.net.uring.transport` tell how it works.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.net.epoll.network import EpollNetwork
from tcpmesh.net.uring.completions import SIZE
from tcpmesh.net.uring.connect import UringConnector
from tcpmesh.net.uring.poller import UringPoller
from tcpmesh.net.uring.transport import UringTransport


class UringNetwork(EpollNetwork):
    """Sockets of one ring.

    :raise OSError: where the kernel, or who watches over this process, has no ring to give.
    """

    transport_type = UringTransport
    connector_type = UringConnector

    def can_leave(self, transport: Any) -> bool:
        """Whether another network can go on with it."""
        return super().can_leave(transport) and not transport.was_reset

    def _make_poller(self, reactor: Any, read_size: int, busy: float) -> UringPoller:
        return UringPoller(reactor, size=min(SIZE, read_size), busy=busy)
