"""What an outgoing socket is told before it connects: where from, and the options of the system."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectBindError, ConnectError

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address

IP_BIND_ADDRESS_NO_PORT: int = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
TCP_FASTOPEN: int = getattr(socket, "TCP_FASTOPEN", 23)
IPPROTO_MPTCP = 262
IP_FREEBIND: int = getattr(socket, "IP_FREEBIND", 15)
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
IPV6_FREEBIND = 78
"""Of Linux 4.15 and later; Python has no names for these."""


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
    hops: int = 0
    """How many listeners of this process the client has come through, one after the other."""

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
                    freebind(source.family).set(sock)
                if source.port == 0:
                    # The kernel may then use one port for several destinations, so ports do not run
                    # out early.
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(source.sockaddr)
        except OSError as e:
            raise ConnectBindError(e.errno, f"cannot bind '{source}': {e.strerror}") from None


def transparent(family: int) -> SocketOption:
    """Let a socket of this address family take what is for any address, and send from it."""
    if family == socket.AF_INET6:
        return SocketOption(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    return SocketOption(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


def freebind(family: int) -> SocketOption:
    """Let a socket of this address family bind an address that no interface has."""
    if family == socket.AF_INET6:
        return SocketOption(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    return SocketOption(socket.IPPROTO_IP, IP_FREEBIND, 1)


def fast_open(queue_length: int) -> SocketOption:
    """Let a listening socket take data with a SYN (RFC 7413), for so many clients at a time that
    have not finished the handshake; 0 for none.
    """
    return SocketOption(socket.IPPROTO_TCP, TCP_FASTOPEN, queue_length)


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


def _set(sock: Any, options: tuple[SocketOption, ...]) -> None:
    for option in options:
        try:
            option.set(sock)
        except OSError as e:
            raise OptionError(e.errno, e.strerror) from None


@dataclass(frozen=True)
class ListenOptions:
    """How to bind (fields of `envoy.config.listener.v3.Listener`)."""

    name: str = ""
    """Of the listener (`name`): a socket of this name may have been bound before."""

    reuse_port: bool = True
    """SO_REUSEPORT, so that several processes may share the port (`enable_reuse_port`)."""

    backlog: int | None = None
    """Length of the accept queue (`tcp_backlog_size`); `None` for the system's largest."""

    mode: int | None = None
    """Permissions of a unix socket (`Pipe.mode`), or `None` for the process's umask."""

    dual_stack: bool = False
    """Whether an IPv6 socket takes clients by IPv4 too (`ipv4_compat`)."""

    multipath: bool = False
    """Whether it is a socket of MPTCP (`enable_mptcp`)."""

    namespace: str = ""
    """The network namespace that it belongs to, a file (`network_namespace_filepath`)."""

    accepts_per_event: int = 0
    """At most so many accepts for each readiness event
    (`max_connections_to_accept_per_socket_event`); 0 for no limit.
    """

    before_bind: tuple[SocketOption, ...] = ()
    """Socket options by the time at which they are set (`socket_options`)."""

    after_bind: tuple[SocketOption, ...] = ()
    after_listen: tuple[SocketOption, ...] = ()
