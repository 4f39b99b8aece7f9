"""What a worker knows of the DNS caches: the names that main has told of, and who waits for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.names.cache import different
from tcpmesh.cluster.names.settings import CacheSettings, settings_of
from tcpmesh.interfaces import INameTables
from tcpmesh.registry import BrokenExtension, WorkerContext
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store, sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.link import Names, NamesGone, NameWanted, OpenNames, ToMain

TOLD_AGAIN = 4
"""So many times in its `host_ttl` main is told of a name that clients ask for."""

Told = Callable[[bool], object]
"""Called once a name is known, with true, or cannot be, for want of room."""


class NameTable:
    """The names of one cache.

    :param message: its `DnsCacheConfig`.
    :param send: tells main.
    """

    def __init__(
        self, message: Any, store: Store, clock: Any, send: Callable[[ToMain], object]
    ) -> None:
        self.message = message
        self.settings: CacheSettings = settings_of(message)
        self.users = 0
        """Filters and clusters that it is for."""
        self._send = send
        self._clock = clock
        self._known: dict[str, tuple[Address, ...]] = {}
        self._asked: dict[str, float] = {}
        """When main was told last that a client is for a name."""
        self._waiting: dict[str, list[Told]] = {}
        self.pending = 0
        """Clients that wait."""
        scope = store.scope(f"dns_cache.{sanitize(message.name)}")
        self.pending_overflow = scope.counter("dns_rq_pending_overflow")
        breakers = scope.scope("circuit_breakers")
        self._is_full = breakers.gauge("rq_pending_open", Merge.MAX)
        self._left = breakers.gauge("rq_pending_remaining", Merge.MAX)
        self.show(0)

    def show(self, pending: int) -> None:
        """So many clients wait, in all workers."""
        left = max(0, self.settings.most_pending - pending)
        self._left.set(left)
        self._is_full.set(0 if left else 1)

    def find(self, key: str) -> tuple[Address, ...] | None:
        """The addresses of a name; none where it has none, and `None` where it is not known."""
        found = self._known.get(key)
        if found is not None and self._clock.seconds() >= self._asked.get(key, 0.0):
            self._ask(key)
        return found

    def ask(self, key: str) -> None:
        """Have main look a name up."""
        if key not in self._waiting:
            self._ask(key)

    def wait(self, key: str, told: Told) -> bool:
        """Have main look a name up, and wait.

        :return: whether it is known already; `told` is called later where not.
        """
        if key not in self._waiting:
            answers: list[bool] = []
            self._waiting[key] = [answers.append]
            self._ask(key)
            if answers:  # main has answered at once
                if not answers[0]:
                    told(False)
                return answers[0]
            self._waiting[key].clear()
        self._waiting[key].append(told)
        return False

    def leave(self, key: str, told: Told) -> None:
        """... no more."""
        waiting = self._waiting.get(key, [])
        if told in waiting:
            waiting.remove(told)

    def _ask(self, key: str) -> None:
        self._asked[key] = self._clock.seconds() + self.settings.host_ttl / TOLD_AGAIN
        self._send(NameWanted(self.settings.name, key))

    def take(self, told: Names) -> None:
        """Main tells of names."""
        for state in told.names:
            if state.has_room:
                self._known[state.key] = state.addresses
            else:
                self._asked.pop(state.key, None)
            for call in self._waiting.pop(state.key, ()):
                call(state.has_room)

    def forget(self, told: NamesGone) -> None:
        """These are no more."""
        for key in told.keys:
            self._known.pop(key, None)
            self._asked.pop(key, None)


@implementer(INameTables)
class NameTables:
    """Those of all caches, by their names.

    :param send: tells main.
    """

    def __init__(self, store: Store, clock: Any, send: Callable[[ToMain], object]) -> None:
        self._store = store
        self._clock = clock
        self._send = send
        self._tables: dict[str, NameTable] = {}
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            Names: lambda told: self._of(told, NameTable.take),
            NamesGone: lambda told: self._of(told, NameTable.forget),
        }
        """What is done with each message of main's."""

    def hold(self, message: Any, config: Any = None) -> NameTable:
        """The table of a `DnsCacheConfig`, to be given back with `release`.

        :raise BrokenExtension: where another configuration has its name.
        """
        name = message.name
        table = self._tables.get(name)
        if table is not None and table.users and table.message != message:
            raise BrokenExtension(different(name), config)
        if table is None or table.message != message:
            table = self._tables[name] = NameTable(message, self._store, self._clock, self._send)
            self._send(OpenNames(message))
        table.users += 1
        return table

    def release(self, table: NameTable) -> None:
        """One filter or cluster needs it no more."""
        table.users -= 1

    def _of(self, told: Any, act: Callable[[NameTable, Any], None]) -> None:
        table = self._tables.get(told.cache)
        if table is not None:
            act(table, told)


def tables_of(context: WorkerContext) -> INameTables:
    """Those of a worker; where no name is looked up for clients, others that know none."""
    if context.names is not None:
        return context.names
    tables: INameTables = NameTables(Store(), context.network.clock, lambda message: None)
    return tables
