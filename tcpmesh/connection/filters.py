"""A connection's manager through the filters that stand before the last one of its chain.

Theory of operation.  The last filter of a chain, nearly always tcp_proxy, owns the connection's
bytes.  Those before it are *read filters*: each may act when the connection is new, may want to see
what the client sends before the last filter does anything with it, and may hold everything up while
it asks somebody else.  The order of events is Envoy's:

- at a new connection `new_connection` of each filter is called in order, then the last filter takes
  over, which for tcp_proxy means that it connects upstream;
- a filter that returns STOP holds up those after it until it calls `FilterManager.resume`;
- what the client sends goes to `data_received` of each filter that still wants to see it, in order,
  and then to the last filter. tcp_proxy does not read its client before the upstream is connected,
  so that is when the first bytes are seen.

The means: *whose `protocol` gets the client's bytes* is a seat that the last filter takes by
assigning itself.  Usually the seat is the transport.  In a chain with read filters it is a
`FilterManager`, itself the transport's protocol: it keeps who was assigned, and lets it have the
transport once no filter wants to see more.  From then on the connection costs what any other does.

Whether the client is read while a filter holds things up is the last filter's decision, who meets
it first: tcp_proxy does not read it, unless early data are allowed.  Where it is read, what comes
is kept up to the connection's buffer limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.python.failure import Failure

from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IReadFilter
from tcpmesh.logs.debug import debug_logger
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.values.filter_status import FilterStatus

debug_log = debug_logger("filter")

HELD_LIMIT = 1 << 20
"""Bytes kept for a filter that holds things up, where the connection has no buffer limit."""


@implementer(IReadFilter)
class ReadFilter:
    """A read filter that does nothing: what extensions build upon."""

    terminal = False
    sees_data = False

    def new_connection(self, manager: FilterManager) -> FilterStatus:
        """Go on."""
        return FilterStatus.CONTINUE

    def data_received(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        """Want no more."""
        return FilterStatus.DONE

    def connection_lost(self, manager: FilterManager) -> None:
        """Nothing has to be undone."""

    def close(self) -> None:
        """Nothing has to be given back."""


class FilterManager(QuietHalfCloseableProtocol):
    """One connection in a chain with read filters; also the seat of the last filter (see the
    module's text).
    """

    __slots__ = (
        "_attach",
        "_attached",
        "_end",
        "_entered",
        "_filters",
        "_held",
        "_out",
        "_over",
        "_owner",
        "_paused",
        "_seeing",
        "_stopped",
        "_target",
        "connection",
    )

    def __init__(
        self, connection: Connection, filters: tuple[Any, ...], attach: Callable[[Connection], None]
    ) -> None:
        """`attach` gives the connection to the last filter."""
        self.connection = connection
        self._filters = filters
        self._attach = attach
        self._seeing = {index for index, each in enumerate(filters) if each.sees_data}
        self._entered = 0
        self._stopped: int | None = None
        self._held = bytearray()
        self._end = False
        self._target: Any = None
        self._attached = self._out = self._over = self._paused = False
        self._owner = connection.hand_to(self)

    def start(self) -> None:
        """Begin with the first filter."""
        self.connection.read_source = self.connection.transport.protocol = self
        self._run(0)

    # What filters may do

    def resume(self) -> None:
        """Go on after the filter that holds things up; not to be called from within its own
        event.
        """
        if self._stopped is not None and not self._over:
            position, self._stopped = self._stopped, None
            self._run(position + 1)

    def close(self, reason: str) -> None:
        """Turn the client away at once, and whatever it was connected to: a reset where it has not
        taken all that was for it.

        :param reason: in Envoy's words, as DOWNSTREAM_LOCAL_CLOSE_REASON has it.
        """
        self._over = True
        self._held.clear()
        if debug_log.enabled:
            debug_log.debug(
                "[C{id}] closed by a filter: {reason}", id=self.connection.id, reason=reason
            )
        transport = self.connection.transport
        if transport.buffered:
            transport.abortConnection()
        else:
            transport.loseConnection()

    # The way through

    def _run(self, first: int) -> None:
        for position in range(first, len(self._filters)):
            if not self._passes(position):
                self._stopped = position
                return
            if self._over:
                return
        self._stopped = None
        self._hand_over()

    def _passes(self, position: int) -> bool:
        """Let one filter have what there is for it; whether things go on after it."""
        each = self._filters[position]
        if position == self._entered:
            self._entered += 1
            if each.new_connection(self) is FilterStatus.STOP:
                return False
        elif position == self._stopped and position not in self._seeing:
            return False
        if position in self._seeing and (self._held or self._end) and not self._over:
            verdict = each.data_received(self, bytes(self._held), self._end)
            if verdict is FilterStatus.DONE:
                self._seeing.discard(position)
            return verdict is not FilterStatus.STOP
        return True

    def _hand_over(self) -> None:
        """No filter holds things up: the last one gets what there is."""
        if not (self._seeing or self._held or self._end):
            self._leave()
        if not self._attached:
            self._attached = True
            self._attach(self.connection)
        elif self._paused:
            self._paused = False
            self.connection.transport.resumeProducing()
        self._deliver()

    def _deliver(self) -> None:
        """Give what is held to whoever took the seat, unless a filter holds it up."""
        target = self._target
        if target is None or self._stopped is not None or self._over:
            return
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            target.dataReceived(data)
        if not self._seeing:
            self._leave()
        if self._end:
            self._end = False
            self._leave()
            target.readConnectionLost()

    def _leave(self) -> None:
        """Nobody here wants to see more: whoever took the seat is the transport's protocol from now
        on.
        """
        connection = self.connection
        if not self._out:
            self._out = True
            connection.read_source = connection.transport
            connection.transport.protocol = self._target or connection

    # The seat

    @property
    def protocol(self) -> Any:
        """Who gets what the client sends, once the filters have seen it."""
        return self._target

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._target = protocol
        if self._out:
            self.connection.transport.protocol = protocol

    def resumeProducing(self) -> None:
        """Whoever took the seat wants bytes."""
        self.connection.transport.resumeProducing()
        self._deliver()

    # As the transport's protocol

    def dataReceived(self, data: bytes) -> None:
        """The client has sent something: show it to the filters that want to see it."""
        if self._over:
            return
        self._held += data
        self._run(0)
        if len(self._held) >= (self.connection.transport.high_watermark or HELD_LIMIT):
            self._paused = True
            self.connection.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The client has sent all it will: shown to the filters with what came before it."""
        if not self._over:
            self._end = True
            self._run(0)

    def connectionLost(self, reason: Failure) -> None:
        """The transport is gone while it was here."""
        self._over = True
        (self._target or self.connection).connectionLost(reason)

    # As the connection's owner

    def connection_lost(self, connection: Connection) -> None:
        """The connection is over, wherever it was: tell the filters that have met it, then the
        listener.
        """
        self._over = True
        connection.read_source = connection.transport
        for each in self._filters[: self._entered]:
            each.connection_lost(self)
        self._filters = ()
        self._target = None
        self._owner.connection_lost(connection)
