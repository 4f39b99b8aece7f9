"""What main does itself of what it tells several workers: it binds the addresses of listeners and
keeps their sockets, and it is the first to build what they are to build.

A worker that is a process answers later, and some time after another one.  So what cannot be built
is found out here, and no worker hears of it.  What is built is given back at once: main serves
nobody, and has nothing but the sockets of a listener.

With `enable_reuse_port`, which is Envoy's default for TCP, each worker has a socket of its own and
the kernel spreads clients over them; else all accept from one.  Sockets stay open here for as long
as there is the listener: clients that come while a worker is dead wait for the one that takes its
place.

Where a process before this one had more sockets than there are workers now, clients wait at all of
them: each worker accepts from its share.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.config.fields.values import binds_to_port
from tcpmesh.interfaces import IAccessLogManager
from tcpmesh.listener.draining import is_in
from tcpmesh.listener.listen_socket import KeptSocket, listen_sockets_of
from tcpmesh.listener.listener import Listener
from tcpmesh.listener.listeners import REFUSED, refusal
from tcpmesh.listener.updates import in_parts
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, MainContext, UnknownExtension, WorkerContext
from tcpmesh.server.workers.no_network import NoNetwork
from tcpmesh.stats.store import Store
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.link import (
    AddCluster,
    AddListener,
    Bound,
    BuildAhead,
    ClusterRefused,
    ListenerRefused,
    Refusal,
    RemoveListener,
    Start,
    Stop,
    StopListening,
    ToMain,
    UpdateChains,
)

Refused = ClusterRefused | ListenerRefused | None


class KeptListener:
    """The sockets of one listener.

    :param workers: how many there are.
    """

    def __init__(self, message: Any, context: MainContext, workers: int) -> None:
        self.message = message
        self._workers = workers
        self._places = [[each] for each in listen_sockets_of(message, context.network, KeptSocket)]
        """The sockets of each address: one for each worker, or one, and what is left of a process
        before this one.
        """
        self.is_open = False

    def bind(self, predecessor: KeptListener | None) -> None:
        """Bind the addresses, or take over sockets of a listener that this one replaces.

        :raise BindError: where the system refuses.
        """
        left: dict[tuple[Any, ...], list[KeptSocket]] = {}
        if predecessor is not None and predecessor.is_open:
            left = {each[0].binding: each for each in predecessor._places}
        for place in self._places:
            before = left.pop(place[0].binding, None)
            if before is None:
                self._bind(place)
                continue
            place.extend(place[0].another() for _ in before[1:])
            for each, old in zip(place, before, strict=True):
                each.bind(old)

    def _bind(self, place: list[KeptSocket]) -> None:
        (first,) = place
        first.bind(None)
        for _ in range(self._workers - 1 if _is_for_each(first) else 0):
            place.append(first.another())
            place[-1].bind_beside(first)
        place += first.rest()

    def listen(self) -> None:
        """Have clients wait for workers.

        :raise BindError: where another process has begun to listen there.
        """
        for place in self._places:
            for each in place:
                each.listen()
        self.is_open = True

    def sockets(self, worker: int) -> list[list[Any]]:
        """What a worker accepts from: sockets of each address; none where it is not to."""
        return [
            [each.sock for each in place[worker % len(place) :: self._workers] if each.sock]
            for place in self._places
        ]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens."""
        if self.message.HasField("internal_listener"):
            return (Address.internal(self.message.name),)
        return tuple(place[0].bound for place in self._places)

    def close(self) -> None:
        """Keep nothing."""
        for place in self._places:
            for each in place:
                each.close()

    def withdraw(self) -> None:
        """As `close`, of one that cannot be had: no file is left of it."""
        for place in self._places:
            for each in place:
                each.withdraw()


def _is_for_each(kept: KeptSocket) -> bool:
    """Whether each worker may have a socket of its own for this address."""
    return (
        kept.options.reuse_port
        and kept.address.family != socket.AF_UNIX
        and hasattr(socket, "SO_REUSEPORT")
    )


