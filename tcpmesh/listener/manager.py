"""All listeners: added, replaced and removed while traffic flows.

This is main's: it decides which listeners there are, and workers accept clients for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.listener.chain_statuses import chain_statuses
from tcpmesh.listener.draining import is_in
from tcpmesh.listener.updates import (
    Difference,
    ahead_of,
    changes_only_chains,
    comparing,
    difference,
    left_out,
)
from tcpmesh.net.listen import BindError
from tcpmesh.net.moves import CannotWatch
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.link import (
    AddListener,
    Bound,
    BuildAhead,
    BuiltAhead,
    CloseChains,
    EndListener,
    FailHealthChecks,
    ListenerRefused,
    Refusal,
    RemoveListener,
    Start,
    StartDrain,
    Stop,
    StopListening,
    Stopped,
    ToWorker,
    UpdateChains,
)
from tcpmesh.values.shared.secrets import HoldSecrets, hold_none
from tcpmesh.values.statuses import ChainStatus, ListenerStatus

log = Logger(namespace="listener")

DECLARED = Declaration(counters=("listener_create_failure",), gauges=("workers_pinned",))

ERRORS = {
    Refusal.UNKNOWN: UnknownExtension,
    Refusal.BROKEN: BrokenExtension,
    Refusal.ADDRESS: BindError,
    Refusal.LOG: CannotLog,
}


class _Ahead(NamedTuple):
    """What is built ahead."""

    told: BuildAhead
    release_secrets: Callable[[], None]
    is_built: Deferred[None]

    def fire(self) -> None:
        """It is there, or nobody is to wait for it."""
        if not self.is_built.called:
            self.is_built.callback(None)


class ListenerEntry:
    """What main knows of one listener."""

    def __init__(self, number: int, message: Any, name: str = "") -> None:
        self.number = number
        self.message = message
        self.name: str = message.name or name or str(uuid4())
        self.addresses: tuple[Address, ...] = ()
        self.is_open = False
        """Whether clients could ever get in."""
        self.is_listening = True
        """Whether it was not told to accept no more clients."""
        self.release_secrets: Callable[[], None] = lambda: None
        """To be called when it needs none of discovery's any more."""


