"""Which transports carry the traffic: the fast ones where the system has epoll, Twisted's own elsewhere."""

from __future__ import annotations

import os
import select
from typing import Any

from tcpmesh.interfaces import INetwork
from tcpmesh.net.stock import StockNetwork

VARIABLE = "TCPMESH_TRANSPORT"


def default_network(reactor: Any) -> INetwork:
    """The network that the environment variable TCPMESH_TRANSPORT names (`epoll` or `stock`), else the best there is.

    @raise ValueError: where it names another.
    """
    fast = hasattr(select, "epoll") and hasattr(reactor, "addReader")
    chosen = os.environ.get(VARIABLE) or ("epoll" if fast else "stock")
    if chosen == "epoll":
        from tcpmesh.net.epoll import EpollNetwork

        return EpollNetwork(reactor)
    if chosen == "stock":
        return StockNetwork(reactor)
    raise ValueError(f"{VARIABLE} is '{chosen}'; there are 'epoll' and 'stock'")
