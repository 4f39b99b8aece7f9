"""How a connection leaves one network, and goes on in another one, perhaps of another process.

The kernel has the connection, and whoever has a descriptor of it goes on with it: nothing is seen
of that on the other side.  What is not the kernel's has to go along: bytes that were read and not
yet delivered, and bytes that were written and that the kernel had no room for, which may stand in a
pipe (`tcpmesh.net.epoll.splice`); and who has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpmesh.net.epoll.pushback import PushbackBuffer
from tcpmesh.net.epoll.splice import Pump
from tcpmesh.net.epoll.writing import FIN, LOSE, OPEN, SHUT, ignore
from tcpmesh.net.sockets import BareSocket
from tcpmesh.values.stream.moved import MovedSocket

if TYPE_CHECKING:
    from tcpmesh.net.epoll.transport import EpollTransport


def can_leave(transport: EpollTransport) -> bool:
    """Whether it is neither closed, nor about to be, nor broken."""
    return transport.fd >= 0 and transport._after < LOSE and not transport._failed


def leave(transport: EpollTransport) -> tuple[int, MovedSocket]:
    """Take the descriptor from a transport of which `can_leave` is true: it is the caller's now.

    The protocol and the producer are told nothing; of the transport nothing is left.  Where pumps
    connect it with another one that leaves too, the order is of no importance.
    """
    local = transport.getHost()
    transport._detach()
    fd, transport.fd = transport.fd, -1
    pump, out = transport._pump, transport._out
    moved = MovedSocket(
        family=transport._family,
        peer=transport.getPeer(),
        local=local,
        unread=bytes(pump.data) if isinstance(pump, PushbackBuffer) else b"",
        unsent=out.take_back() if isinstance(out, Pump) else bytes(out or b""),
        dropped=transport.dropped,
        has_ended=transport._eof,
        is_half_closed=transport._after == FIN,
        pauses=transport._producer_paused or (isinstance(out, Pump) and out.is_paused),
    )
    transport._out, transport._after, transport._pump = SHUT, LOSE, None
    if pump is not None:
        pump.source_ended()
    transport._protocol = transport._producer = transport._onto = None
    transport._receive = ignore
    transport._streaming = False
    return fd, moved


def arrive(transport: EpollTransport, moved: MovedSocket) -> None:
    """Let a transport that nobody has used yet be as another one was: it is paused."""
    transport._paused = True
    transport._eof = moved.has_ended
    transport._failed = not moved.is_half_closed and not _is_connected(transport)
    transport.dropped = moved.dropped
    transport._after = FIN if moved.is_half_closed else OPEN
    transport._producer_paused = moved.pauses
    if moved.unsent:
        transport._out = bytearray(moved.unsent)
    elif moved.is_half_closed:
        transport._out = SHUT
    if moved.unsent:
        transport._await_room()
    if moved.unread:
        transport.unread(moved.unread)


def _is_connected(transport: EpollTransport) -> bool:
    """Whether there is a connection still, before this side has ended it.  Where there is none it
    was reset, and who had it before may have been the one whom the kernel told, which it does once.
    """
    try:
        transport._on_socket(BareSocket.getpeername)
    except OSError:
        return False
    return True