class ListenerManager:
    """The listeners by name.

    :param send: tells workers.
    :param drain_time: for how many seconds the clients of listeners and filter chains stay that are
        no more.
    :param hold_secrets: brings the secrets of discovery that a `listener.v3.Listener` needs, and
        tells how to let go of them.
    :param workers: how many there are: in each of them a listener counts as created, as in Envoy.
    """

    def __init__(
        self,
        store: Store,
        send: Callable[[ToWorker], object],
        clock: IReactorTime,
        drain_time: float = 600.0,
        hold_secrets: HoldSecrets = hold_none,
        workers: int = 1,
    ) -> None:
        self._send = send
        self._hold_secrets = hold_secrets
        self._clock = clock
        self._drain_time = drain_time
        self._workers = workers
        self._fails_health_checks = False
        self._draining: dict[int, IDelayedCall] = {}
        self._drain_numbers = count(1)
        self._drains: set[DrainScope] = set()
        """Drains of many listeners that have begun."""
        self._not_listening: set[DrainScope] = set()
        """Which listeners accept no more clients."""
        self._numbers = count(1)
        self._listeners: dict[str, ListenerEntry] = {}
        self._by_number: dict[int, ListenerEntry] = {}
        self._compared: tuple[Any, Any, Difference] | None = None
        """Two messages of a listener, and what `prepare` has found."""
        self._ahead: _Ahead | None = None
        """What workers have built for the listener that is added or changed next."""
        self._refused: ListenerRefused | None = None
        self._stopping: deque[Deferred[None]] = deque()
        scope = store.scope("listener_manager")
        self._added = scope.counter("listener_added")
        self._modified = scope.counter("listener_modified")
        self._removed = scope.counter("listener_removed")
        self._stopped = scope.counter("listener_stopped")
        self._created = scope.counter("listener_create_success")
        scope.gauge("total_listeners_warming", Merge.MAIN).set(0)
        self._active = scope.gauge("total_listeners_active", Merge.MAIN)
        self._draining_listeners = scope.gauge("total_listeners_draining", Merge.MAIN)
        self._updated_in_place = scope.counter("listener_in_place_updated")
        self._draining_chains = scope.gauge("total_filter_chains_draining", Merge.MAIN)
        self._workers_started = scope.gauge("workers_started", Merge.MAIN)
        scope.declare(DECLARED)
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            ListenerRefused: self._take_refusal,
            BuiltAhead: self._built_ahead,
            Bound: self._bound,
            Stopped: self._take_stopped,
        }
        """What is done with each message of a worker's."""

    def prepare(
        self, message: Any, name: str = "", always: bool = False
    ) -> Iterator[Deferred[None] | None]:
        """Find out in small steps what is other in this `listener.v3.Listener`, and have workers
        build what is new of it, which may be thousands of chains: `add_or_update` of the same,
        which otherwise does all that at once, takes little time after that.
        """
        known = self._listeners.get(message.name or name)
        found = None
        if known is not None:
            before = known.message
            found = yield from comparing(before.filter_chains, message.filter_chains)
            self._compared = before, message, found
            if not always and not any(found) and before == message:
                return
        told: AddListener | UpdateChains
        if known is not None and found is not None and _changes_only_chains(known, message, always):
            told = UpdateChains(known.number, 0, message, *found)
        elif message.name or name:
            told = AddListener(next(self._numbers), message.name or name, message)
        else:
            return  # adding it gives it a name
        ahead = ahead_of(told)
        if ahead is not None:
            yield from self._build_ahead(ahead)

    def _build_ahead(self, told: BuildAhead) -> Iterator[Deferred[None]]:
        self._forget_ahead()
        try:
            release = self._hold_secrets(told.message)
        except CannotWatch:
            return  # adding it will tell
        self._ahead = ahead = _Ahead(told, release, Deferred())
        self._send(told)
        yield ahead.is_built

    def _built_ahead(self, told: BuiltAhead) -> None:
        ahead = self._ahead
        if ahead is not None and ahead.told.listener == told.listener:
            ahead.fire()

    def _forget_ahead(self) -> None:
        """What was built ahead is there now, or is not wanted."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        ahead.release_secrets()
        ahead.fire()
        if ahead.told.come is None and ahead.told.listener not in self._by_number:
            self._send(RemoveListener(ahead.told.listener))

    def add_or_update(self, message: Any, name: str = "", always: bool = False) -> bool:
        """Bind and, once the workers have started, serve this `listener.v3.Listener`.

        A listener of the same name that is equal stays untouched.  One that differs only in its
        filter chains gets these: the clients of those that stay as they are notice nothing, those
        of others are closed when the drain time is over.  Any other one is replaced: it accepts no
        more, and its clients are closed when the drain time is over.  Where listeners were told to
        accept no more clients, such a one is neither added nor changed, as in Envoy.

        :param name: which one it is, where the message has no name.
        :param always: replace it also where it is equal: what it names has changed.
        :return: whether it is another listener now.
        :raise tcpmesh.net.listen.BindError: where the address cannot be bound; what was there
            stays.
        :raise LookupError: where an extension is not known, likewise.
        :raise tcpmesh.registry.BrokenExtension: where another package's extension fails, likewise.
        :raise CannotLog: where the file of an access log cannot be opened, likewise.
        :raise tcpmesh.net.moves.CannotWatch: where the directory of a secret's file is not there,
            likewise.
        """
        try:
            return self._add_or_update(message, name, always)
        finally:
            if self._ahead is not None and self._ahead.told.message is message:
                self._forget_ahead()

    def _add_or_update(self, message: Any, name: str, always: bool) -> bool:
        known = self._listeners.get(message.name or name)
        found = None if known is None else self._found(known.message, message)
        is_other = found is not None and any(found)
        if known is not None and not always and not is_other and known.message == message:
            return False
        if any(is_in(message, scope) for scope in self._not_listening):
            log.warn("listener {name} is not added: listeners were stopped", name=message.name)
            return False
        if known is not None and _changes_only_chains(known, message, always):
            self._update_chains(known, message, found)
            return False
        ahead = self._ahead
        is_ahead = ahead is not None and ahead.told.message is message and ahead.told.come is None
        number = ahead.told.listener if ahead is not None and is_ahead else next(self._numbers)
        entry = ListenerEntry(number, message, name)
        self._by_number[entry.number] = entry
        predecessor = 0 if known is None else known.number
        with all_or_nothing() as undo:
            undo.callback(self._by_number.pop, entry.number)
            entry.release_secrets = self._hold_secrets(message)
            undo.callback(entry.release_secrets)
            self._tell(AddListener(entry.number, entry.name, message, predecessor))
        if known is not None:
            self._drain(known)
            self._modified.tally += 1
        else:
            self._added.tally += 1
        self._listeners[entry.name] = entry
        self._active.set(len(self._listeners))
        return True

    def _found(self, before: Any, after: Any) -> Difference | None:
        """What `compare` has found of these, if it was asked."""
        compared, self._compared = self._compared, None
        if compared is None or compared[0] is not before or compared[1] is not after:
            return None
        return compared[2]

    def _update_chains(self, entry: ListenerEntry, message: Any, found: Difference | None) -> None:
        update, before = next(self._numbers), entry.message
        if found is None:
            found = difference(before.filter_chains, message.filter_chains)
        with all_or_nothing() as undo:
            release = self._hold_secrets(message)
            undo.callback(release)
            self._tell(UpdateChains(entry.number, update, message, *found))
        entry.release_secrets()
        entry.release_secrets = release
        chains = left_out(before, message, found)
        entry.message = message
        for counter in (self._modified, self._updated_in_place):
            counter.tally += 1
        self._created.tally += self._workers
        if not chains:
            return
        self._draining_chains.add(chains)

        def close() -> None:
            self._draining_chains.add(-chains)
            self._send(CloseChains(update))

        self._after_drain_time(close)

    def _drain(self, entry: ListenerEntry) -> None:
        """A listener is no more: what clients it has may stay for the drain time."""
        del self._by_number[entry.number]
        entry.release_secrets()
        if not entry.is_open:
            return
        self._draining_listeners.add(1)

        def end() -> None:
            self._draining_listeners.add(-1)
            self._send(EndListener(entry.number))

        self._after_drain_time(end)

    def _after_drain_time(self, act: Callable[[], object]) -> None:
        number = next(self._drain_numbers)
        call = self._clock.callLater(self._drain_time, self._drain_time_over, number, act)
        self._draining[number] = call

    def _drain_time_over(self, number: int, act: Callable[[], object]) -> None:
        del self._draining[number]
        act()

    def add_static(self, messages: Any) -> None:
        """Add the listeners of a bootstrap; of several with one name the first counts, as in Envoy.

        :raise tcpmesh.net.listen.BindError: where an address cannot be bound.
        """
        for message in messages:
            if message.name in self._listeners:
                log.warn("a second listener named {name} is ignored", name=message.name)
            else:
                self.add_or_update(message)

    def remove(self, name: str) -> None:
        """Accept no more clients for a listener, if it is there; those connected are closed when
        the drain time is over.
        """
        entry = self._listeners.pop(name, None)
        if entry is not None:
            self._drain(entry)
            self._send(RemoveListener(entry.number))
            self._removed.tally += 1
            self._active.set(len(self._listeners))

    def stop_listening(self, scope: DrainScope) -> None:
        """Accept no more clients for these listeners; those connected stay."""
        self._not_listening.add(scope)
        for entry in self._listeners.values():
            if entry.is_listening and is_in(entry.message, scope):
                entry.is_listening = False
                self._stopped.tally += 1
        self._send(StopListening(scope))

    def drain(self, scope: DrainScope, stops_listening: bool) -> None:
        """Have clients of these listeners leave in the drain time; new ones are still accepted.  A
        drain that goes on already is left alone.

        :param stops_listening: whether no more are accepted once the drain time is over.
        """
        if scope in self._drains or DrainScope.ALL in self._drains:
            return
        self._drains.add(scope)
        self._send(StartDrain(scope))
        if stops_listening:
            self._after_drain_time(partial(self.stop_listening, scope))

    def fail_health_checks(self, fails: bool) -> None:
        """The proxy is made to fail its health checks, or no more: listeners drain as long as it
        does, but those whose `drain_type` is MODIFY_ONLY.
        """
        self._fails_health_checks = fails
        self._send(FailHealthChecks(fails))

    def start(self) -> None:
        """The workers start: open all listeners.

        :raise tcpmesh.net.listen.BindError: where the system refuses to listen on what it let us
            bind.
        """
        self._tell(Start())
        self._workers_started.set(1)

    def stop(self) -> Deferred[None]:
        """Accept no more clients anywhere and close those there are; fires when they are gone."""
        draining, self._draining = self._draining, {}
        for call in draining.values():
            call.cancel()
        self._stopped.tally += len(self._listeners)
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        self._send(Stop())
        return stopped

    @property
    def is_draining(self) -> bool:
        """Whether listeners were told to drain, or to accept no more clients."""
        return bool(self._drains or self._not_listening)

    def name_of(self, message: Any) -> str:
        """The name of the listener that has this message, also where the message has none; empty
        where there is no such listener.
        """
        entry = self._listeners.get(message.name)
        if entry is None and not message.name:
            found = (each for each in self._listeners.values() if each.message == message)
            entry = next(found, None)
        return entry.name if entry is not None else ""

    def addresses(self) -> set[Address]:
        """What all listeners are bound to."""
        return {each for entry in self._listeners.values() for each in entry.addresses}

    def arranging(self, messages: Iterable[Any]) -> Iterator[None]:
        """Show the listeners of these messages first, in this order: a configuration has them so.
        To be gone through.
        """
        names = []
        for each in messages:
            names.append(self.name_of(each))
            yield
        first = {name: self._listeners[name] for name in names if name in self._listeners}
        self._listeners = {**first, **self._listeners}

    def present(self) -> Iterator[ToWorker]:
        """What a worker is to be told of the listeners that there are at this moment."""
        for scope in self._drains:
            yield StartDrain(scope)
        if self._fails_health_checks:
            yield FailHealthChecks(True)
        for entry in self._listeners.values():
            yield AddListener(entry.number, entry.name, entry.message)

    def messages(self) -> Iterator[Any]:
        """The `listener.v3.Listener` of each, in order of configuration."""
        return iter([entry.message for entry in self._listeners.values()])

    def statuses(self) -> list[ListenerStatus]:
        """The listeners as the admin interface shows them."""
        return [
            ListenerStatus(name=entry.name, addresses=tuple(map(str, entry.addresses)))
            for entry in self._listeners.values()
        ]

    def filter_chains(self, name: str) -> tuple[ChainStatus, ...]:
        """What is shown of the filter chains of a listener; of one that is not there none."""
        entry = self._listeners.get(name)
        return chain_statuses(entry.message) if entry is not None else ()

    # What workers tell

    def _tell(self, message: ToWorker) -> None:
        """Tell workers what they may refuse."""
        self._send(message)
        refused, self._refused = self._refused, None
        if refused is not None:
            raise ERRORS[refused.why](refused.reason)

    def _take_refusal(self, told: ListenerRefused) -> None:
        self._refused = told

    def _take_stopped(self, told: Stopped) -> None:
        self._stopping.popleft().callback(None)

    def _bound(self, told: Bound) -> None:
        entry = self._by_number[told.listener]
        entry.addresses = told.addresses
        if told.is_open and not entry.is_open:
            entry.is_open = True
            self._created.tally += self._workers
            for address in told.addresses:
                log.info("listener {name} is open on {address}", name=entry.name, address=address)


def _changes_only_chains(known: ListenerEntry, message: Any, always: bool) -> bool:
    """Whether a listener stays, and has other filter chains."""
    return known.is_open and not always and changes_only_chains(known.message, message)
