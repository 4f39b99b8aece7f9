"""Which transports carry the traffic: the fast ones where the system has epoll, Twisted's own
elsewhere.
"""

from __future__ import annotations

import os
import select
from typing import Any

from tcpmesh.interfaces import INetwork
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.net.stock.network import StockNetwork

VARIABLE = "TCPMESH_TRANSPORT"


class NoSuchTransport(Exception):
    """The environment asks for transports that are not there; the text says which there are."""


def default_network(
    reactor: Any,
    listening: ListeningSockets | None = None,
) -> INetwork:
    """The network that the environment variable TCPMESH_TRANSPORT names (`epoll` or `stock`), else
    the best there is.

    :param listening: where listening sockets come from.
    :raise NoSuchTransport: where it names another, or one that this system does not have.
    """
    fast = hasattr(select, "epoll") and hasattr(reactor, "addReader")
    there = ("epoll", "stock") if fast else ("stock",)
    chosen = os.environ.get(VARIABLE) or there[0]
    if chosen not in there:
        raise NoSuchTransport(
            f"the environment variable {VARIABLE} is '{chosen}'; there are {' and '.join(there)}"
        )
    if chosen == "epoll":
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(reactor, listening=listening)
    return StockNetwork(reactor, listening=listening)
