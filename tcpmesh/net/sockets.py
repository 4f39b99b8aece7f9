"""What both kinds of transports ask of a socket beyond reading and writing."""

from __future__ import annotations

import errno
import socket
import struct
import termios
from fcntl import ioctl
from typing import Any

from twisted.python.failure import Failure

from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import IP_TRANSPARENT, IPV6_TRANSPARENT
from tcpmesh.values.stream.tcp_facts import TcpFacts

HIGH_WATERMARK = 1 << 20
"""Bytes: the high watermark of a transport that is told no other; Envoy's
per_connection_buffer_limit_bytes.
"""

LARGEST_READ = 1 << 18
"""Bytes: no transport delivers more in one call, so where more may be buffered none has to be told
to read less.
"""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, of no time: close sends RST."""

BareSocket: Any = socket.SocketType
"""The type below `socket.socket`: made in a third of the time, where a number needs a socket object
for a single call.
"""

STREAM, NONBLOCKING_STREAM = int(socket.SOCK_STREAM), socket.SOCK_STREAM | socket.SOCK_NONBLOCK
"""What sockets are made as; names of this module, for an attribute of another costs more."""

SO_ORIGINAL_DST = 80
"""Of linux/netfilter_ipv4.h, and of the same number for IPv6."""

TCP_INFO = struct.Struct("=24xI16xI4xI12xII24xI24xQIII4xII40xQ")
"""Of `tcp_info` in linux/tcp.h: tcpi_unacked, tcpi_last_data_sent and tcpi_last_data_recv in
milliseconds, tcpi_rtt and tcpi_rttvar in microseconds, tcpi_total_retrans, tcpi_bytes_received,
tcpi_segs_out, tcpi_segs_in, tcpi_notsent_bytes, tcpi_data_segs_in, tcpi_data_segs_out,
tcpi_bytes_sent.
"""


EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors that tell of this machine, not of a peer: only closing connections cures them."""


def is_exhausted(reason: Failure) -> bool:
    """Whether connecting failed for lack of something on this machine, so that nothing is known of
    the peer.
    """
    return getattr(reason.value, "osError", None) in EXHAUSTED


UNSENT_POLL = 0.01
UNSENT_POLLS = 500
"""A reset waits until the kernel has sent what came before it: looked at every 10 ms, for 5 s at
most.
"""


def unsent(fd: int) -> int:
    """Bytes in the kernel's queue that the peer has not acknowledged."""
    return _count(fd, termios.TIOCOUTQ)


def unread(fd: int) -> int:
    """Bytes in the kernel's queue that wait to be read."""
    return _count(fd, termios.FIONREAD)


SIOCATMARK = 0x8905
"""Of Linux (asm-generic/sockios.h)."""


def is_at_urgent(fd: int) -> bool:
    """Whether the next byte of the stream is one that was sent as urgent data."""
    try:
        return bool(_count(fd, SIOCATMARK))
    except OSError:
        return False  # the socket is of a kind that has no such thing


def _count(fd: int, request: int) -> int:
    (count,) = struct.unpack("i", ioctl(fd, request, b"\0\0\0\0"))
    return int(count)


