"""Listener filters: what looks at a client between accept and the choice of a filter chain.

Some filters only ask the socket (where was this client redirected from), others want to see the
first bytes: a PROXY header, which they consume, or a ClientHello, which they leave where it is.
They run in order; one that waits for bytes holds up the rest.  While it does, a `ListenerFilterRun`
is the protocol of the client's transport.  It keeps what comes, and at the end gives back what
nobody consumed: the transport delivers that first, so whoever serves the client need not know that
it was looked at.

From accept until the last filter has decided there is one deadline (`listener_filters_timeout`).  A
client that leaves before that, or is rejected, was never a connection of the listener, and counts
only in what is counted here.

Envoy peeks into the socket (MSG_PEEK) where this reads and keeps.  The difference shows in how a
client is closed that has sent bytes: the kernel answers with a reset where bytes were not read, and
so do we.

Different from Envoy 1.40: a client whose end of stream comes together with the last byte that was
wanted is served, not closed; and one that resets is counted at once, as an error, not at the
deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from google.protobuf.any_pb2 import Any as AnyMessage
from zope.interface import implementer

from twisted.python.failure import Failure

from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.listener.predicate import Predicate, predicate
from tcpmesh.listener.stats import ListenerStats
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.registry import WorkerContext, build, build_checked, check_provides
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import InspectResult
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import PEEKING
from tcpmesh.values.stream.stream_info import ListenerInfo, StreamInfo

TIMEOUT = 15.0
"""Seconds (`listener_filters_timeout`)."""


class Serving(Protocol):
    """A listener, as its filters see it."""

    stats: ListenerStats

    @property
    def info(self) -> ListenerInfo:
        """Where its clients come in."""

    def connection_made(self, connection: Connection) -> None:
        """Serve a client."""

    def take(self, connection: Connection) -> None:
        """Serve a client that another listener has accepted."""

    def inspections_ended(self) -> None:
        """No client is being looked at any more, or one where `is_counted`."""

    @property
    def is_counted(self) -> bool:
        """Whether it wants to know of each."""

    def keep_addresses(self, connection: Connection) -> None:
        """Have the transport find out its addresses, where they will be logged."""

    def log_unserved(self, info: StreamInfo) -> None:
        """A client is gone that nobody was to serve."""


BAD_BYTES = CloseReason(EndedBy.PROXY, PEEKING, Cause.LISTENER_FILTER)
TOO_SHORT = CloseReason(EndedBy.DOWNSTREAM, PEEKING, Cause.END_OF_STREAM)
TOO_LATE = CloseReason(EndedBy.PROXY, PEEKING, Cause.LISTENER_FILTER_TIMEOUT)
RESET = CloseReason(EndedBy.DOWNSTREAM, PEEKING, Cause.RESET)

Find = Callable[[Address], Serving | None]
"""Finds the listener that an address belongs to."""


class ListenerFilterManager:
    """The filters of one listener, each built once and shared by its clients; the owner of the
    clients they look at.

    :param find: where clients are handed to the listener of their original destination
        (`use_original_dst`), finds it.
    """

    def __init__(
        self, message: Any, context: WorkerContext, listener: Serving, find: Find | None
    ) -> None:
        self.stats = listener.stats
        self._connections: set[Connection] = set()
        """Clients being looked at."""
        self._listener = listener
        self._find = find
        self._clock = context.network.clock
        self._filters: list[Any] = []
        self.continues_on_timeout: bool = message.continue_on_listener_filters_timeout
        timeout = (
            seconds(message.listener_filters_timeout)
            if message.HasField("listener_filters_timeout")
            else TIMEOUT
        )
        self.deadline: TimeoutQueue[ListenerFilterRun] | None = (
            context.network.timers.queue(timeout, ListenerFilterRun.on_timeout) if timeout else None
        )
        with all_or_nothing() as undo:
            undo.callback(self.close)
            for entry in message.listener_filters:
                self._filters.append(_build(entry, context))
            for each in _implied(message):
                self._filters.append(build(each, context))

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The clients that are being looked at, at this moment."""
        return tuple(self._connections)

    @property
    def active(self) -> int:
        """How many clients are being looked at."""
        return len(self._connections)

    def stop(self) -> None:
        """Close the clients that are being looked at, at once."""
        for connection in tuple(self._connections):
            connection.transport.cutConnection()

    def close(self) -> None:
        """The listener takes no more clients, and none is being looked at."""
        for each in self._filters:
            each.close()

    # As the owner of clients

    def connection_made(self, connection: Connection) -> None:
        """A client was accepted."""
        connection.stream_info.started = self._clock.seconds()
        self._listener.keep_addresses(connection)
        self.begin(connection, self._find)

    def connection_lost(self, connection: Connection) -> None:
        """A client is gone that was not served."""
        self._listener.log_unserved(connection.stream_info)
        self._release(connection)

    # The way of a client

    def begin(self, connection: Connection, find: Find | None) -> None:
        """Look at a client."""
        connection.stream_info.listener = self._listener.info
        self._connections.add(connection)
        rest = iter(self._filters)
        inspector = self.next(rest, connection)
        if inspector is None:
            self.serve(connection, find)
        elif inspector is InspectResult.CLOSE:
            phase = connection.stream_info.phase
            connection.close(CloseReason(EndedBy.PROXY, phase, Cause.LISTENER_FILTER))
        else:
            ListenerFilterRun(self, connection, rest, inspector, find).begin()

    def next(self, rest: Iterator[Any], connection: Connection) -> Any:
        """What the next filter says that does not let the client pass at once; `None` where all
        do.
        """
        for each in rest:
            said = each.accept(connection)
            if said is not None:
                return said
        return None

    def serve(self, connection: Connection, find: Find | None) -> None:
        """All filters have let the client pass."""
        info = connection.stream_info
        info.filters_began = self._clock.seconds()
        wanted = info.restored_local
        there = find(wanted) if find is not None and wanted is not None else None
        if there is None or there is self._listener:
            connection.owner = self._listener
            self._listener.connection_made(connection)
        else:
            there.take(connection)
        self._release(connection)

    def _release(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections or self._listener.is_counted:
            self._listener.inspections_ended()


class ListenerFilterRun(QuietHalfCloseableProtocol):
    """The protocol of a client's transport while a filter wants to see its first bytes."""

    __slots__ = (
        "__weakref__",
        "_connection",
        "_data",
        "_filters",
        "_find",
        "_inspector",
        "_read_size",
        "_rest",
    )

    def __init__(
        self,
        filters: ListenerFilterManager,
        connection: Connection,
        rest: Iterator[Any],
        inspector: IInspector,
        find: Find | None,
    ) -> None:
        self._filters = filters
        self._connection = connection
        self._rest = rest
        self._inspector: Any = inspector
        self._find = find
        self._data = bytearray()
        self._read_size: int = connection.transport.read_size
        """What the transport's `read_size` is when nobody looks any more."""

    def begin(self) -> None:
        """Wait for bytes."""
        filters = self._filters
        filters.stats.pre_cx_active.add(1)
        if filters.deadline is not None:
            filters.deadline.add(self)
        self._connection.stream_info.phase = PEEKING
        self._connection.transport.protocol = self
        self._wait()

    def _wait(self) -> None:
        """No read is larger than what is wanted, so no more than twice that is ever kept."""
        self._connection.transport.read_size = max(1, min(self._read_size, self._inspector.wanted))

    def dataReceived(self, data: bytes) -> None:
        """Keep bytes, and look at them."""
        self._data += data
        while self._data:
            said = self._inspector.inspect(self._data)
            if said is InspectResult.WAIT:
                if len(self._data) >= self._inspector.wanted:
                    raise RuntimeError(
                        f"{self._inspector!r} waits for more than the {self._inspector.wanted} "
                        f"bytes it wanted"
                    )
                break
            if said is not InspectResult.CLOSE:
                del self._data[:said]
                said = self._filters.next(self._rest, self._connection)
            if said is None:
                self._serve()
                return
            if said is InspectResult.CLOSE:
                self._reject(BAD_BYTES)
                return
            self._inspector = said
        self._wait()

    def readConnectionLost(self) -> None:
        """The client has sent all, and it was not enough."""
        self._filters.stats.listener_filter_remote_close.tally += 1
        self._reject(TOO_SHORT)

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone, by a reset."""
        self._filters.stats.listener_filter_error.tally += 1
        self._filters.stats.pre_cx_active.add(-1)
        self._disarm()
        self._connection.stream_info.close(RESET)
        self._connection.connectionLost(reason)

    def on_timeout(self) -> None:
        """The deadline is over: close the client, or serve it with what was found out so far.

        Where whoever was to serve it has failed, nobody will any more.
        """
        if self._connection.transport.protocol is not self:
            self._connection.transport.abortConnection()
            return
        self._filters.stats.pre_cx_timeout.tally += 1
        if self._filters.continues_on_timeout:
            self._serve()
        else:
            self._reject(TOO_LATE)

    def _serve(self) -> None:
        """Give the client on; the deadline ends once those of who serves it have begun."""
        connection = self._connection
        self._end()
        if self._data:
            connection.stream_info.peeked = True
            connection.transport.unread(self._data)
        self._filters.serve(connection, self._find)
        self._disarm()

    def _reject(self, reason: CloseReason) -> None:
        self._end()
        # What came was read: without this the kernel would not answer with a reset, as it does in
        # Envoy, which only peeks.  (A client without a filter chain gets one for the same reason.)
        self._connection.close(reason, reset=bool(self._data))
        self._disarm()

    def _end(self) -> None:
        """From now on the connection itself is the transport's protocol."""
        self._filters.stats.pre_cx_active.add(-1)
        transport = self._connection.transport
        transport.read_size = self._read_size
        transport.protocol = self._connection

    def _disarm(self) -> None:
        if self._filters.deadline is not None:
            self._filters.deadline.discard(self)


def are_wanted(message: Any) -> bool:
    """Whether a `listener.v3.Listener` has listener filters, be it only such as its other fields
    imply.
    """
    return bool(
        message.listener_filters or message.use_original_dst.value or _has_proxy_header(message)
    )


def _implied(message: Any) -> Iterator[AnyMessage]:
    """The configurations of filters that come after those listed."""
    if message.use_original_dst.value:
        from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst

        yield _packed(OriginalDst())
    if _has_proxy_header(message):
        from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2

        yield _packed(proxy_protocol_pb2.ProxyProtocol())


def _has_proxy_header(message: Any) -> bool:
    """Of old, the first filter chain said so for all."""
    return bool(message.filter_chains and message.filter_chains[0].use_proxy_proto.value)


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _build(entry: Any, context: WorkerContext) -> Any:
    """The filter of a `listener.v3.ListenerFilter`."""
    is_disabled = predicate(entry.filter_disabled) if entry.HasField("filter_disabled") else None
    config = entry.typed_config
    made = build_checked(
        config, context, lambda built: check_provides(built, IListenerFilter, config)
    )
    return made if is_disabled is None else Unless(is_disabled, made)


@implementer(IListenerFilter)
class Unless:
    """A filter that looks only at some clients (`filter_disabled`)."""

    def __init__(self, is_disabled: Predicate, inner: Any) -> None:
        self._is_disabled = is_disabled
        self._inner = inner

    def accept(self, connection: Connection) -> Any:
        """Look at a client, or let it pass."""
        return None if self._is_disabled(connection.stream_info) else self._inner.accept(connection)

    def close(self) -> None:
        """The listener takes no more clients."""
        self._inner.close()
