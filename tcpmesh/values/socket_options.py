"""What an outgoing socket is told before it connects: where from, and the options of the system."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import ConnectBindError, ConnectError

from tcpmesh.values.address import Address

IP_BIND_ADDRESS_NO_PORT: int = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
IP_FREEBIND: int = getattr(socket, "IP_FREEBIND", 15)
IPV6_FREEBIND = 78
"""Of Linux 4.15 and later; Python has no name for it."""


class OptionError(ConnectError):
    """The system refused an option of the socket: the host has not been asked yet."""


@dataclass(frozen=True)
class SocketOption:
    """One call of setsockopt (`core.v3.SocketOption`)."""

    level: int
    name: int
    value: int | bytes

    def set(self, sock: Any) -> None:
        """Set it.  Raises `OSError`, with a text that names the option, where the system
        refuses.
        """
        try:
            sock.setsockopt(self.level, self.name, self.value)
        except OSError as e:
            raise OSError(
                e.errno, f"socket option {self.level}/{self.name}: {e.strerror}"
            ) from None


@dataclass(frozen=True)
class ConnectOptions:
    """How an outgoing socket is made ready (`core.v3.BindConfig`,
    `cluster.v3.UpstreamConnectionOptions`).
    """

    source: Address | None = None
    """Bound before connecting; with port 0 the kernel chooses one as it connects."""

    freebind: bool = False
    """Whether the source may be an address that no interface has."""

    before_bind: tuple[SocketOption, ...] = ()
    after_bind: tuple[SocketOption, ...] = ()

    def apply(self, sock: Any) -> None:
        """Set the options and bind.

        :raise ConnectBindError: where the source cannot be bound.
        :raise OptionError: where an option is refused.
        """
        _set(sock, self.before_bind)
        if self.source is not None:
            self._bind(sock, self.source)
        _set(sock, self.after_bind)

    def _bind(self, sock: Any, source: Address) -> None:
        try:
            if source.family != socket.AF_UNIX:
                if self.freebind:
                    _free(sock, source)
                if source.port == 0:
                    # The kernel may then use one port for several destinations, so ports do not run
                    # out early.
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(source.sockaddr)
        except OSError as e:
            raise ConnectBindError(e.errno, f"cannot bind '{source}': {e.strerror}") from None


def keepalive(
    probes: int | None, time: int | None, interval: int | None
) -> tuple[SocketOption, ...]:
    """Let the kernel probe a silent peer.

    :param probes: how many without an answer mean that it is gone; `None` for the system's default,
        as below.
    :param time: seconds of silence before the first probe.
    :param interval: seconds between probes.
    """
    given = (
        (socket.TCP_KEEPCNT, probes),
        (socket.TCP_KEEPIDLE, time),
        (socket.TCP_KEEPINTVL, interval),
    )
    chosen = tuple(
        SocketOption(socket.IPPROTO_TCP, name, value) for name, value in given if value is not None
    )
    return (SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *chosen)


def _free(sock: Any, source: Address) -> None:
    if source.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def _set(sock: Any, options: tuple[SocketOption, ...]) -> None:
    for option in options:
        try:
            option.set(sock)
        except OSError as e:
            raise OptionError(e.errno, e.strerror) from None


@dataclass(frozen=True)
class ListenOptions:
    """How to bind (fields of `envoy.config.listener.v3.Listener`)."""

    reuse_port: bool = True
    """SO_REUSEPORT, so that several processes may share the port (`enable_reuse_port`)."""

    backlog: int | None = None
    """Length of the accept queue (`tcp_backlog_size`); `None` for the system's largest."""

    mode: int | None = None
    """Permissions of a unix socket (`Pipe.mode`), or `None` for the process's umask."""

    accepts_per_event: int = 0
    """At most so many accepts for each readiness event
    (`max_connections_to_accept_per_socket_event`); 0 for no limit.
    """

    before_bind: tuple[SocketOption, ...] = ()
    """Socket options by the time at which they are set (`socket_options`)."""

    after_bind: tuple[SocketOption, ...] = ()
    after_listen: tuple[SocketOption, ...] = ()
