"""A connection's way through the filters that stand before the last one of its chain.

Theory of operation.  The last filter of a chain, nearly always tcp_proxy, owns the connection's
bytes.  Those before it are *read filters*: each may act when the connection is new, may want to see
what the client sends before the last filter does anything with it, and may hold everything up while
it asks somebody else.  The order of events is Envoy's:

- when a connection is accepted the last filter hears of it first (`on_accept`), to count it and to
  decide whether the client is read meanwhile;
- then `on_new_connection` of each read filter is called in order, and after them the last filter
  takes over (`attach`), which for tcp_proxy means that it connects upstream;
- a filter that returns STOP holds up those after it until it calls `FilterManager.resume`;
- what the client sends goes to `on_data` of each filter that still wants to see it, in order, and
  then to the last filter. tcp_proxy does not read its client before the upstream is connected, so
  that is when the first bytes are seen.

The means: *whose `protocol` gets the client's bytes* is `Connection.read_source`, of which the last
filter becomes the protocol by assigning itself.  Usually that is the transport.  In a chain with
read filters it is a `FilterManager`, itself the transport's protocol: it keeps who was assigned,
and lets it have the transport once no filter wants to see more.  From then on the connection costs
what any other does.

Where a manager is with its connection has a name:

    DECIDING --all filters let it pass--> ATTACHED --closed, or lost--> OVER
    DECIDING --a filter closes it, or it is lost--> OVER

Whether the client is read while a filter holds things up is the last filter's decision, in
`on_accept`: tcp_proxy does not read it, unless early data are allowed.  Where it is read, what
comes is kept up to the connection's buffer limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from zope.interface import implementer

from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IReadFilter
from tcpmesh.logs.debug import debug_logger
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy

log = Logger(namespace="filter")
debug_log = debug_logger("filter")

FAILED = "network_filter_failed"
"""Why a connection was closed of which a filter has raised something: a word of tcpmesh's own."""

HELD_LIMIT = 1 << 20
"""Bytes kept for a filter that holds things up, where the connection has no buffer limit."""


class FilterManagerState(Enum):
    """Where a `FilterManager` is with its connection."""

    DECIDING = "deciding"
    """The filters have not all let it pass yet."""

    ATTACHED = "attached"
    """The last filter has it; others may still want to see what the client sends."""

    OVER = "over"
    """It is closed, or is being closed by a filter: no filter is shown anything any more."""


# An attribute of an Enum costs several times what a name of a module does.
DECIDING = FilterManagerState.DECIDING
ATTACHED = FilterManagerState.ATTACHED
OVER = FilterManagerState.OVER
DONE, STOP = FilterStatus.DONE, FilterStatus.STOP


def close_for_filter(
    connection: Connection, reason: str, flag: ResponseFlag, details: str, reset: bool
) -> None:
    """Close a client because a filter says so, as `FilterManager.close` has it."""
    info = connection.stream_info
    if debug_log.enabled:
        debug_log.debug("[C{id}] closed by a filter: {reason}", id=info.id, reason=reason)
    info.flags |= flag
    info.termination_details = info.termination_details or details
    why = CloseReason(EndedBy.PROXY, info.phase, Cause.FILTER, detail=reason)
    connection.close(why, reason, reset=reset or bool(connection.transport.buffered))


class NetworkFilter:
    """What filters that end their chain build upon: all of `INetworkFilter` but `attach`."""

    terminal = True
    serves_many_chains = False

    def on_accept(self, connection: Connection) -> None:
        """Nothing has to be done before the filters before this one have decided."""

    def close(self) -> None:
        """Nothing has to be given back."""


