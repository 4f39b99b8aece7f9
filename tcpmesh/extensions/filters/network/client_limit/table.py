"""The clients that a limit knows: how many connections each has, and when it may make the next one.

Theory of operation.  Whoever has connections is an *entry*, and so is who has come lately, for as
long as its token bucket is not full again: after that nothing is known of it that a newcomer would
not have.  So an entry without connections waits in `_idle`, in the order in which they were used
last, and all wait equally long; those at its head are over first.  A new client may find the table
full: then the head goes before its time, as that of an LRU.  Where all have connections there is
none, and the new client is not counted; an attacker with so many addresses is limited by nothing
that goes by address.

All that a connection costs here is a few look-ups in a `dict`, however many entries there are, and
what is over is taken away a few at a time.

With several workers each has a table of its own, and sees what the others know of a client in
memory that they share (`tcpmesh.values.shared.slots`): the connections of all together are limited,
and the bucket is one.  Where that memory has no slot for a client, this worker counts it alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.config.fields.token_buckets import Bucket
from tcpmesh.connection.token_bucket import SECOND, Pace
from tcpmesh.facts import dataclass
from tcpmesh.net.cooperator import do_all
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.live.clients import ClientRow
from tcpmesh.values.shared.slots import Slots

BATCH = 64
"""Entries that are taken away in one turn."""


class Over(Enum):
    """Which limit a connection is beyond."""

    CONNECTIONS = "connections"
    RATE = "rate"


@dataclass(frozen=True)
class Rules:
    """What is limited."""

    most: int
    """Connections of a client at a time; 0 for any number."""

    bucket: Bucket | None
    """Of new connections; `None` for any number."""

    room: int
    """Entries at most."""


class Entry:
    """What is known of one client."""

    __slots__ = (
        "active",
        "client",
        "key",
        "limited",
        "moment",
        "place",
        "since",
        "total",
        "waiting",
    )

    def __init__(self, client: str) -> None:
        self.client = client
        self.active = self.total = self.limited = 0
        """Connections now, those let in so far, and those that were too many."""
        self.moment = 0
        """The state of its token bucket."""
        self.key = 0
        self.place: int | None = None
        """Its slot in the memory that workers share."""
        self.since = 0
        """When it was without connections, in `_idle`."""
        self.waiting: Any = None
        """Its `Queue`, while connections wait."""


class ClientTable:
    """The entries of one limit, or of several that share them.

    :param name: tells it to people.
    :param slots: what other workers know, where there are any.
    """

    def __init__(
        self, name: str, rules: Rules, context: WorkerContext, slots: Slots | None
    ) -> None:
        self.name = name
        self.slots = slots
        self._clock: IReactorTime = context.network.clock
        self._cooperator = context.network.cooperator
        self._most = rules.most
        self._pace = Pace(rules.bucket) if rules.bucket is not None else None
        self._room = rules.room
        self._entries: dict[str, Entry] = {}
        self._idle: OrderedDict[Entry, None] = OrderedDict()
        self._sweeping: IDelayedCall | None = None
        self._scope = context.store.scope(f"client_limit.{name}")
        self._known = self._scope.gauge("entries", Merge.SUM)
        self._evicted = self._scope.counter("entries_evicted")
        self._overflow = self._scope.counter("entries_overflow")
        self._limits = context.limits
        self._limits.add(self)

    def now(self) -> int:
        """Nanoseconds."""
        return int(self._clock.seconds() * SECOND)

    def entry(self, client: str) -> Entry | None:
        """The entry of a client that has come, which is new where there is none; `None` where there
        is no room.  `settle` is to be called when it is dealt with.
        """
        entry = self._entries.get(client)
        if entry is not None:
            self._idle.pop(entry, None)
            return entry
        if len(self._entries) >= self._room:
            if not self._idle:
                self._overflow.tally += 1
                return None
            self._evicted.tally += 1
            self._drop(next(iter(self._idle)))
        entry = self._entries[client] = Entry(client)
        self._known.add(1)
        if self.slots is not None:
            entry.key = self.slots.key(client)
            entry.place = self.slots.take(entry.key)
        return entry

    def take(self, entry: Entry) -> Over | None:
        """Let one more connection of a client in, unless that is too many."""
        # First counted and then compared: of two workers that do so at the same time perhaps both
        # refuse a connection, but never do both let in the last one.
        entry.active += 1
        now, over = self.now(), None
        connections, moment = self._of_others(entry)
        if self._most and entry.active + connections > self._most:
            over = Over.CONNECTIONS
        elif self._pace is not None:
            after = self._pace.after(max(moment, entry.moment), now)
            if after:
                entry.moment = after
            else:
                over = Over.RATE
        if over is not None:
            entry.active -= 1
        else:
            entry.total += 1
        self._tell(entry)
        return over

    def add(self, entry: Entry) -> None:
        """Count a connection that is too many."""
        entry.active += 1
        entry.total += 1
        self._tell(entry)

    def leave(self, entry: Entry) -> None:
        """A connection of a client has ended."""
        entry.active -= 1
        self._tell(entry)
        self.settle(entry)

    def settle(self, entry: Entry) -> None:
        """All is done for now about a client: without connections it is forgotten in a while."""
        if entry.active or entry.waiting is not None:
            return
        if self._pace is None or self._entries.get(entry.client) is not entry:
            self._drop(entry)
            return
        entry.since = self.now()
        self._idle[entry] = None
        if self._sweeping is None:
            self._sweeping = self._clock.callLater(self._pace.full / SECOND, self._sweep)

    def wait(self, entry: Entry) -> float:
        """Seconds until the bucket of a client has a token."""
        moment = max(entry.moment, self._of_others(entry)[1])
        return self._pace.wait(moment, self.now()) / SECOND if self._pace is not None else 0.0

    def clients(self) -> Iterator[ClientRow | None]:
        """All that is known, a client each; `None` now and then, where others may have a turn."""
        for number, each in enumerate(list(self._entries.values()), 1):
            waiting = len(each.waiting) if each.waiting is not None else 0
            yield ClientRow(self.name, each.client, each.active, waiting, each.total, each.limited)
            if number % BATCH == 0:
                yield None

    def close(self) -> None:
        """No more clients come; those that are left are counted here until they leave."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._pace = None
        self._idle.clear()
        slots, self.slots = self.slots, None
        entries, self._entries = self._entries, {}
        self._known.add(-len(entries))
        self._scope.close()
        self._limits.remove(self)
        if slots is not None:
            do_all(self._cooperator, _give_back(slots, entries.values()))

    def _of_others(self, entry: Entry) -> tuple[int, int]:
        return self.slots.others(entry.key) if self.slots is not None else (0, 0)

    def _tell(self, entry: Entry) -> None:
        if self.slots is not None and entry.place is not None:
            self.slots.write(entry.place, entry.active, entry.moment)

    def _drop(self, entry: Entry) -> None:
        self._idle.pop(entry, None)
        if self._entries.get(entry.client) is not entry:
            return
        del self._entries[entry.client]
        self._known.add(-1)
        if self.slots is not None and entry.place is not None:
            self.slots.free(entry.place)

    def _sweep(self) -> None:
        """Take away those that have been without connections long enough."""
        self._sweeping = None
        if self._pace is None:
            return
        full, now = self._pace.full, self.now()
        for _ in range(BATCH):
            first = next(iter(self._idle), None)
            if first is None:
                return
            if first.since + full > now:
                self._sweep_in((first.since + full - now) / SECOND)
                return
            self._drop(first)
        self._sweep_in(0)

    def _sweep_in(self, seconds: float) -> None:
        self._sweeping = self._clock.callLater(seconds, self._sweep)


def _give_back(slots: Slots, entries: Iterable[Entry]) -> Iterator[None]:
    for entry in entries:
        if entry.place is not None:
            slots.free(entry.place)
        yield