class Binder:
    """What main has of the listeners and clusters of its workers.

    :param context: main's.
    :param send: tells main.
    """

    def __init__(
        self,
        context: MainContext,
        send: Callable[[ToMain], object],
        workers: int,
        access_logs: IAccessLogManager,
    ) -> None:
        self._context = context
        self._send = send
        self._workers = workers
        self._access_logs = access_logs
        self._listeners: dict[int, KeptListener] = {}
        self._is_started = False
        self._tried: Any = None
        """The `listener.v3.Listener` that was built, and given back, before it is added."""
        self._acts: dict[type, Callable[[Any], Refused]] = {
            AddCluster: self._add_cluster,
            AddListener: self._add,
            UpdateChains: self._update,
            RemoveListener: self._remove,
            StopListening: self._stop_listening,
            Start: self._start,
            Stop: self._stop,
        }

    def refuses(self, message: Any) -> bool:
        """Do what is main's of this; whether it cannot be, which main has been told then."""
        act = self._acts.get(type(message))
        refused = act(message) if act is not None else None
        if refused is not None:
            self._send(refused)
        return refused is not None

    def sockets(self, listener: int, worker: int) -> Sequence[Sequence[Any]]:
        """What a worker accepts from: at least one of each address of a listener, or none."""
        kept = self._listeners.get(listener)
        return kept.sockets(worker) if kept is not None else ()

    # What is built, and given back

    def _worker_context(self) -> WorkerContext:
        """What is built with it counts nowhere and connects to nobody."""
        context = self._context
        return WorkerContext(
            network=NoNetwork(),
            store=Store(),
            cluster=lambda name: None,
            random=context.random,
            node=context.node,
            local_cluster=context.local_cluster,
            bind_config=context.bind_config,
            access_logs=self._access_logs,
            runtime=context.runtime,
            secrets=context.secrets,
        )

    def _add_cluster(self, told: AddCluster) -> Refused:
        try:
            cluster = Cluster(told.message, self._worker_context())
        except UnknownExtension as e:
            return ClusterRefused(told.cluster, Refusal.UNKNOWN, str(e))
        except BrokenExtension as e:
            return ClusterRefused(told.cluster, Refusal.BROKEN, str(e))
        cluster.close()
        cluster.release()
        return None

    def trying(self, told: BuildAhead) -> Iterator[None]:
        """Build in small steps what is added next, and give it back; where that cannot be, adding
        it finds out again.
        """
        with suppress(*REFUSED):
            for part in in_parts(told.message, told.come):
                self._try_listener(part, told.name)
                yield
            self._tried = told.message

    def _was_tried(self, message: Any) -> bool:
        tried, self._tried = self._tried, None
        return tried is message

    def _try_listener(self, message: Any, name: str = "") -> None:
        """Build all of a listener but its sockets."""
        Listener(message, self._worker_context(), lambda address: None, name).close()

    # Listeners

    def _add(self, told: AddListener) -> Refused:
        try:
            if not self._was_tried(told.message):
                self._try_listener(told.message, told.name)
            with all_or_nothing() as undo:
                kept = KeptListener(told.message, self._context, self._workers)
                undo.callback(kept.withdraw)
                if binds_to_port(told.message):
                    kept.bind(self._listeners.get(told.predecessor))
                if self._is_started:
                    kept.listen()
        except REFUSED as e:
            return refusal(told.listener, e)
        self._listeners[told.listener] = kept
        self._tell_bound(told.listener)
        self._forget(told.predecessor)
        return None

    def _update(self, told: UpdateChains) -> Refused:
        """Only chains that are new are built, for there may be ten thousand others."""
        kept = self._listeners[told.listener]
        if self._was_tried(told.message):
            kept.message = told.message
            return None
        message = type(told.message)()
        message.CopyFrom(told.message)
        del message.filter_chains[:]
        message.filter_chains.extend(told.message.filter_chains[place] for place in told.come)
        try:
            self._try_listener(message)
        except REFUSED as e:
            return refusal(told.listener, e)
        kept.message = told.message
        return None

    def _remove(self, told: RemoveListener) -> None:
        self._forget(told.listener)

    def _forget(self, number: int) -> None:
        kept = self._listeners.pop(number, None)
        if kept is not None:
            kept.close()

    def _stop_listening(self, told: StopListening) -> None:
        for kept in self._listeners.values():
            if is_in(kept.message, told.scope):
                kept.close()

    def _start(self, told: Start) -> Refused:
        self._is_started = True
        for number, kept in self._listeners.items():
            try:
                kept.listen()
            except BindError as e:
                return ListenerRefused(number, Refusal.ADDRESS, str(e))
            self._tell_bound(number)
        return None

    def _stop(self, told: Stop) -> None:
        for number in tuple(self._listeners):
            self._forget(number)

    def _tell_bound(self, number: int) -> None:
        self._send(Bound(number, self._listeners[number].addresses, self._is_started))
