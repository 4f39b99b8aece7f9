"""The DNS caches of the whole proxy: names that clients bring along, looked up once for all of
them, and again as long as somebody asks for them.

This is main's, as all that looks for hosts is.  A worker that has a client for a name says so
(`NameWanted`), the first time and then again now and then, and is told what the name is (`Names`),
as all workers are: its addresses, none where it has none, and again with each change.  What is
told is a state; only that there is no room for a name (`max_hosts`) is an answer, for it holds no
longer than until another name is forgotten.

A name whose time to look it up again has come is forgotten instead where nobody has asked for it
for a while (`host_ttl`).  So what clients can make grow is bounded, and the name of a flood is gone
some time after it.

Filters and clusters with one cache are configured alike, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.cluster.discovery.dns import RefreshSettings, RefreshTimes, resolver_for
from tcpmesh.cluster.names.settings import (
    LONGEST,
    CacheSettings,
    host_and_port_of,
    settings_of,
)
from tcpmesh.interfaces import INameCaches
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.registry import BrokenExtension, MainContext
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.link import Names, NamesGone, NameState, NameWanted, OpenNames, ToWorker
from tcpmesh.wire.names import Found

log = Logger(namespace="dns")

COUNTERS = (
    "dns_query_attempt",
    "dns_query_success",
    "dns_query_failure",
    "dns_query_timeout",
    "host_added",
    "host_removed",
    "host_address_changed",
    "host_overflow",
    "cache_load",
    "dns_address_filter_out",
)


class Name:
    """One name: what it is, and when to look it up again."""

    def __init__(self, key: str, used: float, times: RefreshTimes) -> None:
        self.key = key
        self.host, self.port = host_and_port_of(key)
        self.addresses: tuple[Address, ...] = ()
        self.is_known = False
        """Whether it was looked up, with whatever result."""
        self.used = used
        self.times = times
        self.query: Deferred[Any] | None = None
        self.timer: Any = None
        """Until the query is given up, or the next one begins."""


class NameCache:
    """One cache.

    :param message: its `DnsCacheConfig`.
    :param send: tells workers.
    """

    def __init__(
        self, message: Any, context: MainContext, send: Callable[[ToWorker], object]
    ) -> None:
        self.message = message
        self.settings: CacheSettings = settings_of(message)
        self._context = context
        self._clock = context.network.clock
        self._resolver = resolver_for(message, context)
        self._refresh = _refresh(message, self.settings)
        self._send = send
        self._names: dict[str, Name] = {}
        self._followers: list[Callable[[], object]] = []
        self._is_stopped = False
        scope = context.store.scope(f"dns_cache.{sanitize(message.name)}")
        self._counters = {name: scope.counter(name) for name in COUNTERS}
        self._size = scope.gauge("num_hosts", Merge.MAIN)
        for key in self.settings.first:
            self.want(key)

    def follow(self, changed: Callable[[], object]) -> Callable[[], object]:
        """Call this each time when addresses of names have changed.

        :return: what ends that.
        """
        self._followers.append(changed)
        return lambda: self._followers.remove(changed)

    def hosts(self) -> Iterator[tuple[str, tuple[Address, ...]]]:
        """Each name that has addresses: its key and these."""
        return ((each.key, each.addresses) for each in self._names.values() if each.addresses)

    def present(self) -> Iterator[ToWorker]:
        """What a worker is to be told of the names that there are."""
        known = tuple(_state(each) for each in self._names.values() if each.is_known)
        if known:
            yield Names(self.settings.name, known)

    def want(self, key: str) -> None:
        """A client is for this name."""
        known = self._names.get(key)
        if known is not None:
            known.used = self._clock.seconds()
            if known.is_known:
                self._tell(known)
        elif len(self._names) >= self.settings.most_hosts or len(key) > LONGEST + 6:
            self._counters["host_overflow"].tally += 1
            self._send(Names(self.settings.name, (NameState(key, (), has_room=False),)))
        else:
            times = RefreshTimes(self._refresh, self._context.random)
            name = self._names[key] = Name(key, self._clock.seconds(), times)
            self._counters["host_added"].tally += 1
            self._size.set(len(self._names))
            self._look_up(name)

    def stop(self) -> None:
        """Look nothing up any more."""
        self._is_stopped = True
        for name in self._names.values():
            query, name.query = name.query, None
            if name.timer is not None and name.timer.active():
                name.timer.cancel()
            if query is not None:
                query.cancel()

    def _look_up(self, name: Name) -> None:
        self._counters["dns_query_attempt"].tally += 1
        name.query = query = maybeDeferred(self._resolver.resolve, name.host, self.settings.family)
        if self.settings.query_timeout and not query.called:
            name.timer = self._clock.callLater(
                self.settings.query_timeout, self._timed_out, name, query
            )
        query.addCallbacks(
            self._found, self._failed, callbackArgs=(name, query), errbackArgs=(name, query)
        )
        query.addErrback(lambda failure: log.failure("a DNS cache failed", failure))

    def _timed_out(self, name: Name, query: Deferred[Any]) -> None:
        """Nobody waits any longer; that the resolver gives up too is not waited for."""
        self._counters["dns_query_timeout"].tally += 1
        self._failed(Failure(ResolutionFailed("no answer in time")), name, query)
        query.cancel()

    def _is_over(self, name: Name, query: Deferred[Any]) -> bool:
        """A query has ended; whether that is of no interest any more."""
        if name.query is not query or self._is_stopped or self._names.get(name.key) is not name:
            return True
        name.query = None
        timer, name.timer = name.timer, None
        if timer is not None and timer.active():
            timer.cancel()
        return False

    def _found(self, found: tuple[Found, ...], name: Name, query: Deferred[Any]) -> None:
        if self._is_over(name, query):
            return
        self._counters["dns_query_success"].tally += 1
        addresses = tuple(dict.fromkeys(Address(each.host, name.port) for each in found))
        wait = self.settings.refresh_rate
        if found:
            wait = max(self.settings.least_refresh, float(min(each.ttl for each in found)))
            name.times.after_success(0)
        self._learn(name, addresses or name.addresses)
        name.timer = self._clock.callLater(wait, self._due, name)

    def _failed(self, failure: Failure, name: Name, query: Deferred[Any]) -> None:
        if self._is_over(name, query):
            return
        self._counters["dns_query_failure"].tally += 1
        if not failure.check(ResolutionFailed):
            log.debug("cannot look {name} up: {reason}", name=name.host, reason=failure.value)
        self._learn(name, name.addresses)
        if self.settings.forgets_failures:
            self._forget(name)
        else:
            name.timer = self._clock.callLater(name.times.after_failure(), self._due, name)

    def _learn(self, name: Name, addresses: tuple[Address, ...]) -> None:
        is_other = addresses != name.addresses
        was_known, name.is_known, name.addresses = name.is_known, True, addresses
        if is_other:
            self._counters["host_address_changed"].tally += 1
            self._changed()
        if is_other or not was_known:
            self._tell(name)

    def _due(self, name: Name) -> None:
        """It is time to look it up again, or to forget it."""
        name.timer = None
        if self._clock.seconds() - name.used < self.settings.host_ttl:
            self._look_up(name)
        else:
            self._forget(name)

    def _forget(self, name: Name) -> None:
        del self._names[name.key]
        self._counters["host_removed"].tally += 1
        self._size.set(len(self._names))
        self._send(NamesGone(self.settings.name, (name.key,)))
        if name.addresses:
            self._changed()

    def _changed(self) -> None:
        for changed in tuple(self._followers):
            changed()

    def _tell(self, name: Name) -> None:
        self._send(Names(self.settings.name, (_state(name),)))


@implementer(INameCaches)
class NameCaches:
    """All caches, by their names.

    :param send: tells workers.
    """

    def __init__(self, send: Callable[[ToWorker], object]) -> None:
        self._send = send
        self._caches: dict[str, NameCache] = {}
        self._context: MainContext | None = None
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            OpenNames: self._open,
            NameWanted: self._want,
        }
        """What is done with each message of a worker's."""

    def serve(self, context: MainContext) -> None:
        """This is what caches may use."""
        self._context = context

    def get(self, message: Any) -> NameCache:
        """The cache of a `DnsCacheConfig`, made for the first one that asks.

        :raise BrokenExtension: where another configuration has its name.
        """
        known = self._caches.get(message.name)
        if known is None:
            assert self._context is not None
            known = self._caches[message.name] = NameCache(message, self._context, self._send)
        elif known.message != message:
            raise BrokenExtension(different(message.name))
        return known

    def present(self) -> Iterator[ToWorker]:
        """What a worker is to be told of all of them."""
        for cache in self._caches.values():
            yield from cache.present()

    def stop(self) -> None:
        """Look nothing up any more."""
        for cache in self._caches.values():
            cache.stop()

    def _open(self, told: OpenNames) -> None:
        try:
            cache = self.get(told.message)
        except BrokenExtension as e:
            log.error("{reason}", reason=str(e))
        else:
            for message in cache.present():
                self._send(message)

    def _want(self, told: NameWanted) -> None:
        cache = self._caches.get(told.cache)
        if cache is not None:
            cache.want(told.key)


def different(name: str) -> str:
    """Why a cache is refused that is configured in two ways."""
    return f"the DNS cache {name!r} has other settings elsewhere"


def _state(name: Name) -> NameState:
    return NameState(name.key, name.addresses)


def _refresh(message: Any, settings: CacheSettings) -> RefreshSettings:
    """How long to wait after failures."""
    if not message.HasField("dns_failure_refresh_rate"):
        return RefreshSettings(rate=settings.refresh_rate)
    return RefreshSettings.of_failures(message.dns_failure_refresh_rate, settings.refresh_rate)
