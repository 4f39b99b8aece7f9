"""Sockets that a listener binds: apart from accepting, so that a privileged port can be bound
before root is given up, and opened for clients only once all that serves them is ready."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import MutableSet
from contextlib import suppress
from itertools import count

from tcpmesh.net.congestion import spare_loopback
from tcpmesh.net.namespace import network_namespace
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.socket_options import IPPROTO_MPTCP, ListenOptions, SocketOption

_serials = count(1)

MOST_BACKLOG = (1 << 31) - 1
"""What the system call takes; the kernel has a limit of its own below that."""


class BindError(Exception):
    """An address could not be bound; the text names it and says why."""


class BoundSocket(socket.socket):
    """A socket of `bind`."""

    _path = ""
    """The path that a unix socket is bound to."""
    _file: tuple[int, int] | None = None
    """The device and the number of the file there."""
    _registry: MutableSet[BoundSocket] | None = None
    asked: Address
    """What was asked for, perhaps with port 0."""
    name = ""
    """Of the listener that it was bound for."""
    namespace = ""
    """The file of the network namespace that it is in; empty for that of the process."""
    serial = 0
    """Greater than that of each that was made before."""

    def register(self, registry: MutableSet[BoundSocket]) -> None:
        """Be known to somebody, as are all duplicates from now on."""
        self.serial = next(_serials)
        self._registry = registry
        registry.add(self)

    def dup(self) -> BoundSocket:
        """Another descriptor of it, which has no file to remove."""
        with all_or_nothing() as undo:
            copy = super().dup()
            undo.callback(copy.close)
            if self._registry is not None:
                copy.asked, copy.name, copy.namespace = self.asked, self.name, self.namespace
                copy.register(self._registry)
        return copy

    def bind_to_path(self, path: str) -> None:
        """Bind a unix socket."""
        self.bind(path)
        self._path = path
        status = os.stat(path)
        self._file = status.st_dev, status.st_ino

    def remove_file(self) -> None:
        """Remove the path of a unix socket, unless somebody has taken it for one that was left
        behind and has it now.
        """
        path, self._path = self._path, ""
        if path:
            with suppress(OSError):
                status = os.stat(path)
                if self._file in (None, (status.st_dev, status.st_ino)):
                    os.unlink(path)

    def close_unopened(self) -> None:
        """Close it before it was opened; the path of a unix socket goes with it."""
        self.remove_file()
        self.close()


def bind(address: Address, options: ListenOptions) -> BoundSocket:
    """A non-blocking socket bound to the address, not yet listening.

    :raise BindError: where the system refuses, or another process listens at the path of a unix
        socket.
    """
    try:
        with all_or_nothing() as undo:
            sock = _new_socket(address, options)
            undo.callback(sock.close_unopened)
            sock.setblocking(False)
            spare_loopback(sock, address)
            _set(sock, options.before_bind)
            if address.family == socket.AF_UNIX:
                _bind_unix(sock, address, options)
            else:
                _bind_inet(sock, address, options)
            _set(sock, options.after_bind)
    except OSError as e:
        raise BindError(f"cannot bind '{address}': {e.strerror or e}{_hint(address, e)}") from None
    return sock


def _new_socket(address: Address, options: ListenOptions) -> BoundSocket:
    with network_namespace(options.namespace):
        return BoundSocket(
            address.family, socket.SOCK_STREAM, IPPROTO_MPTCP if options.multipath else 0
        )


def open_socket(sock: socket.socket, options: ListenOptions) -> None:
    """Let clients connect to a bound socket.

    :raise BindError: where another process has begun to listen there since it was bound.
    """
    try:
        sock.listen(
            _largest_backlog() if options.backlog is None else min(options.backlog, MOST_BACKLOG)
        )
        _set(sock, options.after_listen)
    except OSError as e:
        address = Address.from_sockaddr(sock.family, sock.getsockname())
        raise BindError(f"cannot listen on '{address}': {e.strerror}") from None


def _set(sock: socket.socket, options: tuple[SocketOption, ...]) -> None:
    for option in options:
        option.set(sock)


def _bind_inet(sock: socket.socket, address: Address, options: ListenOptions) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.reuse_port and hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if address.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not options.dual_stack)
    # What is set here is inherited by every accepted socket: one system call for all of them.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind(address.sockaddr)


def take_over(sock: socket.socket, options: ListenOptions) -> None:
    """Let a listening unix socket, bound by a predecessor, be as these options say.

    :raise BindError: where the system refuses.
    """
    try:
        _set(sock, options.before_bind + options.after_bind)
        set_mode(sock, options)
    except OSError as e:
        raise BindError(f"cannot change '{sock.getsockname()}': {e.strerror or e}") from None


def set_mode(sock: socket.socket, options: ListenOptions) -> None:
    """Let the path of a unix socket, where it has one, be open to whom these options say.

    :raise OSError: where the system refuses.
    """
    path = sock.getsockname()
    if options.mode is not None and sock.family == socket.AF_UNIX and isinstance(path, str):
        os.chmod(path, options.mode)


def _bind_unix(sock: BoundSocket, address: Address, options: ListenOptions) -> None:
    if address.host.startswith("@"):
        sock.bind(address.sockaddr)
        return
    _remove_stale(address.host)
    sock.bind_to_path(address.sockaddr)
    if options.mode is not None:
        os.chmod(address.host, options.mode)


def _remove_stale(path: str) -> None:
    """Remove the socket that an earlier process left behind.  Anything that is not a socket stays,
    and so does the socket of a process that is there.

    :raise OSError: where somebody listens there, or may do so.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.setblocking(False)
            error = client.connect_ex(path)
        if error == errno.ECONNREFUSED:
            os.unlink(path)
        elif error != errno.ENOENT:
            raise OSError(errno.EADDRINUSE, "another process listens there")
    except FileNotFoundError:
        pass


def _largest_backlog() -> int:
    try:
        with open("/proc/sys/net/core/somaxconn") as f:
            return int(f.read())
    except (OSError, ValueError):
        return socket.SOMAXCONN


def _hint(address: Address, e: OSError) -> str:
    if e.errno == errno.EACCES and 0 < address.port < 1024:
        return (
            " (a port below 1024 needs root, CAP_NET_BIND_SERVICE or a lower "
            "net.ipv4.ip_unprivileged_port_start)"
        )
    if e.errno == errno.EADDRNOTAVAIL:
        return " (no interface of this machine has that address)"
    return ""
