"""Where the listening sockets of a process come from: those of a process that it takes over from,
those that a service manager has bound, and else its own.

It also knows which of them are open, so that they can be handed over in turn.

A socket that is handed over has a queue of clients who are connected as far as they know.  So none
is closed for there being too many of them: with `SO_REUSEPORT` each worker of the predecessor had
one, and where there are fewer workers now, what is left over belongs to the listener all the same
(`take_rest`).  Where there are more, and the process may not bind the address once more, two accept
from one socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakSet, WeakValueDictionary

from tcpmesh.net.inherited import InheritedSockets
from tcpmesh.net.listen import BindError, BoundSocket, bind, set_mode
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.socket_options import IPPROTO_MPTCP, ListenOptions

SO_PROTOCOL: int = getattr(socket, "SO_PROTOCOL", 38)


class Handed(NamedTuple):
    """One socket of the predecessor's."""

    name: str
    """Of its listener."""

    asked: Address
    """The address as its configuration has it, perhaps with port 0."""

    namespace: str
    """The file of the network namespace that it is in; empty for the process's own."""

    sock: socket.socket


class ListeningSockets:
    """All listening sockets of a process, but those of the admin interface.

    :param inherited: those that the process was started with.
    :param handed: those of a predecessor.
    """

    def __init__(
        self,
        inherited: InheritedSockets = InheritedSockets(),  # noqa: B008 - of none
        handed: Iterable[Handed] = (),
    ) -> None:
        self.inherited = inherited
        self._handed = list(handed)
        self._made: WeakSet[BoundSocket] = WeakSet()
        self._taken: WeakValueDictionary[tuple[Address, str], BoundSocket] = WeakValueDictionary()
        """Those of the predecessor's that were taken, by what they are bound to."""

    def bind(self, address: Address, options: ListenOptions) -> BoundSocket:
        """A socket that is bound to an address.

        :raise BindError: where it cannot be had, or cannot be as the options say.
        """
        sock = self.inherited.take(address, options) or self._take(address, options)
        if sock is None:
            sock = self._bind(address, options)
        with all_or_nothing() as undo:
            undo.callback(sock.close_unopened)
            self._keep(sock, address, options)
        return sock

    def take_rest(self, address: Address, options: ListenOptions) -> list[BoundSocket]:
        """All that are left of the predecessor's and are bound to this address.

        :raise BindError: where one cannot be as the options say.
        """
        found = []
        with all_or_nothing() as undo:
            while (sock := self._take(address, options)) is not None:
                undo.callback(sock.close)
                self._keep(sock, address, options)
                found.append(sock)
        return found

    def opened(self) -> list[BoundSocket]:
        """Those that clients can connect to, the oldest first; of several descriptors of one socket
        the first, and none of what the process was started with.
        """
        there = [each for each in self._made if each.fileno() >= 0 and _listens(each)]
        known = {_identity(each.sock) for each in self.inherited.all()}
        found: dict[tuple[int, int], BoundSocket] = {}
        for each in sorted(there, key=lambda each: each.serial):
            if (identity := _identity(each)) not in known:
                found.setdefault(identity, each)
        return list(found.values())

    def settle(self) -> list[str]:
        """All listeners are there: what the predecessor had besides is closed.  Its texts, one of
        each listener, however many sockets that had.
        """
        left, self._handed = self._handed, []
        self._taken.clear()
        for each in left:
            each.sock.close()
        return list(dict.fromkeys(f"'{each.name}' on {each.asked}" for each in left))

    def close(self) -> None:
        """Nothing more is bound."""
        self.settle()
        self.inherited.close()

    def _keep(self, sock: BoundSocket, address: Address, options: ListenOptions) -> None:
        sock.asked, sock.name, sock.namespace = address, options.name, options.namespace
        sock.register(self._made)

    def _bind(self, address: Address, options: ListenOptions) -> BoundSocket:
        try:
            return bind(address, options)
        except BindError:
            before = self._taken.get((address, options.namespace))
            if before is None or before.fileno() < 0:
                raise
        with all_or_nothing() as undo:
            copy = before.dup()
            undo.callback(copy.close)
            copy.setblocking(False)
        return copy

    def _take(self, address: Address, options: ListenOptions) -> BoundSocket | None:
        found = next((each for each in self._handed if _fits(each, address, options)), None)
        if found is None:
            return None
        self._handed.remove(found)
        sock = BoundSocket(fileno=found.sock.detach())
        self._taken[_address(sock), options.namespace] = sock
        try:
            sock.setblocking(False)
            for option in options.before_bind + options.after_bind:
                option.set(sock)
            set_mode(sock, options)
        except OSError as e:
            sock.close()
            raise BindError(f"cannot take over '{address}': {e.strerror or e}") from None
        return sock


def _address(sock: socket.socket) -> Address:
    return Address.from_sockaddr(sock.family, sock.getsockname())


def _identity(sock: socket.socket) -> tuple[int, int]:
    """The same for all descriptors of one socket."""
    status = os.fstat(sock.fileno())
    return status.st_dev, status.st_ino


def _fits(handed: Handed, address: Address, options: ListenOptions) -> bool:
    """Whether a socket is what these options would bind.  Where any port is asked for, the one that
    the listener had is as good as another.
    """
    sock = handed.sock
    if handed.namespace != options.namespace or sock.family != address.family:
        return False
    if address.family != socket.AF_UNIX and not address.port:
        if (handed.name, handed.asked) != (options.name, address):
            return False
    elif _address(sock) != address:
        return False
    return _is_of_kind(sock, options)


def _is_of_kind(sock: socket.socket, options: ListenOptions) -> bool:
    """Whether what is fixed once a socket is bound is as wanted."""
    if sock.family == socket.AF_UNIX:
        return True
    with suppress(OSError):  # a system that does not tell has one protocol
        is_multipath = sock.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP
        if is_multipath != options.multipath:
            return False
    if sock.family != socket.AF_INET6:
        return True
    return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) != options.dual_stack


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def listening_socket(fd: int) -> socket.socket:
    """The socket of a descriptor, which is closed where it is none.

    :raise OSError: where it does not listen.
    """
    with all_or_nothing() as undo:
        undo.callback(os.close, fd)
        sock = socket.socket(fileno=fd)
        undo.callback(sock.detach)
        if sock.type != socket.SOCK_STREAM or not _listens(sock):
            raise OSError("it is no listening socket")
    return sock
