"""The sockets over which workers pass clients to each other, which main makes and keeps: see
`tcpmesh.listener.balancing.passing`.
"""

from __future__ import annotations

import socket

from tcpmesh.values.all_or_nothing import all_or_nothing

KIND = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
"""Each client is a message, and who has no room for it says so."""


class PassingSockets:
    """Those of all workers.

    :param workers: how many there are.
    :raise OSError: where the system has no more descriptors.
    """

    def __init__(self, workers: int) -> None:
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        with all_or_nothing() as undo:
            undo.callback(self.close)
            for _ in range(workers):
                self._pairs.append(socket.socketpair(socket.AF_UNIX, KIND))
                for each in self._pairs[-1]:
                    each.setblocking(False)

    def of(self, worker: int) -> list[socket.socket]:
        """What comes to a worker, and then one that goes to each."""
        return [self._pairs[worker][0], *(pair[1] for pair in self._pairs)]

    def close(self) -> None:
        """There are no workers any more."""
        for pair in self._pairs:
            for each in pair:
                each.close()
        self._pairs.clear()
