"""Connect checks with bare sockets: no transport and no protocol is made for a connection that is
closed at once.
"""

from __future__ import annotations

import errno
import socket
from select import EPOLLERR, EPOLLHUP, EPOLLONESHOT, EPOLLOUT
from typing import Any

from twisted.internet.error import ConnectError

from tcpmesh.net.connecting.connect_check import ConnectCheckListener
from tcpmesh.net.epoll.resources import EpollResources
from tcpmesh.net.sockets import EXHAUSTED, NONBLOCKING_STREAM, BareSocket
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions

MADE = frozenset((0, errno.EISCONN))
UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EALREADY))


class EpollConnectCheck:
    """Connects to one address with bare sockets, and closes at once; the listener may hear of the
    outcome from within `start`.

    :param timeout: seconds.
    """

    __slots__ = ("_address", "_fd", "_listener", "_network", "_options", "_queue")

    def __init__(
        self,
        network: EpollResources,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None,
    ) -> None:
        self._network = network
        self._address = address
        self._listener = listener
        self._options = options
        self._queue = network.timers.queue(timeout, _timed_out)
        self._fd = -1

    def start(self) -> None:
        """Try once; not while an attempt is under way."""
        try:
            sock = BareSocket(self._address.family, NONBLOCKING_STREAM)
        except OSError as e:
            self._tell(e.errno)
            return
        error = self._connect(sock)
        if error in UNDER_WAY:
            self._watch(sock.detach())
            return
        sock.close()
        self._tell(error)

    def _tell(self, error: int | None) -> None:
        """How it went, by an error number."""
        if error in MADE:
            self._listener.on_connected()
        elif error in EXHAUSTED:
            self._listener.on_not_tried()
        else:
            self._listener.on_refused(False)

    def _connect(self, sock: Any) -> int:
        """The error number of an attempt, 0 where a connection was made."""
        sockaddr = self._address.sockaddr
        try:
            if self._options is not None:
                self._options.apply(sock)
            error: int = sock.connect_ex(sockaddr)
            return sock.connect_ex(sockaddr) if error == errno.EINPROGRESS else error
        except (OSError, ConnectError) as e:
            return e.errno if isinstance(e, OSError) and e.errno else errno.ECONNREFUSED

    def stop(self) -> None:
        """Give up the attempt that is under way, if any; also where the poller stops."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._queue.discard(self)
            self._network.poller.close(fd)

    def _watch(self, fd: int) -> None:
        self._fd = fd
        self._queue.add(self)
        self._network.poller.register(fd, self, EPOLLOUT | EPOLLONESHOT)

    def ready(self, mask: int) -> None:
        """The poller: the attempt has come to an end."""
        error = self._error() if mask & (EPOLLERR | EPOLLHUP) else 0
        self.stop()
        self._tell(error)

    def ready_again(self) -> None:
        """Nothing is ever put off here."""

    def failed(self) -> None:
        """The listener raised."""
        self.stop()

    def timed_out(self) -> None:
        """Nobody answers."""
        self.stop()
        self._listener.on_refused(True)

    def _error(self) -> int:
        sock = BareSocket(self._address.family, socket.SOCK_STREAM, 0, self._fd)
        try:
            return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        finally:
            sock.detach()


def _timed_out(check: EpollConnectCheck) -> None:
    check.timed_out()