@implementer(IReadFilter)
class ReadFilter:
    """A read filter that does nothing: what extensions build upon."""

    terminal = False
    serves_many_chains = False
    sees_data = False

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Go on."""
        return FilterStatus.CONTINUE

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        """Want no more."""
        return FilterStatus.DONE

    def on_connection_lost(self, manager: FilterManager) -> None:
        """Nothing has to be undone."""

    def close(self) -> None:
        """Nothing has to be given back."""


class ReadFilters:
    """The read filters of a chain, and which of them have to be told what: most have an interest in
    one event, and to tell them of others costs each connection.
    """

    __slots__ = ("all", "entering", "leaving", "seeing", "showing")

    def __init__(self, filters: Sequence[Any]) -> None:
        self.all = tuple(filters)
        self.entering = tuple(
            (index + 1, each.on_new_connection)
            for index, each in enumerate(self.all)
            if _overrides(each, "on_new_connection")
        )
        """Those to be told of a new connection, and how many have been then."""
        self.leaving = tuple(
            (index, each)
            for index, each in enumerate(self.all)
            if _overrides(each, "on_connection_lost")
        )
        """Those to be told of its end, and their places."""
        self.showing = tuple(
            (1 << index, index, each.on_data)
            for index, each in enumerate(self.all)
            if each.sees_data
        )
        """Those that want to see data, a bit for each, and their places."""
        self.seeing = sum(bit for bit, _, _ in self.showing)


def _overrides(each: Any, name: str) -> bool:
    """Whether a filter does anything at an event."""
    return getattr(type(each), name, None) is not getattr(ReadFilter, name)


NO_FILTERS = ReadFilters(())


class FilterManager(QuietHalfCloseableProtocol):
    """One connection in a chain with read filters; also what the last filter is the protocol of
    (see the module's text).
    """

    __slots__ = (
        "_attach",
        "_end",
        "_entered",
        "_failed",
        "_filters",
        "_held",
        "_owner",
        "_paused",
        "_seeing",
        "_state",
        "_stopped",
        "_target",
        "connection",
    )

    def __init__(
        self,
        connection: Connection,
        filters: ReadFilters,
        attach: Callable[[Connection], None],
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        """`attach` gives the connection to the last filter; `failed` is told of a filter that
        raises, which closes the connection.
        """
        self.connection = connection
        self._filters = filters
        self._attach = attach
        self._failed = failed
        self._state = DECIDING
        self._seeing = filters.seeing
        """Which still want to see what the client sends."""
        self._entered = 0
        """How many filters have been told of the connection."""
        self._stopped: int | None = None
        """The filter that holds things up."""
        self._held = bytearray()
        """What the client has sent and the last filter does not have yet, and `_end` whether that
        is all.
        """
        self._end = False
        self._paused = False
        """Whether the client is not read because so much is held."""
        self._target: Any = None
        self._owner, connection.owner = connection.owner, self

    def start(self) -> None:
        """Begin with the first filter."""
        connection = self.connection
        connection.read_source = connection.transport.protocol = self
        for entered, enter in self._filters.entering:
            self._entered = entered
            try:
                status = enter(self)
            except BaseException:
                self._fail(self._filters.all[entered - 1])
                return
            if status is STOP:
                self._stopped = entered - 1
                return
            if self._state is OVER:
                return
        self._entered = len(self._filters.all)
        if not self._seeing:
            self._step_aside()
        self._state = ATTACHED
        self._attach(connection)

    @property
    def is_over(self) -> bool:
        """Whether the connection is closed, or is being closed by a filter."""
        return self._state is OVER

    # What filters may do

    def resume(self, done: bool = False) -> None:
        """Go on after the filter that holds things up; not to be called from within its own
        event.

        :param done: whether it has seen enough of what the client sends.
        """
        if self._stopped is not None and self._state is not OVER:
            position, self._stopped = self._stopped, None
            if done:
                self._seeing &= ~(1 << position)
            self._run(position + 1)

    def close(
        self,
        reason: str,
        flag: ResponseFlag = NO_FLAGS,
        details: str = "",
        reset: bool = False,
    ) -> None:
        """Close the client at once, and whatever it was connected to: with a reset where it has not
        taken all that was for it, or a listener filter alone has seen what it has sent.

        :param reason: in Envoy's words, as DOWNSTREAM_LOCAL_CLOSE_REASON has it.
        :param flag: the response flags that this gives the connection.
        :param details: what CONNECTION_TERMINATION_DETAILS has to say.
        :param reset: whether with a reset in any case.
        """
        info = self.connection.stream_info
        is_unread = info.peeked and self._state is DECIDING and not self._held
        self._state = OVER
        self._held.clear()
        close_for_filter(self.connection, reason, flag, details, reset or is_unread)

    # The way through

    def _run(self, first: int) -> None:
        for position in range(first, len(self._filters.all)):
            if not self._passes(position):
                self._stopped = position
                return
            if self._state is OVER:
                return
        self._stopped = None
        self._hand_over()

    def _passes(self, position: int) -> bool:
        """Let one filter have what there is for it; whether things go on after it."""
        each = self._filters.all[position]
        is_seeing = self._seeing >> position & 1
        if position == self._entered:
            self._entered += 1
            if self._ask(each, each.on_new_connection) is STOP:
                return False
        elif position == self._stopped and not is_seeing:
            return False
        if is_seeing and (self._held or self._end) and self._state is not OVER:
            status = self._ask(each, each.on_data, bytes(self._held), self._end)
            if status is DONE:
                self._seeing &= ~(1 << position)
            return status is not STOP
        return True

    def _ask(self, each: Any, event: Callable[..., FilterStatus], *arguments: Any) -> FilterStatus:
        """What a filter says to an event; where it raises that is the end of this connection, and
        of no other.
        """
        try:
            return event(self, *arguments)
        except BaseException:
            self._fail(each)
            return STOP

    def _fail(self, each: Any) -> None:
        """A filter has raised what is being handled."""
        info = self.connection.stream_info
        log.failure("[C{id}] a network filter failed: {filter!r}", id=info.id, filter=each)
        self._failed()
        if self._state is not OVER:
            self.close(FAILED)

    def _hand_over(self) -> None:
        """No filter holds things up: the last one gets what there is."""
        if not (self._seeing or self._held or self._end):
            self._step_aside()
        if self._state is DECIDING:
            self._state = ATTACHED
            self._attach(self.connection)
        elif self._paused:
            self._paused = False
            self.connection.transport.resumeProducing()
        self._deliver()

    def _deliver(self) -> None:
        """Give what is held to the last filter's protocol, unless a filter holds it up."""
        target = self._target
        if target is None or self._stopped is not None or self._state is OVER:
            return
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            self.connection.stream_info.withheld = 0
            target.dataReceived(data)
        if not self._seeing:
            self._step_aside()
        if self._end:
            self._end = False
            self._step_aside()
            target.readConnectionLost()

    def _step_aside(self) -> None:
        """No filter here wants to see more: the last filter's protocol is the transport's from now
        on.
        """
        connection = self.connection
        if connection.read_source is self:
            connection.read_source = connection.transport
            connection.transport.protocol = self._target or connection

    # What the last filter sees in place of the transport

    @property
    def protocol(self) -> Any:
        """Who gets what the client sends, once the filters have seen it."""
        return self._target

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._target = protocol
        if self.connection.read_source is not self:
            self.connection.transport.protocol = protocol

    def resumeProducing(self) -> None:
        """The last filter's protocol wants bytes."""
        self.connection.transport.resumeProducing()
        if self._held or self._end:
            self._deliver()

    # As the transport's protocol

    def dataReceived(self, data: bytes) -> None:
        """The client has sent something: show it to the filters that want to see it."""
        if self._state is OVER:
            return
        if self._target is None or self._stopped is not None or self._held:
            self._hold(data)
            return
        # All have let it pass so far, and nothing waits: the way of nearly all data.
        for bit, position, show in self._filters.showing:
            if not self._seeing & bit:
                continue
            try:
                status = show(self, data, False)
            except BaseException:
                self._fail(self._filters.all[position])
                return
            if status is DONE:
                self._seeing &= ~bit
            elif status is STOP:
                self._stopped = position
                self._hold(data, shown=True)
                return
            if self._state is OVER:
                self.connection.stream_info.withheld += len(data)
                return
        self._target.dataReceived(data)
        if not self._seeing:
            self._step_aside()

    def _hold(self, data: bytes, shown: bool = False) -> None:
        """Keep it for a filter that holds things up, or until there is somebody to have it.

        :param shown: whether all have seen it that are to.
        """
        info = self.connection.stream_info
        info.withheld += len(data)
        if self._state is OVER:
            return
        self._held += data
        if not shown:
            self._run(0)
        if self._held and self._is_full():
            self._paused = True
            self.connection.transport.pauseProducing()

    def _is_full(self) -> bool:
        """Whether as much is held as the client may have sent."""
        return len(self._held) >= (self.connection.transport.high_watermark or HELD_LIMIT)

    def readConnectionLost(self) -> None:
        """The client has sent all it will: shown to the filters with what came before it."""
        if self._state is not OVER:
            self._end = True
            self._run(0)

    def connectionLost(self, reason: Failure) -> None:
        """The transport is gone while it was here."""
        self._state = OVER
        (self._target or self.connection).connectionLost(reason)

    # As the connection's owner

    def connection_lost(self, connection: Connection) -> None:
        """The connection is over, wherever it was: tell the filters that know it, then the
        listener.
        """
        self._state = OVER
        connection.read_source = connection.transport
        for position, each in self._filters.leaving:
            if position >= self._entered:
                break
            try:
                each.on_connection_lost(self)
            except BaseException:
                log.failure("a network filter failed: {filter!r}", filter=each)
                self._failed()
        self._filters = NO_FILTERS
        self._target = None
        self._owner.connection_lost(connection)
