"""exact_balance: a client goes to the worker with the fewest clients of its listener, as in Envoy.

Theory of operation.  Whichever worker the kernel has chosen accepts the client, looks who has the
fewest, and keeps it where nobody has fewer than it has itself; else it passes the descriptor on
(`tcpmesh.listener.balancing.passing`).  What it looks at are counts that all workers share, of
which each word has one writer: how many clients each worker has, how many each has passed on to
which other one, and how many each has received.  So a client counts for a worker from the moment
in which it is passed to it.  What the result may be off by is what workers do in the same
microseconds.

Only workers that listen are chosen: one that has died does not, nor does one that is yet to open
the listener.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol

from tcpmesh.values.shared.counts import SharedCount, SharedCounts

KEY_SIZE = 16


class IPassing(Protocol):
    """What takes descriptors to other workers."""

    index: int
    """The number of this worker."""

    def pass_on(self, worker: int, key: bytes, place: int, descriptor: int) -> bool:
        """Give a copy to a worker; whether it was taken."""


def are_balanced(message: Any) -> bool:
    """Whether the clients of a `listener.v3.Listener` are."""
    config = message.connection_balance_config
    return bool(config.HasField("exact_balance")) and not message.HasField("internal_listener")


def key_of(name: str) -> bytes:
    """What workers call a listener of this name among themselves."""
    return blake2b(name.encode(), digest_size=KEY_SIZE).digest()


def rows_of_balance(workers: int) -> int:
    """How many counts a listener has for it."""
    return 3 + workers


class ExactBalance:
    """The clients of one listener, as one of several workers sees them.

    :param counts: those of the listener.
    :param clients: how many it has, in all workers.
    :param count_here: tells how many it has in this one.
    """

    def __init__(
        self,
        name: str,
        counts: SharedCounts,
        clients: SharedCount,
        count_here: Callable[[], int],
        passing: IPassing,
    ) -> None:
        self.key = key_of(name)
        self._index = passing.index
        self._clients = clients
        self._count_here = count_here
        self._passing = passing
        self._listening = counts.count("listening")
        self._received = counts.count("received")
        self._passed = [counts.count(f"passed to {worker}") for worker in range(len(clients.parts))]
        """What this worker has passed on to each; those of all workers are the total."""

    def opened(self) -> None:
        """Clients may be passed to this worker."""
        self.emptied()
        self.count_again()
        self._listening.own = 1

    def closed(self) -> None:
        """No more of them."""
        self._listening.own = 0

    def passes(self, place: int, descriptor: int) -> bool:
        """Whether a client that was accepted is another worker's; where it is, the descriptor is of
        no use here any more.

        :param place: which of the addresses of the listener it has come to.
        """
        self._clients.own = own = self._count_here()
        chosen, least = self._index, own + self._on_the_way(self._index)
        for worker, listens in enumerate(self._listening.parts):
            if listens and worker != self._index:
                load = self._clients.parts[worker] + self._on_the_way(worker)
                if load < least:
                    chosen, least = worker, load
        if chosen == self._index:
            self._clients.own = own + 1  # at once, for other workers
            return False
        self._passed[chosen].own += 1
        if self._passing.pass_on(chosen, self.key, place, descriptor):
            return True
        self._passed[chosen].own -= 1
        self._clients.own = own + 1
        return False

    def receives(self) -> None:
        """A client of another worker's is here."""
        self._clients.own = self._count_here() + 1
        self._received.own += 1

    def emptied(self) -> None:
        """Nobody has passed on a client that is not here."""
        self._received.own = self._passed[self._index].total

    def count_again(self) -> None:
        """A client has gone."""
        self._clients.own = self._count_here()

    def _on_the_way(self, worker: int) -> int:
        """Clients that a worker was passed and that are not there yet.  Where one who has passed on
        some has died, what that one has counted is 0 by now.
        """
        return max(0, self._passed[worker].total - self._received.parts[worker])
