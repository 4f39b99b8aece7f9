"""The listeners of a worker: built, bound, opened and closed as main says.

All addresses are bound before the first one is opened, while the process may still do so.  A
listener that replaces another takes over its sockets, and is there before that one goes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.connection.connection import Connection
from tcpmesh.listener.accept_limit import GLOBAL_KEY, LISTENER_PREFIX
from tcpmesh.listener.balancing.passing import Passing
from tcpmesh.listener.draining import ProxyDrain, is_in
from tcpmesh.listener.filter_chain import FilterChain
from tcpmesh.listener.listener import Listener
from tcpmesh.listener.moving import (
    Candidate,
    arrive,
    candidates,
    come_back,
    last_filters,
    staying,
    why_not,
)
from tcpmesh.listener.updates import Difference
from tcpmesh.net.cooperator import do_all
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, UnknownExtension, WorkerContext
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.drain import DEFAULTS, DrainTimes
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
    StopListening,
    ToMain,
    UpdateChains,
)
from tcpmesh.values.overload import (
    REJECT_INCOMING_CONNECTIONS,
    STOP_ACCEPTING_CONNECTIONS,
    TCP_LISTENER_ACCEPT,
)
from tcpmesh.values.stream.moved import MovedConnection

log = Logger(namespace="listener")

REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (
    (UnknownExtension, Refusal.UNKNOWN),
    (BrokenExtension, Refusal.BROKEN),
    (BindError, Refusal.ADDRESS),
    (CannotLog, Refusal.LOG),
)
REFUSED = tuple(kind for kind, _ in REFUSALS)


class Listeners:
    """The listeners by the number that main gave each.

    :param send: tells main.
    :param times: how drains go.
    :param binds: whether addresses are bound here, and not by main.
    """

    def __init__(
        self,
        context: WorkerContext,
        send: Callable[[ToMain], object],
        times: DrainTimes = DEFAULTS,
        binds: bool = True,
    ) -> None:
        self._context = context
        self._send = send
        self._binds = binds
        self._drain = ProxyDrain(context.network.clock, context.random, times)
        self._listeners: dict[int, Listener] = {}
        self._leaving: dict[int, Listener] = {}
        """Those that were replaced or removed, as long as they have clients."""
        self._last_filters: set[Any] = set()
        """Of these: a client may be gone whose last bytes are on their way to its host."""
        self._left_out: dict[int, list[FilterChain]] = {}
        """The chains that updates have left out, until their clients have had their time."""
        self._ahead: dict[int, Listener] = {}
        """Those that are built ahead, and are yet to be added."""
        self._behind: set[int] = set()
        """Those of which an update could not be built here, though it could elsewhere."""
        self._is_started = False
        self._passing: Passing | None = None
        self._balanced: dict[bytes, Listener] = {}
        """Those whose clients workers pass to each other."""
        self._adopting: set[Listener] = set()
        """Those that have got some."""
        for prefix in (LISTENER_PREFIX, GLOBAL_KEY):
            context.runtime.watch(prefix, lambda keys: self._limits_change())
        self._overload = overload = context.overload
        for name in (REJECT_INCOMING_CONNECTIONS, TCP_LISTENER_ACCEPT):
            overload.watch(name, self._limits_change)
        overload.watch(STOP_ACCEPTING_CONNECTIONS, self._pause)
        self._by_address: dict[Address, Listener] | None = None
        """What `find` looks in; `None` where listeners have changed since it was last made."""
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            BuildAhead: self._build_ahead,
            UpdateChains: self._update,
            CloseChains: self._close_chains,
            RemoveListener: self._remove,
            EndListener: self._end,
            StartDrain: self._start_drain,
            StopListening: self._stop_listening,
            FailHealthChecks: self._fail_health_checks,
            Start: self._start,
        }
        """What is done with each message of main's."""

    def find(self, address: Address) -> Listener | None:
        """The listener that an address belongs to: the one of just this address, or else the one of
        its port on all addresses.
        """
        if self._by_address is None:
            self._by_address = {
                address: listener
                for listener in self._listeners.values()
                for each in listener.listen_sockets
                for address in each.served
            }
        anywhere = Address("::" if address.family == socket.AF_INET6 else "0.0.0.0", address.port)
        return self._by_address.get(address) or self._by_address.get(anywhere)

    @property
    def connections(self) -> int:
        """Clients of all listeners, also of those that accept no more."""
        self._leaving = {
            number: listener
            for number, listener in self._leaving.items()
            if listener.open_connections
        }
        return sum(each.open_connections for each in self._all())

    @property
    def waited_for(self) -> int:
        """Clients of all listeners; where there are none, those that have gone and whose last bytes
        are on their way to their hosts.
        """
        connections = self.connections
        if connections:
            return connections
        self._last_filters = {each for each in self._last_filters if each.clients()}
        lasts = self._last_filters | last_filters(self._all())
        return sum(len(each.clients()) for each in lasts)

    def _all(self) -> list[Listener]:
        """Also those that have only clients."""
        return [*self._leaving.values(), *self._listeners.values()]

    def clients(self) -> list[tuple[Connection, ...]]:
        """The clients of all listeners at this moment, in groups."""
        return [group for each in self._all() for group in each.connections()]

    def candidates(self) -> Iterator[Candidate]:
        """The clients that may be able to leave this process."""
        return candidates(self._all())

    @property
    def inspected(self) -> int:
        """Clients that listener filters look at."""
        return sum(each.inspected for each in self._all())

    def staying(self) -> Iterator[tuple[str, int]]:
        """Why others cannot, and how many: see `tcpmesh.listener.moving.staying`."""
        return staying(self._all())

    def why_not(self, moved: MovedConnection) -> str:
        """Why a client of another process cannot go on here; empty where it can."""
        return why_not(self._listeners.values(), self._context, moved)

    def arrive(self, moved: MovedConnection, descriptors: tuple[int, int]) -> str:
        """Go on with a client of another process: see `tcpmesh.listener.moving.arrive`."""
        return arrive(self._listeners.values(), self._context, moved, descriptors)

    def come_back(
        self, chain: FilterChain, moved: MovedConnection, descriptors: tuple[int, int]
    ) -> str:
        """Go on with one that has left: see `tcpmesh.listener.moving.come_back`."""
        return come_back(chain, self._context, moved, descriptors)

    def stop(self) -> Deferred[None]:
        """Accept no more clients anywhere and close those there are; fires when they are gone."""
        if self._passing is not None:
            self._passing.close()
        stopping = [each.stop() for each in self._all()]
        for number in tuple(self._ahead):
            self._forget_ahead(number)
        self._listeners.clear()
        self._balanced.clear()
        self._by_address = None
        return gatherResults(stopping).addCallback(lambda _: None)

    def _limits_change(self) -> None:
        for listener in self._listeners.values():
            listener.limit(self._context.runtime, self._count_all)

    def _count_all(self) -> int:
        """Clients that count against the limit of all listeners: those of the overload manager
        leaves some out.
        """
        every = self._overload.settings.most_connections is None
        return sum(each.count() for each in self._all() if every or each.counts_for_all)

    @property
    def _is_paused(self) -> bool:
        return self._overload.level(STOP_ACCEPTING_CONNECTIONS) == 1

    def _pause(self) -> None:
        for listener in self._listeners.values():
            listener.pause(self._is_paused)

    def build_ahead(self, told: BuildAhead) -> Iterator[None]:
        """Build in small steps what `AddListener` or `UpdateChains` brings next.  Where that cannot
        be nothing is left, and that message is refused.
        """
        message = told.message
        with suppress(*REFUSED), all_or_nothing() as undo:
            undo.callback(self._forget_ahead, told.listener)
            if told.come is None:
                listener = self._ahead[told.listener] = self._make(told, has_chains=False)
                yield from listener.build_ahead(message.filter_chains)
            elif (there := self._listeners.get(told.listener)) is not None:
                yield from there.build_ahead(message.filter_chains[place] for place in told.come)

    def _forget_ahead(self, number: int) -> None:
        listener = self._ahead.pop(number, None)
        if listener is not None:
            listener.withdraw()

    def _build_ahead(self, told: BuildAhead) -> None:
        building = self._context.network.cooperator.coiterate(self.build_ahead(told))
        building.addErrback(tell_failure)
        building.addCallback(lambda _: self._send(BuiltAhead(told.listener)))

    def _make(self, told: AddListener | BuildAhead, has_chains: bool = True) -> Listener:
        return Listener(told.message, self._context, self.find, told.name, self._drain, has_chains)

    def add(self, told: AddListener, sockets: Sequence[Any] = ()) -> None:
        """A listener more.

        :param sockets: those of its addresses, where they are not bound here.
        """
        try:
            with all_or_nothing() as undo:
                listener = self._build(told, sockets)
                undo.callback(listener.withdraw)
                key = listener.key
                self._listeners[told.listener] = listener
                undo.callback(self._listeners.pop, told.listener)
                self._tell_bound(told.listener)
        except REFUSED as e:
            self._send(refusal(told.listener, e))
            return
        if key:
            self._balanced[key] = listener
        self._close(told.predecessor)

    def _build(self, told: AddListener, sockets: Sequence[Any]) -> Listener:
        with all_or_nothing() as undo:
            ahead = self._ahead.pop(told.listener, None)
            listener = ahead or self._make(told)
            undo.callback(listener.withdraw)
            if ahead is not None:
                ahead.update(told.message)
            listener.limit(self._context.runtime, self._count_all)
            listener.pause(self._is_paused)
            if self._binds:
                listener.bind(self._listeners.get(told.predecessor))
            elif sockets:
                listener.take_sockets(sockets, told.sockets)
            if self._passing is not None:
                listener.share_clients(self._passing)
            if self._is_started:
                listener.open()
        return listener

    def share_clients(self, clock: Any, index: int, sockets: Sequence[Any]) -> None:
        """There are listeners whose clients workers pass to each other over these sockets: see
        `tcpmesh.listener.balancing.passing`.
        """
        self._passing = Passing(clock, index, sockets, self._adopt, self._have_come)
        if self._is_started:
            self._passing.start()

    def _adopt(self, key: bytes, place: int, descriptor: int) -> None:
        """Another worker has accepted a client that is to be served here."""
        listener = self._balanced.get(key)
        if listener is None:
            os.close(descriptor)
        else:
            listener.adopt(place, descriptor)
            self._adopting.add(listener)

    def _have_come(self) -> None:
        """All who were on the way are here."""
        while self._adopting:
            self._adopting.pop().have_come()

    def _update(self, told: UpdateChains) -> None:
        listener = self._listeners.get(told.listener)
        if listener is None:
            return  # it could not be built here
        try:
            is_behind = told.listener in self._behind
            found = None if is_behind else Difference(told.gone, told.come)
            self._left_out[told.update] = listener.update(told.message, found)
            self._behind.discard(told.listener)
        except REFUSED as e:
            if not self._binds:
                self._behind.add(told.listener)
            self._send(refusal(told.listener, e))

    def _close_chains(self, told: CloseChains) -> None:
        chains = self._left_out.pop(told.update, [])
        do_all(
            self._context.network.cooperator,
            (step for chain in chains for step in chain.expire()),
        )

    def _remove(self, told: RemoveListener) -> None:
        self._close(told.listener)

    def _close(self, number: int) -> None:
        self._forget_ahead(number)
        self._behind.discard(number)
        listener = self._listeners.pop(number, None)
        if listener is not None:
            if self._balanced.get(listener.key) is listener:
                del self._balanced[listener.key]
            self._last_filters |= last_filters((listener,))
            listener.close()
            self._leaving[number] = listener
            self._by_address = None
            if self._is_started:
                listener.drain.begin()

    def _end(self, told: EndListener) -> None:
        listener = self._leaving.get(told.listener)
        if listener is not None:
            do_all(self._context.network.cooperator, listener.expire())

    def _start_drain(self, told: StartDrain) -> None:
        self._drain.begin(told.scope)
        self._tell_drains()

    def _fail_health_checks(self, told: FailHealthChecks) -> None:
        self._drain.fails_health_checks = told.fails
        self._tell_drains()

    def _tell_drains(self) -> None:
        for listener in self._all():
            listener.drain.tell()

    def _stop_listening(self, told: StopListening) -> None:
        for listener in self._listeners.values():
            if is_in(listener.message, told.scope):
                listener.stop_listening()

    def _start(self, told: Start) -> None:
        self._is_started = True
        for number, listener in tuple(self._listeners.items()):
            try:
                listener.open()
            except BindError as e:
                self._send(ListenerRefused(number, Refusal.ADDRESS, str(e)))
                return
            self._tell_bound(number)
        if self._passing is not None:
            self._passing.start()

    def _tell_bound(self, number: int) -> None:
        self._by_address = None
        addresses = tuple(each.bound for each in self._listeners[number].listen_sockets)
        self._send(Bound(number, addresses, self._is_started))


def tell_failure(reason: Failure) -> None:
    """What was to be built ahead is not: where that is a bug, adding it shows it again."""
    if reason.check(SchedulerStopped) is None:
        log.failure("filter chains cannot be built ahead", reason)


def refusal(listener: int, error: Exception) -> ListenerRefused:
    """What main is told where a listener fails with one of `REFUSED`."""
    why = next(why for kind, why in REFUSALS if isinstance(error, kind))
    return ListenerRefused(listener, why, str(error))
