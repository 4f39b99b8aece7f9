"""What several workers know of each client: how many connections it has, and when it came.

Clients are too many, and come too fast, for rows that are claimed under a lock.  So each worker has
a table of its own in the shared memory, which it alone writes and all others read; where a client
may be in it, its key says, and that is the same in all of them::

    table of a worker:   set 0            | set 1            | ...
    set:                 slot | slot | ... (8)
    slot:                key | connections | moment

The key of a client is a hash that nobody can foresee, of which some bits are the number of a set;
in each set there are a few slots, of which a worker takes a free one for a client that it has.
Where none is free the client is counted in this worker alone.  To look one up costs a few words of
each worker's table, however many clients there are.

`moment` is what a token bucket has for its state (see `tcpmesh.connection.token_bucket`).
"""

from __future__ import annotations

from hashlib import blake2b

SETS = 1 << 15
WAYS = 8
"""So many slots has a set.  A worker has room for 262,144 clients, of all limits together; of
65,536 fewer than one in a thousand finds its set full.
"""

SLOT = 3
"""Words of a slot."""

_SET = WAYS * SLOT
_TABLE = SETS * _SET


def size_of(workers: int) -> int:
    """The words of all tables."""
    return workers * _TABLE


def clear(words: memoryview, worker: int) -> None:
    """Forget what a worker that has died knew.

    :param words: all tables, and nothing else.
    """
    start = worker * _TABLE
    empty = memoryview(bytes(8 * _SET)).cast("q")
    for at in range(start, start + _TABLE, _SET):
        if any(words[at : at + _SET : SLOT]):
            words[at : at + _SET] = empty


class Slots:
    """One worker's table, and its view of the others, for the clients of one limit.

    :param words: all tables, and nothing else.
    :param secret: what all workers have and nobody else, for the keys.
    :param limit: its name in all workers.
    """

    def __init__(
        self, words: memoryview, workers: int, worker: int, secret: int, limit: str
    ) -> None:
        self._words = words
        self._own = worker * _TABLE
        self._others = [each * _TABLE for each in range(workers) if each != worker]
        self._hash = blake2b(f"{limit} ".encode(), digest_size=8, key=secret.to_bytes(8, "little"))

    def key(self, client: str) -> int:
        """The word for a client, never 0."""
        each = self._hash.copy()
        each.update(client.encode("utf-8", "surrogateescape"))
        return int.from_bytes(each.digest(), "little") >> 1 or 1

    def take(self, key: int) -> int | None:
        """A slot for a client that has none here, or `None`; nothing is counted in it."""
        words, at = self._words, self._own + key % SETS * _SET
        for place in range(at, at + _SET, SLOT):
            if not words[place]:
                words[place + 1] = words[place + 2] = 0
                words[place] = key
                return place
        return None

    def free(self, place: int) -> None:
        """The client of a slot needs it no more."""
        self._words[place] = 0

    def write(self, place: int, connections: int, moment: int) -> None:
        """What this worker knows of the client of a slot."""
        self._words[place + 1] = connections
        self._words[place + 2] = moment

    def others(self, key: int) -> tuple[int, int]:
        """What all others know of a client: its connections together, and the latest moment."""
        connections = moment = 0
        offset = key % SETS * _SET
        for table in self._others:
            at = table + offset
            found = self._words[at : at + _SET].tolist()
            if key in found[::SLOT]:
                place = found[::SLOT].index(key) * SLOT
                connections += found[place + 1]
                moment = max(moment, found[place + 2])
        return connections, moment
