"""The unix socket at which a process is found by the one that takes over from it
(`--socket-path`, `--base-id`).

There is one for each base id, whatever the epoch: it is handed over with all others.  So it is also
the lock that keeps a second proxy from being started by accident.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from secrets import randbelow
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger

from tcpmesh.net.listen import BindError, bind
from tcpmesh.values.address import Address
from tcpmesh.values.lifecycle.restart import CannotTakeOver
from tcpmesh.values.socket_options import ListenOptions

log = Logger(namespace="main")

BACKLOG = 8
ATTEMPTS = 64
"""Base ids that are tried where any will do."""

MOST_BASE_ID = (1 << 32) - 1
_CREDENTIALS = struct.Struct("3i")


def restart_address(path: str, base_id: int) -> Address:
    """Where processes of a base id are found."""
    if not path.startswith("@"):
        path = os.path.abspath(path)
    return Address(f"{path}_{base_id}")


def bind_restart_socket(address: Address, mode: int) -> socket.socket:
    """Listen there.

    :param mode: of the path, where it is one.
    :raise BindError: where somebody does already, or the system refuses.
    """
    sock = bind(address, ListenOptions(mode=mode))
    sock.listen(BACKLOG)
    return sock


def bind_any(path: str, mode: int) -> tuple[int, socket.socket]:
    """Listen for a base id that nobody has, and say which.

    :raise BindError: where none can be had.
    """
    error: BindError | None = None
    for _ in range(ATTEMPTS):
        base_id = randbelow(MOST_BASE_ID) + 1
        try:
            return base_id, bind_restart_socket(restart_address(path, base_id), mode)
        except BindError as e:
            error = e
    raise error or BindError("there is no base id left")


def connect(address: Address, seconds: float, uid: int) -> socket.socket:
    """A connection to the process that is there.

    :param uid: of the user that this process becomes.
    :raise ConnectionRefusedError: where there is none, as an `OSError` of the path's absence.
    :raise CannotTakeOver: where it is another user's.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(address.sockaddr)
        if peer_uid(sock) not in (0, os.geteuid(), uid):
            raise CannotTakeOver(f"'{address}' is a socket of user {peer_uid(sock)}")
    except BaseException:
        sock.close()
        raise
    return sock


def peer_uid(sock: socket.socket) -> int:
    """The user of whoever is on the other side of a unix socket."""
    told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])


@implementer(IReadDescriptor)
class RestartSocket:
    """Where others come who want to take over.

    :param sock: the listening socket, which belongs to this from now on.
    :param met: takes the socket of each that may.
    """

    def __init__(
        self, sock: socket.socket, reactor: Any, met: Callable[[socket.socket], object]
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._reactor = reactor
        self._met = met
        self._is_served = False

    def serve(self) -> None:
        """Let others come."""
        if not self._is_served and self.sock.fileno() >= 0:
            self._is_served = True
            self._reactor.addReader(self)

    def close(self) -> None:
        """Let nobody come any more.  A path stays: a successor may have it."""
        if self._is_served:
            self._is_served = False
            self._reactor.removeReader(self)
        self.sock.close()

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self.sock.fileno()

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return "hot restart"

    def connectionLost(self, reason: Any) -> None:
        """The reactor gives up on the descriptor."""
        self.close()

    def doRead(self) -> None:
        """Somebody comes."""
        try:
            sock, _ = self.sock.accept()
        except OSError:
            return
        uid = peer_uid(sock)
        if uid in (0, os.geteuid()):
            self._met(sock)
        else:
            sock.close()
            log.warn("user {uid} may not take over from this process", uid=uid)
