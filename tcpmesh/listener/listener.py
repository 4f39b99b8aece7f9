"""A listener: a Twisted server factory that gives each client it accepts to a filter chain."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory

from tcpmesh.accesslog.access_logs import access_logs
from tcpmesh.config.fields.values import binds_to_port
from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import ICountsAccepts
from tcpmesh.listener.accept_limit import NO_LIMIT, AcceptLimit, counts_for_all, limits_of
from tcpmesh.listener.balancing.exact import ExactBalance, IPassing, are_balanced
from tcpmesh.listener.draining import ListenerDrain, ProxyDrain
from tcpmesh.listener.filter_chain import FilterChain
from tcpmesh.listener.filter_chains import FilterChains
from tcpmesh.listener.listen_socket import InternalPlace, ListenSocket, listen_sockets_of
from tcpmesh.listener.listener_filters import Find, ListenerFilterManager, are_wanted
from tcpmesh.listener.stats import ListenerStats
from tcpmesh.listener.updates import Difference
from tcpmesh.logs.debug import debug_logger
from tcpmesh.registry import WorkerContext
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.settings import accepts
from tcpmesh.stats.store import Store
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.drain import DEFAULTS
from tcpmesh.values.overload import TCP_LISTENER_ACCEPT
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.shared.counts import SharedCount
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.close_words import close_reason_text
from tcpmesh.values.stream.moment import LogType
from tcpmesh.values.stream.phase import FILTERING
from tcpmesh.values.stream.stream_info import ListenerInfo, StreamInfo
from tcpmesh.values.stream.wanted import NOTHING
from tcpmesh.values.workers import worker_name

debug_log = debug_logger("connection")

BUFFER_LIMIT = 1 << 20

PURGED = "purging_socket_that_have_not_progressed_to_connections"
"""Envoy's words for clients of a listener whose drain is over; they fit no better there."""


