"""Descriptors that clients may not take: with them the admin interface, health checks, log files
and DNS go on working where all others are used up.

The kernel gives the lowest number that is free, so the numbers tell how many are left.  Clients are
accepted as long as one of them and its upstream can have numbers below `for_clients`, and nothing
is connected for a client by a number of `for_upstreams` or above; what lies between makes up for
whoever was accepted and connects later.  Who connects for another purpose may have all.

Every port of a network stops accepting when one finds that there is no room: clients wait in the
queues of the kernel, which refuse in the end, and are served as soon as others leave.  Looking
costs some system calls, so far from the limit only the number of each client is looked at; near it,
a port asks before each `accept`.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

log = Logger(namespace="listener")

RESERVE = 64
"""Descriptors kept from clients, or an eighth of all where that is less."""

NEAR = 32
"""So many below the last number for clients, ports begin to look before they accept; they end it at
twice as many."""

REST = 0.1
"""Seconds between two looks whether there is room again."""

QUIET = 60.0
"""Seconds between two log lines about that."""


class Accepting(Protocol):
    """A listening port."""

    def fileno(self) -> int:
        """Its descriptor."""

    def getHost(self) -> Any:
        """What is bound."""

    def pause_accepting(self) -> None:
        """Let clients wait."""

    def resume_accepting(self) -> None:
        """Accept again."""


class DescriptorReserve:
    """The descriptors of this process, as the ports and connectors of one network see them.

    :param clock: an `IReactorTime`.
    :param limit: numbers below this can be had; by default what the system allows this process.
    :param reserve: how many of them are not for clients; `RESERVE` or less where nothing is said.
    """

    def __init__(self, clock: Any, limit: int | None = None, reserve: int | None = None) -> None:
        self.is_near = False
        """Whether `has_room` is to be asked before each `accept`."""
        self._clock = clock
        self._ports: set[Accepting] = set()
        self._call: IDelayedCall | None = None
        self._warned = -QUIET
        self.limit_to(_descriptor_limit() if limit is None else limit, reserve)

    def limit_to(self, limit: int, reserve: int | None = None) -> None:
        """From now on numbers below this can be had, so many of them not for clients."""
        kept = min(RESERVE, limit // 8) if reserve is None else reserve
        self.for_clients = limit - kept
        self.for_upstreams = limit - kept // 2
        margin = min(NEAR, self.for_clients // 8)
        self.near = self.for_clients - margin
        """A client with this number or a higher one is to be told of, by `is_near`."""
        self._far = self.near - margin

    def add(self, port: Accepting) -> None:
        """A port accepts from now on, once there is room."""
        self._ports.add(port)
        if self._call is not None:
            port.pause_accepting()

    def discard(self, port: Accepting) -> None:
        """A port accepts no more."""
        self._ports.discard(port)
        if not self._ports and self._call is not None:
            self._call.cancel()
            self._call = None

    def has_room(self, fd: int) -> bool:
        """Whether a client and its upstream can have numbers that are for them.

        :param fd: an open descriptor, which is duplicated to find out.
        """
        taken: list[int] = []
        try:
            taken += (os.dup(fd) for _ in range(2))
        except OSError:
            return False
        finally:
            for each in taken:
                os.close(each)
        highest = max(taken)
        if highest < self._far:
            self.is_near = False
        return highest < self.for_clients

    def rest(self, port: Accepting, why: str) -> None:
        """A port has found that it can accept nobody: let all of them rest, rather than try in
        vain what only closing connections can cure.
        """
        if self._call is not None:
            return
        self.is_near = True
        now = self._clock.seconds()
        if now - self._warned >= QUIET:
            self._warned = now
            log.warn(
                "not accepting on {address}, nor elsewhere, until connections are closed: {why}",
                address=port.getHost(),
                why=why,
            )
        self._call = self._clock.callLater(REST, self._look)
        for each in tuple(self._ports):
            each.pause_accepting()

    def check(self, fd: int) -> None:
        """Whether an upstream connection for a client may have this number.

        :raise OSError: where it may not, as if there were none left.
        """
        if fd >= self.for_upstreams:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def _look(self) -> None:
        self._call = None
        if not self.has_room(next(iter(self._ports)).fileno()):
            self._call = self._clock.callLater(REST, self._look)
            return
        for port in tuple(self._ports):
            port.resume_accepting()


def _descriptor_limit() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
