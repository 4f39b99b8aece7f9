"""Lines of statistics in datagrams, which nobody answers.

Sending never waits: where the kernel has no room or nobody listens a datagram is lost, as it may be
on its way in any case, and counted.
"""

from __future__ import annotations

import socket

from tcpmesh.logs.reachability import Reachability
from tcpmesh.stats.scope import Scope
from tcpmesh.values.address import Address


class Datagrams:
    """Sends lines to an address.

    :param size: lines are put together into datagrams of at most so many bytes, separated by line
        ends; with 0 each has its own.
    :param scope: where what could not be sent is counted (`udp_lost`), if ever.
    :param reachability: told whether somebody listens.
    """

    def __init__(
        self, address: Address, size: int, scope: Scope, reachability: Reachability
    ) -> None:
        self._address = address
        self._size = size
        self._scope = scope
        self._reachability = reachability
        self._socket: socket.socket | None = None
        self._lines = bytearray()

    def write(self, line: bytes) -> None:
        """Send a line, or keep it for the next datagram."""
        held = self._lines
        if len(line) >= self._size:
            self._send(line)
        elif not held:
            held += line
        elif len(held) + 1 + len(line) > self._size:
            self.flush()
            held += line
        else:
            held += b"\n" + line

    def flush(self) -> None:
        """Send what is kept."""
        if self._lines:
            data = bytes(self._lines)
            self._lines.clear()
            self._send(data)

    def close(self) -> None:
        """Nothing more is sent."""
        self._lines.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, data: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = socket.socket(self._address.family, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            # Not connected: who listens may come later, and at a path anew.
            self._socket.sendto(data, self._address.sockaddr)
        except OSError as e:
            self._scope.counter("udp_lost").tally += 1
            if not isinstance(e, BlockingIOError):  # that means only that it was too much at once
                self._reachability.failed(e.strerror)
        else:
            self._reachability.succeeded()
