"""Bytes in a second, of connections that somebody looks at: what has moved since the last look.

Connections do not count their rates.  Whoever looks at all of them notes what each has moved, and
the next look tells the difference; where nobody looks for a while, the notes are thrown away.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.live.rows import Look, Rates, moved

LEAST = 1.0
"""Seconds that rates are taken over at least, once a connection is that old."""

FORGET = 30.0
"""Seconds without a look, after which nothing is known of the last one."""

_Note = tuple[float, int, int, Rates]
"""When it was made, the bytes from the client and to it by then, and the rates at that time."""


class RateNotes:
    """What looks at the connections of a worker have noted.

    :param clock: the network's.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._notes: dict[int, _Note] = {}
        self._next: dict[int, _Note] = {}
        self._forgetting: IDelayedCall | None = None

    def begin(self) -> None:
        """A look at all connections begins: `note` is called with each of them, then `end`."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None

    def end(self) -> None:
        """All were looked at."""
        self._notes, self._next = self._next, {}
        self._forgetting = self._clock.callLater(FORGET, self._forget)

    def stop(self) -> None:
        """Nobody looks any more."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forget()

    def _forget(self) -> None:
        self._forgetting = None
        self._notes = {}

    def note(self, connection: Connection, now: float) -> None:
        """One of them."""
        info = connection.stream_info
        note = self._notes.get(info.id)
        if note is None or now - note[0] >= LEAST:
            received, _, _, sent = moved(connection)
            rates = _rates(note, now, info.started, received, sent)
            note = (now, received, sent, rates)
        self._next[info.id] = note

    def rates(self, look: Look) -> Rates:
        """Of a connection that was noted, or of one that is new."""
        note = self._next.get(look.info.id) or self._notes.get(look.info.id)
        if note is not None:
            return note[3]
        received, _, _, sent = look.moved
        return _rates(None, look.now, look.info.started, received, sent)


def _rates(note: _Note | None, now: float, started: float, received: int, sent: int) -> Rates:
    """Since the last note, or since the connection was accepted."""
    since, before_received, before_sent = note[:3] if note is not None else (started, 0, 0)
    over = now - since
    if over <= 0:
        return 0.0, 0.0, 0.0
    return (received - before_received) / over, (sent - before_sent) / over, over