@implementer(ICountsAccepts)
class Listener(ServerFactory):
    """Built from an `envoy.config.listener.v3.Listener`."""

    noisy = False

    def __init__(
        self,
        message: Any,
        context: WorkerContext,
        find: Find | None = None,
        name: str = "",
        proxy_drain: ProxyDrain | None = None,
        has_chains: bool = True,
    ) -> None:
        """`find` finds the listener that a client with `use_original_dst` is handed to.

        :param name: what main calls it, which counts also where the message has none.
        :param proxy_drain: drains of the whole proxy, where there are some.
        :param has_chains: whether it has its filter chains at once: else an `update` brings them.
        """
        self.message = message
        self.name: str = name or message.name
        self.is_internal: bool = message.HasField("internal_listener")
        self.listen_sockets: tuple[Any, ...] = (
            (InternalPlace(message.name, context.internal),)
            if self.is_internal
            else listen_sockets_of(message, context.network, ListenSocket)
        )
        """Its addresses; statistics go by the first."""
        self._ids = context.connection_ids
        self._clock = context.network.clock
        self._now = self._clock.seconds
        if proxy_drain is None:
            proxy_drain = ProxyDrain(self._clock, context.random, DEFAULTS)
        self.drain = ListenerDrain(message, proxy_drain)
        self._closes = context.closes
        limit = message.per_connection_buffer_limit_bytes
        self._buffer_limit: int = (
            limit.value if message.HasField("per_connection_buffer_limit_bytes") else BUFFER_LIMIT
        )
        self.open_connections = 0
        """How many clients it has, but for those that its listener filters look at."""
        self._bypasses: bool = message.bypass_overload_manager
        self._overload = context.overload.bypassed() if self._bypasses else context.overload
        self._limit: AcceptLimit | None = None
        self._open: SharedCount | None = None
        """How many clients there are, for a limit; `None` as long as there was none."""
        self._balance: ExactBalance | None = None
        self._closed = False
        self._stopped: Deferred[None] | None = None
        self._binds = binds_to_port(message)
        self._filters: ListenerFilterManager | None = None
        self._own_store: Store | None = None
        """Where it has a `stats_matcher` of its own: what it and its filters count in."""
        with all_or_nothing() as undo:
            self._build(message, context, find, undo, has_chains)
        self._first: Any = self._filters or self
        """Who gets a client first."""

    def _build(
        self,
        message: Any,
        context: WorkerContext,
        find: Find | None,
        undo: all_or_nothing,
        has_chains: bool,
    ) -> None:
        """What can fail, or has to be given back."""
        self._counts = context.shared.block(f"listener.{self.name}")
        undo.callback(self._counts.close)
        context = replace(context, shared=self._counts)
        if message.HasField("stats_matcher"):
            store = context.store.restricted(accepts(message.stats_matcher))
            undo.callback(store.close)
            self._own_store = store
            context = replace(context, store=store)
        self.stats = ListenerStats(
            context.store,
            message.stat_prefix or self._stat_prefix(),
            worker_name(context.index),
        )
        undo.callback(self.stats.scope.close)
        self.accepted_in_event = self.stats.accepted_in_event.record
        self._logs = access_logs(message.access_log, context)
        if self._logs is not None:
            undo.callback(self._logs.close)
        self._info = ListenerInfo(
            name=self.name,
            metadata=message.metadata if message.HasField("metadata") else None,
            direction=message.traffic_direction,
            wanted=self._logs.wants if self._logs is not None else NOTHING,
        )
        chain_context = replace(
            context, scope=self.stats.scope, drain=self.drain, overload=self._overload
        )
        with_chains = message if has_chains else type(message)()
        self._chains = FilterChains(with_chains, chain_context, self, self._info)
        undo.callback(self._chains.let_go)
        undo.callback(self._chains.close)
        if are_wanted(message):
            self._filters = ListenerFilterManager(
                message, context, self, find if message.use_original_dst.value else None
            )

    def _stat_prefix(self) -> str:
        if self.is_internal:
            return f"envoy_internal_{self.message.name}"
        return str(self.listen_sockets[0].address)

    # Its life

    def bind(self, predecessor: Listener | None = None) -> None:
        """Bind the addresses, while the process may still do so, or take over the sockets of a
        listener that this one replaces.

        Clients that wait in the queue of a socket taken over are served, and no port has to be
        shared for the moment.

        :raise tcpmesh.net.listen.BindError: where the system refuses.
        """
        if not self._binds:
            return
        left = (
            {each.binding: each for each in predecessor.listen_sockets}
            if predecessor is not None
            else {}
        )
        for each in self.listen_sockets:
            each.bind(left.pop(each.binding, None))

    def take_sockets(self, sockets: Sequence[Any], counts: Sequence[int]) -> None:
        """Main has bound the addresses: these are the sockets, so many of each address, in their
        order.
        """
        left = iter(sockets)
        for each, count in zip(self.listen_sockets, counts, strict=True):
            each.take(list(islice(left, count)))

    def open(self) -> None:
        """Accept clients from now on.

        :raise tcpmesh.net.listen.BindError: where the system refuses to listen on what it let us
            bind.
        """
        balance = self._balance
        if balance is None:
            for each in self.listen_sockets:
                each.open(self)
            return
        for place, each in enumerate(self.listen_sockets):
            each.open(self, partial(balance.passes, place))
        balance.opened()

    def share_clients(self, passing: IPassing) -> None:
        """Pass clients to other workers, and take theirs, where that is configured."""
        if not are_balanced(self.message):
            return
        self.count()
        assert self._open is not None
        self._balance = ExactBalance(self.name, self._counts, self._open, self._count_here, passing)

    @property
    def key(self) -> bytes:
        """What workers that pass clients to each other call it; empty where they do not."""
        return self._balance.key if self._balance is not None else b""

    def have_come(self) -> None:
        """All clients that were passed to this worker are here."""
        if self._balance is not None:
            self._balance.emptied()

    def adopt(self, place: int, descriptor: int) -> None:
        """Serve a client that another worker has accepted, at one of the addresses."""
        if self._balance is None or place >= len(self.listen_sockets):
            os.close(descriptor)
            return
        self._balance.receives()
        self.listen_sockets[place].adopt(descriptor)
        self._count_again()

    def build_ahead(self, chains: Iterable[Any]) -> Iterator[None]:
        """Build these filter chains in small steps for the next update."""
        return self._chains.build_ahead(chains)

    def update(self, message: Any, found: Difference | None = None) -> list[FilterChain]:
        """It has the filter chains of this message now, which differs in nothing else.

        :param found: in which chains it does; `None` where nobody has looked.
        :return: those that are no more; their clients stay.
        """
        left = self._chains.update(message, found)
        self.message = message
        return left

    def stop_listening(self) -> None:
        """Accept no more clients; it stays what it is otherwise."""
        if self._balance is not None:
            self._balance.closed()
        for each in self.listen_sockets:
            each.close()

    def close(self) -> None:
        """Accept no more clients; once those connected have left nothing is left of it."""
        self.stop_listening()
        self._closed = True
        if self._filters is None or not self._filters.active:
            self._close_chain()

    def withdraw(self) -> None:
        """As `close`, of a listener that cannot be bound or opened: no file is left of it."""
        for each in self.listen_sockets:
            each.withdraw()
        self.close()

    def expire(self) -> Iterator[None]:
        """Of one that is closed: its clients have had their time.  Each step closes one."""
        if self._filters is not None:
            self._filters.stop()
        for chain in list(self._chains):
            yield from chain.expire(Cause.LISTENER_REMOVED, PURGED)

    def stop(self) -> Deferred[None]:
        """Accept no more clients and close those there are, at once; fires when they are gone."""
        stopped = self._stopped = Deferred()
        self.close()
        chains = list(self._chains)
        for chain in chains:
            chain.filters.stop()
        if self._filters is not None:
            self._filters.stop()
        for chain in chains:
            for connection in tuple(chain.connections or ()):
                connection.transport.cutConnection()
        self._look_whether_gone()
        return stopped

    def limit(self, runtime: Runtime, count_all: Callable[[], int]) -> None:
        """Accept as many clients as the runtime and the overload manager have now, as a rule any
        number; an internal one always does, as in Envoy.

        :param count_all: tells how many clients all listeners have.
        """
        overload = self._overload
        points = (overload.point(TCP_LISTENER_ACCEPT), overload.rejects)
        sheds = tuple(each for each in points if each is not None and each.level)
        own, of_all = limits_of(self.message, runtime, overload)
        self._limit = None
        if self.is_internal:
            return
        if sheds or own != NO_LIMIT or of_all != NO_LIMIT:
            self._limit = AcceptLimit(
                own, of_all, self.count, count_all, self.stats, overload.turned_away, sheds
            )

    def pause(self, pauses: bool) -> None:
        """Let clients wait from now on, or no more; unless it bypasses the overload manager."""
        if not self._bypasses:
            for each in self.listen_sockets:
                each.pause(pauses)

    @property
    def counts_for_all(self) -> bool:
        """Whether its clients count against the limit of all listeners."""
        return not self.is_internal and counts_for_all(self.message, self._overload)

    def count(self) -> int:
        """How many clients it has in all workers, also those that its listener filters look at."""
        if self._open is None:
            self._open = self._counts.count("connections")
        self._open.own = self._count_here()
        return self._open.total

    def _count_again(self) -> None:
        """Clients may have come or gone, and somebody goes by how many there are."""
        if self._open is not None:
            self._open.own = self._count_here()

    def _count_here(self) -> int:
        return self.open_connections + self.inspected

    def _look_whether_gone(self) -> None:
        """Of a listener that is closed: whether its last client has left."""
        if self.open_connections:
            return
        self._release()
        if self._filters is not None and self._filters.active:
            return
        # Those below know it, and all would be a cycle.
        self._chains.let_go()
        self._first = self._filters = None
        if self._balance is not None:
            self._balance = None
            for each in self.listen_sockets:
                each.let_go()
        if self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def _close_chain(self) -> None:
        """No client comes any more, not even one that was accepted before."""
        if self._filters is not None:
            self._filters.close()
        self._chains.close()
        self._look_whether_gone()

    def inspections_ended(self) -> None:
        """A client is not looked at any more: none is, or how many are is of interest."""
        self._count_again()
        if self._closed and self._filters is not None and not self._filters.active:
            self._close_chain()

    @property
    def is_counted(self) -> bool:
        """Whether somebody goes by how many clients there are at each moment."""
        return self._balance is not None

    # Its clients

    def buildProtocol(self, addr: Any) -> Connection | None:  # type: ignore[override]
        """A client was accepted; `None` where it is one too many."""
        if self._limit is not None:
            if not self._limit.admits():
                return None
            if self._open is not None:
                self._open.own = self._count_here() + 1  # at once, for other workers
        return Connection(self._first, next(self._ids))

    def connections(self) -> Iterator[tuple[Connection, ...]]:
        """Its clients at this moment, in groups, also those that its listener filters look at."""
        if self._filters is not None:
            yield self._filters.connections
        for chain in self._chains:
            if chain.connections:
                yield tuple(chain.connections)

    @property
    def info(self) -> ListenerInfo:
        """Where its clients come in."""
        return self._info

    def take(self, connection: Connection) -> None:
        """A client that another listener has accepted, and that wanted to come here; it is not
        handed on again.
        """
        connection.owner = self._first
        if self._filters is None:
            self.connection_made(connection)
        else:
            self._filters.begin(connection, None)

    def connection_made(self, connection: Connection) -> None:
        """Give the client to a filter chain."""
        info = connection.stream_info
        now, chains = self._now, self._chains
        info.started = info.started or now()
        info.listener = self._info
        if chains.keeps_remote or chains.keeps_local:
            self.keep_addresses(connection)
        find = chains.find
        chain = find(info)
        if chain is None:
            self._close_unmatched(connection)
            return
        info.phase = FILTERING
        self.open_connections += 1
        self.stats.opened()
        if debug_log.enabled:
            debug_log.debug(
                "[C{id}] new connection from {peer} on {name}",
                id=info.id,
                peer=info.direct_remote_address,
                name=self.name,
            )
        connection.transport.high_watermark = self._buffer_limit
        chain.serve(connection)

    def _close_unmatched(self, connection: Connection) -> None:
        """No filter chain is for this client: it never was a connection of the listener.  As for
        every client with bytes that nobody took, it ends with a reset.
        """
        self.stats.no_filter_chain_match.tally += 1
        connection.owner = None
        info = connection.stream_info
        info.flags |= ResponseFlag.NR
        info.details = "filter_chain_not_found"
        reason = CloseReason(EndedBy.PROXY, info.phase, Cause.NO_FILTER_CHAIN)
        connection.close(reason, reset=info.peeked)
        self.log_unserved(info)
        self._count_again()

    def reject(self, connection: Connection) -> None:
        """A chain without filters closes its clients, and counts them as if its filters were still
        to come, as Envoy does.
        """
        self.stats.network_extension_config_missing.tally += 1
        connection.close(CloseReason(EndedBy.PROXY, FILTERING, Cause.NO_FILTERS), "no_filters")

    def on_handshake_timeout(self) -> None:
        """A client was closed because its handshake took too long."""
        self.stats.transport_socket_connect_timeout.tally += 1

    def on_filter_failed(self) -> None:
        """A network filter has raised something; Envoy has no name for that."""
        self.stats.scope.counter("downstream_network_filter_error").tally += 1

    def lost(self, connection: Connection, chain: FilterChain) -> None:
        """A client of this chain is gone."""
        info = connection.stream_info
        self.open_connections -= 1
        if self._open is not None:  # not a method: it would cost a call
            self._open.own = self._count_here()
        clock = self._now
        info.ended = now = clock()
        # Not a method: it would cost more than what it does.
        closes = self._closes
        closes.append(info)
        closes.ended += 1
        closes.received += info.bytes[0]
        closes.sent += info.bytes[3]
        if debug_log.enabled:
            self._tell_end(info)
        self.stats.closed(int((now - info.started) * 1000))
        if self._logs is not None:
            self._logs.log(info)
        if chain.filters.access_logs is not None:
            chain.filters.access_logs.log(info, LogType.TCP_CONNECTION_END)

    def moved(self, chain: FilterChain) -> None:
        """A client of this chain is another process's."""
        self._count_moved(-1)

    def chain_for(self, connection: Connection, name: str) -> FilterChain | None:
        """The chain that a client of another process goes on in, as one of its clients: the one
        that it would get as a new one, if that has the same name and lets clients come so.
        """
        connection.stream_info.listener = self._info
        chain = self._chains.find(connection.stream_info)
        if chain is None or chain.info.filter_chain_name != name or chain.mover is None:
            return None
        return chain

    def arrived(self, connection: Connection, chain: FilterChain) -> None:
        """It has come."""
        connection.transport.high_watermark = self._buffer_limit
        chain.take(connection)
        self._count_moved(1)

    def _count_moved(self, count: int) -> None:
        self.open_connections += count
        self._count_again()
        self.stats.moved(count)

    @property
    def chains(self) -> Iterator[FilterChain]:
        """Its filter chains, also those that have only clients."""
        return iter(self._chains)

    @property
    def inspected(self) -> int:
        """Clients that its listener filters look at."""
        return self._filters.active if self._filters is not None else 0

    def left(self, chain: FilterChain) -> None:
        """A client of a chain that takes no more has gone."""
        if not chain.connections:
            self._chains.forget(chain)
        if self._closed:
            self._look_whether_gone()

    def _tell_end(self, info: StreamInfo) -> None:
        """Say in the log of the process how a client went."""
        host, received, sent = info.upstream.host, info.bytes[0], info.bytes[3]
        debug_log.debug(
            "[C{id}] closed after {seconds:.3f} s: {reason}; upstream {host}, {received} bytes "
            "received, {sent} sent, flags {flags}",
            id=info.id,
            seconds=(info.ended or info.started) - info.started,
            reason=close_reason_text(info) or "?",
            host=host.address if host is not None else "-",
            received=received,
            sent=sent,
            flags=info.flags,
        )

    def log_unserved(self, info: StreamInfo) -> None:
        """A client was closed that no filter chain has had; as in Envoy it was no connection, and
        has no number.
        """
        info.ended = self._now()
        self._closes.append(info)
        self._closes.ended += 1
        if debug_log.enabled:
            self._tell_end(info)
        info.id = 0
        if self._logs is not None:
            self._logs.log(info)

    def keep_addresses(self, connection: Connection) -> None:
        """Have the transport find out its addresses as long as it can, where they will be
        logged.
        """
        if self._chains.keeps_remote:
            connection.transport.getPeer()
        if self._chains.keeps_local:
            connection.transport.getHost()

    def _release(self) -> None:
        """Nothing is left of it: neither are its statistics, nor what its filters count."""
        logs, self._logs = self._logs, None
        if logs is not None:
            logs.close()
        self._counts.close()
        self.stats.scope.close()
        if self._own_store is not None:
            self._own_store.close()
