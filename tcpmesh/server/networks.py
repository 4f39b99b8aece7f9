"""Which transports carry the traffic: the fast ones where the system has epoll, Twisted's own
elsewhere, and those of io_uring for whoever asks for them.
"""

from __future__ import annotations

import os
import select
from typing import Any

from twisted.logger import Logger

from tcpmesh.interfaces import INetwork
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.net.stock.network import StockNetwork

log = Logger(namespace="main")

VARIABLE = "TCPMESH_TRANSPORT"

URING, URING_ONLY = "uring", "uring-only"


class NoSuchTransport(Exception):
    """The environment asks for transports that are not there; the text says which there are."""


def default_network(
    reactor: Any, listening: ListeningSockets | None = None, says_why: bool = True
) -> INetwork:
    """The network that the environment variable TCPMESH_TRANSPORT names, else the best there is
    everywhere.

    It may be `epoll`, `stock`, or `uring`, in place of which there is epoll where the system
    refuses an io_uring; `uring-only` makes that an error.

    :param listening: where listening sockets come from.
    :param says_why: whether a refusal is to be told in the log.
    :raise NoSuchTransport: where it names another, or one that this system does not have.
    """
    fast = hasattr(select, "epoll") and hasattr(reactor, "addReader")
    there = ("epoll", URING, URING_ONLY, "stock") if fast else ("stock",)
    chosen = os.environ.get(VARIABLE) or there[0]
    if chosen not in there:
        names = " and ".join(filter(None, (", ".join(there[:-1]), there[-1])))
        raise NoSuchTransport(
            f"the environment variable {VARIABLE} is '{chosen}'; there are {names}"
        )
    if chosen in (URING, URING_ONLY):
        from tcpmesh.net.uring.network import UringNetwork

        try:
            return UringNetwork(reactor, listening=listening)
        except OSError as e:
            why = f"this system refuses an io_uring ({e.strerror})"
            if chosen == URING_ONLY:
                raise NoSuchTransport(
                    f"{why}, and the environment variable {VARIABLE} is '{URING_ONLY}'"
                ) from None
            if says_why:
                log.warn("{why}: the transports are those of epoll", why=why)
            chosen = "epoll"
    if chosen == "epoll":
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(reactor, listening=listening)
    return StockNetwork(reactor, listening=listening)
