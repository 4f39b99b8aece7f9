"""The listening sockets that go from one process to the next, beside a `sockets` message each."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tcpmesh.net.inherited import Inherited
from tcpmesh.net.listening import Handed, listening_socket
from tcpmesh.server.processes.framing import AT_ONCE, Frame, FramingError
from tcpmesh.server.restart.messages import decode, rows, text, whole
from tcpmesh.values.address import Address

LISTENER, ADMIN, KEPT, RESTART = "listener", "admin", "kept", "restart"
"""What a socket is for: clients; the admin interface; whoever listens there some day, since the
service manager has bound it; processes that take over."""


class Out(NamedTuple):
    """One that is handed over."""

    use: str
    sock: socket.socket
    asked: Address
    """The address as the configuration has it, perhaps with port 0."""

    name: str = ""
    namespace: str = ""


def socket_frames(out: Sequence[Out]) -> Iterator[tuple[list[dict[str, object]], list[int]]]:
    """What is told of all, and their descriptors, as many at once as one system call takes; at
    least one such part.
    """
    for at in range(0, max(len(out), 1), AT_ONCE):
        part = out[at : at + AT_ONCE]
        yield [_row(each) for each in part], [each.sock.fileno() for each in part]


def _row(out: Out) -> dict[str, object]:
    return {
        "use": out.use,
        "host": out.asked.host,
        "port": out.asked.port,
        "name": out.name,
        "namespace": out.namespace,
    }


class Taken:
    """What has come from the predecessor."""

    def __init__(self) -> None:
        self.listening: list[Handed] = []
        self.kept: list[Inherited] = []
        self.admin: tuple[Address, socket.socket] | None = None
        self.restart: socket.socket | None = None

    def add(self, frame: Frame) -> None:
        """Take the sockets of one message; those that are of no use here are closed.

        :raise FramingError: where they are not what the message says; all are closed then.
        """
        left = list(frame.descriptors)
        try:
            told = rows(decode(frame.body), "sockets")
            if len(told) != len(left):
                raise FramingError(f"{len(told)} sockets are announced and {len(left)} came")
            for row in told:
                use = text(row, "use")
                asked = Address(text(row, "host"), whole(row, "port"))
                self._take(use, listening_socket(left.pop(0)), asked, row)
        except OSError as e:
            raise FramingError(f"a descriptor cannot be used: {e.strerror or e}") from None
        finally:
            for fd in left:
                os.close(fd)

    def _take(self, use: str, sock: socket.socket, asked: Address, row: object) -> None:
        assert isinstance(row, dict)
        name = text(row, "name")
        if use == LISTENER:
            self.listening.append(Handed(name, asked, text(row, "namespace"), sock))
        elif use == KEPT:
            bound = Address.from_sockaddr(sock.family, sock.getsockname())
            self.kept.append(Inherited(name, bound, sock))
        elif use == ADMIN and self.admin is None:
            self.admin = asked, sock
        elif use == RESTART and self.restart is None:
            self.restart = sock
        else:
            sock.close()

    def close(self) -> None:
        """Nothing of it is of use."""
        left = [each.sock for each in self.listening] + [each.sock for each in self.kept]
        left += [] if self.admin is None else [self.admin[1]]
        left += [] if self.restart is None else [self.restart]
        for sock in left:
            sock.close()
