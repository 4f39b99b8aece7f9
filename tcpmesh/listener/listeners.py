"""The listeners of a worker: built, bound, opened and closed as main says.

All addresses are bound before the first one is opened, while the process may still do so.  A
listener that replaces another takes over its sockets, and is there before that one goes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.listener.listener import Listener
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, UnknownExtension, WorkerContext
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.link import (
    AddListener,
    Bound,
    ListenerRefused,
    Refusal,
    RemoveListener,
    Start,
    ToMain,
)

REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (
    (UnknownExtension, Refusal.UNKNOWN),
    (BrokenExtension, Refusal.BROKEN),
    (BindError, Refusal.ADDRESS),
    (CannotLog, Refusal.LOG),
)


class Listeners:
    """The listeners by the number that main gave each.

    :param send: tells main.
    """

    def __init__(self, context: WorkerContext, send: Callable[[ToMain], object]) -> None:
        self._context = context
        self._send = send
        self._listeners: dict[int, Listener] = {}
        self._leaving: set[Listener] = set()
        """Those that accept no more, as long as they have clients."""
        self._is_started = False
        self._by_address: dict[Address, Listener] | None = None
        """What `find` looks in; `None` where listeners have changed since it was last made."""
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            AddListener: self._add,
            RemoveListener: self._remove,
            Start: self._start,
        }
        """What is done with each message of main's."""

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

    @property
    def connections(self) -> int:
        """Clients of all listeners, also of those that accept no more."""
        self._leaving = {listener for listener in self._leaving if listener.open_connections}
        return sum(each.open_connections for each in (*self._leaving, *self._listeners.values()))

    def stop(self) -> Deferred[None]:
        """Accept no more clients anywhere and close those there are; fires when they are gone."""
        stopping = [each.stop() for each in (*self._listeners.values(), *self._leaving)]
        self._listeners.clear()
        self._by_address = None
        return gatherResults(stopping).addCallback(lambda _: None)

    def _add(self, told: AddListener) -> None:
        try:
            with all_or_nothing() as undo:
                listener = self._build(told)
                undo.callback(listener.withdraw)
                self._listeners[told.listener] = listener
                undo.callback(self._listeners.pop, told.listener)
                self._tell_bound(told.listener)
        except tuple(kind for kind, _ in REFUSALS) as e:
            why = next(why for kind, why in REFUSALS if isinstance(e, kind))
            self._send(ListenerRefused(told.listener, why, str(e)))
            return
        self._close(told.predecessor)

    def _build(self, told: AddListener) -> Listener:
        with all_or_nothing() as undo:
            listener = Listener(told.message, self._context, self.find, told.name)
            undo.callback(listener.withdraw)
            listener.bind(self._listeners.get(told.predecessor))
            if self._is_started:
                listener.open()
        return listener

    def _remove(self, told: RemoveListener) -> None:
        self._close(told.listener)

    def _close(self, number: int) -> None:
        listener = self._listeners.pop(number, None)
        if listener is not None:
            listener.close()
            self._leaving.add(listener)
            self._by_address = None

    def _start(self, told: Start) -> None:
        self._is_started = True
        for number, listener in tuple(self._listeners.items()):
            try:
                listener.open()
            except BindError as e:
                self._send(ListenerRefused(number, Refusal.ADDRESS, str(e)))
                return
            self._tell_bound(number)

    def _tell_bound(self, number: int) -> None:
        self._by_address = None
        addresses = tuple(each.bound for each in self._listeners[number].listen_sockets)
        self._send(Bound(number, addresses, self._is_started))
