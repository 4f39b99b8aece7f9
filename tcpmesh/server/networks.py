"""Which transports carry the traffic: the fast ones where the system has epoll, Twisted's own
elsewhere, and those of io_uring for whoever asks for them.
"""

from __future__ import annotations

import os
import re
import select
from typing import Any

from twisted.logger import Logger

from tcpmesh.interfaces import INetwork
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.net.stock.network import StockNetwork

log = Logger(namespace="main")

VARIABLE = "TCPMESH_TRANSPORT"

URING, URING_ONLY = "uring", "uring-only"

BUSY_POLL = "TCPMESH_BUSY_POLL"

_BUSY_TIME = re.compile(r"(\d{1,4})us|0")

MOST_BUSY = 1000
"""Microseconds of busy polling, at most: what is not answered within a millisecond is not worth a
whole processor, and the reactor waits meanwhile.
"""


class NoSuchTransport(Exception):
    """The environment asks for transports that are not there, or for what they do not do; the text
    says what there is.
    """


def default_network(
    reactor: Any, listening: ListeningSockets | None = None, says_why: bool = True
) -> INetwork:
    """The network that the environment variable TCPMESH_TRANSPORT names, else the best there is
    everywhere.

    It may be `epoll`, `stock`, or `uring`, in place of which there is epoll where the system
    refuses an io_uring; `uring-only` makes that an error.  All but `stock` poll busily for as long
    as TCPMESH_BUSY_POLL says.

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
    busy = _busy_time(chosen)
    if chosen in (URING, URING_ONLY):
        from tcpmesh.net.uring.network import UringNetwork

        try:
            return UringNetwork(reactor, listening=listening, busy_poll=busy)
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

        return EpollNetwork(reactor, listening=listening, busy_poll=busy)
    return StockNetwork(reactor, listening=listening)


def _busy_time(transport: str) -> float:
    """Seconds of busy polling that the environment asks for.

    :raise NoSuchTransport: where that is no such time, or these transports do not poll.
    """
    text = os.environ.get(BUSY_POLL) or "0"
    found = _BUSY_TIME.fullmatch(text)
    microseconds = int(found[1] or 0) if found is not None else -1
    if not 0 <= microseconds <= MOST_BUSY:
        raise NoSuchTransport(
            f"the environment variable {BUSY_POLL} is '{text}'; it may be 0 or a time from 1us to "
            f"{MOST_BUSY}us"
        )
    if microseconds and transport == "stock":
        raise NoSuchTransport(
            f"the environment variable {BUSY_POLL} is '{text}', but the transports 'stock' do not "
            f"poll"
        )
    return microseconds / 1e6
