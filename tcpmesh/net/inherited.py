"""Listening sockets that the process was started with, instead of binding their addresses.

A service manager binds them before the program runs, which then needs no privileges, and clients
wait in their queues while it starts (socket activation: sd_listen_fds(3)).  A listener takes the
one that has its name, or else the one of its address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from typing import NamedTuple

from tcpmesh.net.listen import BindError, BoundSocket
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.socket_options import ListenOptions

FIRST = 3
"""The descriptor of the first one: SD_LISTEN_FDS_START."""

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Inherited(NamedTuple):
    """One socket."""

    name: str
    """As whoever has bound it calls it; perhaps empty."""

    address: Address
    sock: socket.socket


class InheritedSockets:
    """Those of a process.  They stay open beside what is made of them, for a listener may go and
    come again, and the service manager has them open all the time anyway.
    """

    def __init__(self, sockets: Iterable[Inherited] = ()) -> None:
        self._sockets = tuple(sockets)
        self._untaken = {each.sock: each for each in self._sockets}

    def take(self, address: Address, options: ListenOptions) -> BoundSocket | None:
        """A descriptor more of the socket that a listener with this address and these options is to
        have; `None` where there is none for it.

        :raise tcpmesh.net.listen.BindError: where the socket cannot be as the options say.
        """
        found = self._find(address, options)
        if found is None:
            return None
        self._untaken.pop(found.sock, None)
        try:
            with all_or_nothing() as undo:
                sock = BoundSocket(fileno=os.dup(found.sock.fileno()))
                undo.callback(sock.close)
                sock.setblocking(False)
                for option in options.before_bind + options.after_bind:
                    option.set(sock)
                if sock.family != socket.AF_UNIX:
                    # Inherited by every accepted socket.
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as e:
            raise BindError(f"cannot use the socket {_text(found)}: {e.strerror or e}") from None
        return sock

    def add(self, sockets: Iterable[Inherited]) -> None:
        """Those that a predecessor was started with."""
        self._sockets += tuple(sockets)
        self._untaken = {each.sock: each for each in self._sockets}

    def all(self) -> tuple[Inherited, ...]:
        """All, taken or not."""
        return self._sockets

    def untaken(self) -> list[str]:
        """Those that no listener has taken, as texts."""
        return list(map(_text, self._untaken.values()))

    def close(self) -> None:
        """They are of no use any more."""
        for each in self._sockets:
            each.sock.close()
        self._untaken.clear()

    def _find(self, address: Address, options: ListenOptions) -> Inherited | None:
        for each in self._sockets:
            if each.name and each.name == options.name:
                return each
        if options.namespace:
            return None
        for each in self._sockets:
            if each.address == address:
                return each
        return None


def _text(inherited: Inherited) -> str:
    name = f"'{inherited.name}' of " if inherited.name else "of "
    return f"{name}{inherited.address}"


def inherited_sockets(environ: MutableMapping[str, str], first: int = FIRST) -> InheritedSockets:
    """Those that a service manager has started this process with.  The variables that say so are
    taken away, for they are not true of processes that this one starts.

    :raise BindError: where one of the descriptors is no listening socket.
    """
    pid, count, names = (environ.pop(name, "") for name in VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return InheritedSockets()
    called = names.split(":") if names else []
    found: list[Inherited] = []
    for index in range(int(count)):
        name = called[index] if index < len(called) else ""
        found.append(_inherited(first + index, name))
    return InheritedSockets(found)


def _inherited(fd: int, name: str) -> Inherited:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.detach()
            raise OSError("it does not listen")
    except OSError as e:
        raise BindError(
            f"descriptor {fd} of LISTEN_FDS is no listening socket: {e.strerror or e}"
        ) from None
    sock.setblocking(False)
    return Inherited(name, Address.from_sockaddr(sock.family, sock.getsockname()), sock)
