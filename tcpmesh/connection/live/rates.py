"""Bytes in a second, of connections that somebody looks at: what has moved since the last look.

Connections do not count their rates.  Whoever looks at all of them notes what each has moved, and
the next look tells the difference; where nobody looks for a while, the notes are thrown away.

There may be a hundred thousand notes.  They are kept in many small tables, for one large one would
take long when it grows, and when it is thrown away; and as bytes, which take a third of the memory
of a tuple, and which the garbage collector need not look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from twisted.internet.interfaces import IDelayedCall

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.live.rows import Look, Rates, moved
from tcpmesh.interfaces import INetwork

LEAST = 1.0
"""Seconds that rates are taken over at least, once a connection is that old."""

FORGET = 30.0
"""Seconds without a look, after which nothing is known of the last one."""

TABLES = 128

_NOTE = Struct("dqqddd")
"""When it was made, the bytes from the client and to it by then, and the rates at that time."""

_Tables = tuple[dict[int, bytes], ...]


class RateNotes:
    """What looks at the connections of a worker have noted.

    :param network: whose clock and cooperator are used.
    """

    def __init__(self, network: INetwork) -> None:
        self._network = network
        self._notes = self._next = _tables()
        self._forgetting: IDelayedCall | None = None

    def begin(self) -> None:
        """A look at all connections begins: `note` is called with each of them, then `end`."""
        self._keep()
        self._next = _tables()

    def note(self, connection: Connection, now: float) -> None:
        """One of them."""
        info = connection.stream_info
        number = info.id
        place = (number >> 1) % TABLES
        note = self._notes[place].get(number)
        began, before, after, *_ = _NOTE.unpack(note) if note else (info.started, 0, 0)
        if note is None or now - began >= LEAST:
            received, _, _, sent = moved(connection)
            rates = _rates(now - began, received - before, sent - after)
            note = _NOTE.pack(now, received, sent, *rates)
        self._next[place][number] = note

    def end(self) -> None:
        """All were looked at."""
        self._throw_away(self._notes)
        self._notes = self._next
        self._forgetting = self._network.clock.callLater(FORGET, self._forget)

    def stop(self) -> None:
        """Nobody looks any more."""
        self._keep()
        self._notes = self._next = _tables()

    def rates(self, look: Look) -> Rates:
        """Of a connection that was noted, or of one that is new."""
        number = look.info.id
        place = (number >> 1) % TABLES
        note = self._next[place].get(number) or self._notes[place].get(number)
        if note is not None:
            _, _, _, *rates = _NOTE.unpack(note)
            return rates[0], rates[1], rates[2]
        received, _, _, sent = look.moved
        return _rates(look.now - look.info.started, received, sent)

    def _keep(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None

    def _forget(self) -> None:
        self._forgetting = None
        self._throw_away(self._notes)
        self._notes = self._next = _tables()

    def _throw_away(self, tables: _Tables) -> None:
        self._network.cooperator.cooperate(_emptied(tables))


def _tables() -> _Tables:
    return tuple({} for _ in range(TABLES))


def _emptied(tables: _Tables) -> Iterator[None]:
    """Empty one after the other."""
    for table in tables:
        table.clear()
        yield


def _rates(over: float, received: int, sent: int) -> Rates:
    """Of so many bytes in so many seconds."""
    return (received / over, sent / over, over) if over > 0 else (0.0, 0.0, 0.0)