def tcp_facts(sock: Any) -> TcpFacts | None:
    """What the system knows of a TCP socket; `None` where it does not tell."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
    except (OSError, AttributeError):
        return None
    # An older kernel tells less: of what it does not count there is none.
    (
        unacked,
        sent,
        received,
        rtt,
        variance,
        retransmits,
        bytes_received,
        segments_sent,
        segments_received,
        unsent_bytes,
        data_received,
        data_sent,
        bytes_sent,
    ) = TCP_INFO.unpack(told.ljust(TCP_INFO.size, b"\0"))
    return TcpFacts(
        rtt=rtt,
        retransmits=retransmits,
        quiet=float(min(sent, received)) / 1000,
        rtt_variance=variance,
        unacked=unacked,
        unsent=unsent_bytes,
        segments_sent=segments_sent,
        segments_received=segments_received,
        data_segments_sent=data_sent,
        data_segments_received=data_received,
        bytes_sent=bytes_sent,
        bytes_received=bytes_received,
    )


def quiet_for(sock: Any) -> float | None:
    """For how many seconds a TCP socket has neither sent nor received data; `None` where the system
    does not tell.
    """
    facts = tcp_facts(sock)
    return facts.quiet if facts is not None else None


def original_destination(sock: Any) -> Address | None:
    """Where a connection was made to before the packet filter redirected it here, or the own
    address of a transparent proxy.

    A socket that was not redirected has its own address there, or none: it is not told, for who
    connects there comes back.
    """
    try:
        own = Address.of_end(sock.family, sock.getsockname())
        level = socket.SOL_IP if own.family == socket.AF_INET else socket.IPPROTO_IPV6
        if sock.getsockopt(level, IP_TRANSPARENT if level == socket.SOL_IP else IPV6_TRANSPARENT):
            return own
        if level == socket.SOL_IP:
            port, host = struct.unpack_from("!2xH4s", sock.getsockopt(level, SO_ORIGINAL_DST, 16))
        else:
            port, host = struct.unpack_from(
                "!2xH4x16s", sock.getsockopt(level, SO_ORIGINAL_DST, 28)
            )
    except OSError:
        return None
    found = Address(socket.inet_ntop(own.family, host), port)
    return found if found != own else None


class Descriptor:
    """A connected socket that is known by its number: what can be asked of it and set."""

    __slots__ = ("__weakref__", "_family", "_host", "_peer", "fd")

    def __init__(self, fd: int, family: int, peer: Any) -> None:
        self.fd = fd
        """The number, or -1 once it is closed."""
        self._family = family
        self._peer = peer
        self._host: Address | None = None

    def getPeer(self) -> Any:
        """The other side's address."""
        if not isinstance(self._peer, Address):
            self._peer = Address.of_end(self._family, self._peer)
        return self._peer

    def getHost(self) -> Any:
        """This side's address."""
        if self._host is None:
            if self.fd < 0:
                return Address("")
            self._host = Address.of_end(self._family, self._on_socket(BareSocket.getsockname))
        return self._host

    def quiet_for(self) -> float | None:
        """For how many seconds no data has come or gone here, where the system knows."""
        if self.fd < 0 or self._family == socket.AF_UNIX:
            return None
        found: float | None = self._on_socket(quiet_for)
        return found

    def tcp_facts(self) -> TcpFacts | None:
        """What the system knows of a TCP connection."""
        if self.fd < 0 or self._family == socket.AF_UNIX:
            return None
        found: TcpFacts | None = self._on_socket(tcp_facts)
        return found

    def original_destination(self) -> Address | None:
        """Where the peer wanted to connect to, where the packet filter has redirected it here."""
        if self.fd < 0 or self._family == socket.AF_UNIX:
            return None
        found: Address | None = self._on_socket(original_destination)
        return found

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is on, as it is by default here."""
        return bool(self._get_option(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once, or not."""
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is on."""
        return bool(self._get_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Let the kernel probe a silent peer, or not."""
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    def _get_option(self, level: int, name: int) -> int:
        if self.fd < 0 or (self._family == socket.AF_UNIX and level == socket.IPPROTO_TCP):
            return 0
        return int(self._on_socket(BareSocket.getsockopt, level, name))

    def _set_option(self, level: int, name: int, value: int) -> None:
        if self.fd >= 0 and not (self._family == socket.AF_UNIX and level == socket.IPPROTO_TCP):
            self._on_socket(BareSocket.setsockopt, level, name, value)

    def linger_for_reset(self) -> None:
        """Let the next close send RST."""
        self._on_socket(BareSocket.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def shut_down(self, how: int) -> None:
        """Half-close.  Raises `OSError` where the peer is gone."""
        # Not by `_on_socket`: nearly every connection does this once.
        sock = BareSocket(self._family, STREAM, 0, self.fd)
        try:
            sock.shutdown(how)
        finally:
            sock.detach()

    def _on_socket(self, method: Any, *args: Any) -> Any:
        """Call a method that needs a socket object, which is made for the call: no connection needs
        one on its fast path.
        """
        sock = BareSocket(self._family, STREAM, 0, self.fd)
        try:
            return method(sock, *args)
        finally:
            sock.detach()
