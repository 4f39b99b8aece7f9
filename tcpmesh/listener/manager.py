"""All listeners: added, replaced and removed while traffic flows."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from tcpmesh.listener.listener import Listener
from tcpmesh.net.listen import BindError
from tcpmesh.registry import Context
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration
from tcpmesh.values.address import Address
from tcpmesh.values.statuses import ListenerStatus

log = Logger(namespace="listener")

DECLARED = Declaration(
    counters=("listener_create_failure", "listener_in_place_updated"),
    gauges=(
        "total_filter_chains_draining",
        "total_listeners_draining",
        "total_listeners_warming",
        "workers_pinned",
    ),
)


class ListenerManager:
    """The listeners by name."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._listeners: dict[str, Listener] = {}
        self._leaving: set[Listener] = set()
        """Listeners that accept no more, as long as they have clients."""
        self._open = False
        self._by_address: dict[Address, Listener] | None = None
        """What `find` looks in; `None` where listeners have changed since it was last made."""
        scope = context.store.scope("listener_manager")
        self._added = scope.counter("listener_added")
        self._modified = scope.counter("listener_modified")
        self._removed = scope.counter("listener_removed")
        self._stopped = scope.counter("listener_stopped")
        self._created = scope.counter("listener_create_success")
        self._active = scope.gauge("total_listeners_active", Merge.MAX)
        self._workers_started = scope.gauge("workers_started", Merge.MAX)
        scope.declare(DECLARED)

    def add_or_update(self, message: Any) -> None:
        """Bind and, once the workers have started, serve this `listener.v3.Listener`.

        A listener of the same name that is equal stays untouched; one that differs is replaced: it
        accepts no more, its clients stay.

        :raise tcpmesh.net.listen.BindError: where the address cannot be bound; what was there
            stays.
        """
        known = self._listeners.get(message.name)
        if known is not None and known.message == message:
            return
        listener = Listener(message, self._context, self.find)
        try:
            listener.bind(known)
        except BindError:
            listener.close()
            raise
        if known is not None:
            known.close()
            self._leaving.add(known)
            self._modified.tally += 1
        else:
            self._added.tally += 1
        self._listeners[listener.name] = listener
        self._by_address = None
        self._active.set(len(self._listeners))
        if self._open:
            self._start(listener)

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
        """Accept no more clients for a listener, if it is there; those connected stay."""
        listener = self._listeners.pop(name, None)
        if listener is not None:
            listener.close()
            self._leaving.add(listener)
            self._by_address = None
            self._removed.tally += 1
            self._active.set(len(self._listeners))

    def find(self, address: Address) -> Listener | None:
        """The listener that an address belongs to: the one of just this address, or else the one of
        its port on all addresses.
        """
        if self._by_address is None:
            self._by_address = {
                each.bound: listener
                for listener in self._listeners.values()
                for each in listener.listen_sockets
            }
        anywhere = Address("::" if address.family == socket.AF_INET6 else "0.0.0.0", address.port)
        return self._by_address.get(address) or self._by_address.get(anywhere)

    def start(self) -> None:
        """The workers start: open all listeners."""
        self._open = True
        for listener in self._listeners.values():
            self._start(listener)
        self._workers_started.set(1)

    def stop(self) -> Deferred[None]:
        """Accept no more clients anywhere and close those there are; fires when they are gone."""
        self._stopped.tally += len(self._listeners)
        stopping = [each.stop() for each in (*self._listeners.values(), *self._leaving)]
        return gatherResults(stopping).addCallback(lambda _: None)

    def statuses(self) -> list[ListenerStatus]:
        """The listeners as the admin interface shows them."""
        return [listener.status() for listener in self._listeners.values()]

    @property
    def open_connections(self) -> int:
        """Clients of all listeners, also of those that accept no more."""
        self._leaving = {listener for listener in self._leaving if listener.open_connections}
        return sum(
            listener.open_connections for listener in (*self._leaving, *self._listeners.values())
        )

    def _start(self, listener: Listener) -> None:
        listener.open()
        self._by_address = None
        self._created.tally += 1
