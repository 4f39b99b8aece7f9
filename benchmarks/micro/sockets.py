"""Plain sockets of loopback for clients and servers; none paces what it sends."""

from __future__ import annotations

import socket

from benchmarks.bulk import unpaced

MESSAGE = b"x" * 128
"""The small message that all measurements pass on."""


def listening() -> socket.socket:
    """A listening socket on a port that the kernel chooses, with TCP_NODELAY for what it
    accepts.
    """
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    unpaced(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def connected(address: tuple[str, int]) -> socket.socket:
    """A client of that address."""
    sock = socket.socket()
    unpaced(sock)
    sock.connect(address)
    return sock


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection."""
    with listening() as server:
        client = connected(server.getsockname())
        return client, server.accept()[0]


def expect(sock: socket.socket) -> None:
    """Receive one message.

    :raise RuntimeError: it is not there, or not whole.
    """
    if sock.recv(len(MESSAGE) + 1) != MESSAGE:
        raise RuntimeError("the message did not come through")
