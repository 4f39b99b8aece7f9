"""A client's transport with filters that change bytes on top of it.

Theory of operation.  Filters that only look stand beside a connection's bytes
(`tcpmesh.connection.filters`).  Those that change them stand between: what the client sends passes
them in the order of the configuration, what is sent to it in the reverse order, as in Envoy::

    client  --received-->  filter 1  -->  filter 2  --deliver-->     the last filter
    client  <---send----   filter 1  <--  filter 2  <--send_plain--  of the chain

So this is a wrapped transport (`tcpmesh.connection.wrapped.transport`), upon TLS where there is
TLS, and the last filter of the chain, with its relay, has it in place of the client's own.  Pauses,
watermarks, half-close and all the ways to end are those of any wrapped transport; what filters add
is that they may hold bytes (`tcpmesh.connection.byte_filters.ways`):

- what they hold of the client's counts against the buffer limit of the connection, beyond which the
  client is not read;
- what they hold of what is for the client counts as not sent (`buffered`), so who writes is paused,
  and an end that was asked for waits for it.  It is counted in bytes as they were written, whatever
  the filters make of them: `_owed` of them have not been let go.

The end of the stream passes the filters behind its bytes, also where the last filter closes the
connection, so that one that has something to add can.  A connection that is lost or aborted loses
what is held.

A filter that raises closes its connection, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tcpmesh.connection.byte_filters.base import AsByteFilter
from tcpmesh.connection.byte_filters.callbacks import FilterCallbacks
from tcpmesh.connection.byte_filters.ways import NO_WAY, Step, Way
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import FAILED, HELD_LIMIT, close_for_filter
from tcpmesh.connection.wrapped.states import CONNECTED, After, Incoming, Phase
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.interfaces import IFilterFactory
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag

log = Logger(namespace="filter")


class _Nobody:
    """There is no handshake that somebody would bound."""

    def handshake_done(self, wrapper: Any) -> None:
        """It is ready at once."""

    def handshake_failed(self, wrapper: Any, reason: Any) -> None:
        """It never fails."""


NOBODY = _Nobody()


class FilteredTransport(WrappedTransport):
    """See the module's text."""

    __slots__ = (
        "_attach",
        "_connection",
        "_end_left",
        "_end_told",
        "_failed",
        "_feeding",
        "_owed",
        "_owner",
        "_reading",
        "_running",
        "_writing",
        "is_over",
    )

    def __init__(self, clock: IReactorTime, observer: Any = NOBODY) -> None:
        super().__init__(clock, observer)
        self.is_over = False
        """Whether no filter is asked any more."""
        self._connection: Any = None
        self._owner: Any = None
        self._attach: Callable[[Connection], None] | None = None
        """Gives the connection to the last filter; `None` once that has it."""
        self._failed: Callable[[], object] = lambda: None
        self._running: list[tuple[Any, FilterCallbacks]] = []
        self._reading = self._writing = NO_WAY
        self._feeding = False
        """Whether the filters are being shown what has just come."""
        self._owed = 0
        """Bytes that were written and that filters hold."""
        self._end_told = self._end_left = False
        """Whether the filters were told of the end of what is for the client, and whether it has
        passed all of them.
        """

    def run(
        self,
        connection: Connection,
        factories: Sequence[Any],
        attach: Callable[[Connection], None],
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin with the first filter.

        :param factories: what was built of the configuration, in its order: each an
            `IFilterFactory` or an `IReadFilter`.
        :param attach: gives the connection to the last filter of the chain.
        :param failed: is told of a filter that raises.
        """
        self._connection, self._attach, self._failed = connection, attach, failed
        self._owner, connection.owner = connection.owner, self
        for at, factory in enumerate(factories):
            callbacks = FilterCallbacks(connection, self, at)
            make = factory.build_filter if IFilterFactory.providedBy(factory) else None
            try:
                each = make(callbacks) if make is not None else AsByteFilter(factory, callbacks)
            except BaseException:
                self._fail(factory)
                return
            self._running.append((each, callbacks))
        reading = []
        writing = []
        for each, _ in self._running:
            begin = partial(self._ask, each, each.on_new_connection)
            reading.append(Step(partial(self._ask, each, each.on_data), begin))
            writing.append(Step(partial(self._ask, each, each.on_write)))
        self._reading = Way(tuple(reading), self._arrived)
        self._writing = Way(tuple(reversed(writing)), self._leaves)
        self._reading.feed(0, bytearray(), False)

    # The filters

    def _ask(self, each: Any, event: Callable[..., FilterStatus], *arguments: Any) -> FilterStatus:
        """What a filter says to an event."""
        if self.is_over:
            return FilterStatus.STOP
        try:
            status = event(*arguments)
        except BaseException:
            self._fail(each)
            return FilterStatus.STOP
        return FilterStatus.STOP if self.is_over else status

    def _fail(self, each: Any) -> None:
        """A filter has raised what is being handled."""
        id = self._connection.stream_info.id
        log.failure("[C{id}] a network filter failed: {filter!r}", id=id, filter=each)
        self._failed()
        if not self.is_over:
            self.close_for_filter(FAILED)

    def on_failure(self, at: int) -> None:
        """A filter has raised what is being handled."""
        self._fail(self._running[at][0])

    def close_for_filter(
        self,
        reason: str,
        flag: ResponseFlag = NO_FLAGS,
        details: str = "",
        reset: bool = False,
    ) -> None:
        """A filter closes the client."""
        connection = self._connection
        self._stop_filters()
        close_for_filter(connection, reason, flag, details, reset)

    def resume(self, at: int, done: bool) -> None:
        """Go on after a filter that holds up what the client sends."""
        self._reading.resume(at, done)
        self._has_arrived()

    def retry(self, at: int, writing: bool) -> None:
        """Show a filter again what it holds up."""
        if writing:
            self._writing.again(len(self._running) - 1 - at)
            self._has_left()
        else:
            self._reading.again(at)
            self._has_arrived()

    def inject(self, at: int, writing: bool, data: bytearray, end: bool) -> None:
        """Let this go on after a filter."""
        if writing:
            self._writing.inject(len(self._running) - 1 - at, data, end)
            self._has_left()
        else:
            self._reading.inject(at, data, end)
            self._has_arrived()

    def _stop_filters(self) -> None:
        """Ask no filter any more; what they hold is lost."""
        self.is_over = True
        self._dropped += self._owed
        self._owed = 0
        self._reading = self._writing = NO_WAY
        for _, callbacks in self._running:
            callbacks.cancel()

    def released(self) -> None:
        """It is over."""
        self._stop_filters()

    def connection_lost(self, connection: Connection) -> None:
        """As the owner of the connection: it is over, wherever it was.  Tell the filters that know
        it, then who would have been told.
        """
        self._stop_filters()
        running, self._running = self._running, []
        for each, _ in running:
            try:
                each.on_connection_lost()
            except BaseException:
                log.failure("a network filter failed: {filter!r}", filter=each)
                self._failed()
        owner, self._owner = self._owner, None
        self._connection = self._attach = None
        owner.connection_lost(connection)

    # What the client sends

    def received(self, data: memoryview) -> None:
        """Bytes have come: show them to the filters."""
        self._feed(bytearray(data), False)

    def received_end(self) -> None:
        """The client will send no more: the filters hear it first."""
        self._feed(bytearray(), True)

    def _feed(self, data: bytearray, end: bool) -> None:
        if self._after >= After.CLOSE:
            return
        self._feeding = True
        try:
            self._reading.feed(0, data, end)
        finally:
            self._feeding = False
        if self._plain or self._incoming is Incoming.ENDED:
            self._deliver()
        else:
            self._steer()

    def _arrived(self, data: bytearray, end: bool) -> None:
        """All filters have let this pass."""
        attach, self._attach = self._attach, None
        if attach is not None:
            attach(self._connection)
        if self._after >= After.CLOSE:
            return
        if data and self._feeding:
            self.deliver(memoryview(data))
        elif data:
            self._plain += data
        if end and self._incoming is Incoming.OPEN:
            self._incoming = Incoming.ENDED

    def _has_arrived(self) -> None:
        """What a filter has let go by itself is delivered, but not from within its call."""
        if not self._feeding:
            self._deliver_soon()
            self._steer()

    def _has_unread(self) -> bool:
        return bool(self._plain) or self._reading.held >= (self._mark or HELD_LIMIT)

    def _read_for_nobody(self) -> None:
        self._reading.clear()
        super()._read_for_nobody()

    # What is for the client

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return super().buffered + self._owed

    def write(self, data: Any) -> None:
        """Send bytes after all that was written before."""
        super().write(data)
        if self._owed and self._streaming and not self._producer_paused:
            self._consider_pause()

    def send_plain(self, data: Any) -> None:
        """Show what was written to the filters."""
        if self.is_over:
            self.send(data, len(data))
            return
        self._owed += len(data)
        self._writing.feed(0, bytearray(data), False)
        self._owed = min(self._owed, self._writing.held)

    def _leaves(self, data: bytearray, end: bool) -> None:
        """All filters have let this pass."""
        if data and self._phase is Phase.READY:
            plain = max(0, self._owed - self._writing.held)
            self._owed -= plain
            self.send(data, plain)
        self._end_left = self._end_left or end

    def _has_left(self) -> None:
        """A filter has let something go by itself: perhaps somebody has waited for that."""
        self._owed = min(self._owed, self._writing.held)
        self._pass_on()
        self._consider_resume()

    def _has_unsent(self) -> bool:
        return bool(self._pending or self._owed)

    def _end_below(self) -> None:
        if not (self.is_over or self._end_told) and self._after in (After.FIN, After.CLOSE):
            self._end_told = True
            self._writing.feed(0, bytearray(), True)
        held = self._owed or (self._after is After.FIN and not self._end_left)
        if self._phase in CONNECTED and (self.is_over or not held):
            super()._end_below()

    def _drop_pending(self) -> None:
        self._dropped += self._owed
        self._owed = 0
        self._writing.clear()
        super()._drop_pending()
