"""One client of a tcp_proxy, from the filter chain to its end: the timers, the counters and the
close reasons around its relay.

Usually the client is not read until the upstream is connected.  Where early data is allowed it is
read from the start, and where the client has to speak first nothing is looked up before it has.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from tcpmesh.cluster.upstream.counting import begins, connected, count_pauses
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.relay import Direction, Relay, idle_queue
from tcpmesh.connection.transport_sockets import facts_of, handshake_of
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import (
    ASKING,
    CONNECTED,
    DIALLING,
    OVER,
    PAUSED,
    UNHEALTHY,
    WAITING,
    Attempts,
    SessionContext,
)
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE
from tcpmesh.values.stream.phase import CLOSED, CONNECTING, FLUSHING
from tcpmesh.values.stream.relay_state import LOST, RelayState
from tcpmesh.values.stream.stream_info import LOCAL_RESET, REMOTE_RESET
from tcpmesh.values.stream.wanted import Wanted

NOTHING_SENT = CloseReason(EndedBy.DOWNSTREAM, CONNECTING, Cause.END_OF_STREAM)
LEFT = CloseReason(EndedBy.DOWNSTREAM, CONNECTING, Cause.RESET)

# Envoy's words in LOCAL_CLOSE_REASONs; those at the end of the process fit no better there.
IDLE_WORDS = "tcp_session_idle_timeout"
DRAIN_WORDS = "tcp_proxy_drain_close"
DURATION_WORDS = "max_connection_duration_reached"
STOPPED_WORDS = "purging_socket_that_have_not_progressed_to_connections"


ENDING = (FLUSHING, CLOSED)


class Session(Attempts):
    """One client."""

    __slots__ = ("_early_turn", "_expiry", "_flushes_upstream")

    def __init__(self, context: SessionContext, connection: Connection) -> None:
        self._context = context
        self.connection = connection
        self.stream_info = info = connection.stream_info
        settings = context.settings
        waits = settings.waits_for_data or (
            settings.waits_for_handshake and handshake_of(connection.transport) is not None
        )
        self._state = WAITING if waits else PAUSED
        self.cluster = self.metadata_match = self._host = self._pool = self._under_way = None
        self.attempted = ()
        info.phase = CONNECTING
        self.relay = relay = Relay(connection.transport, context.timers, self, stream_info=info)
        relay.read_source = connection.read_source
        self._expiry: IDelayedCall | TimeoutQueue[Session] | None = None
        """What ends it after its maximum duration."""
        self._early_turn: IDelayedCall | None = None
        """Due when the turn of the event loop is over in which the client has sent something."""
        self._flushes_upstream = False
        """Whether the client has left, and what it sent still goes to the upstream."""

    def gate(self) -> None:
        """Nobody is asked whether what the client sends may pass: see `SheddingSession`."""

    def start(self) -> None:
        """Connect, or let the client speak first."""
        settings = self._context.settings
        if settings.early_limit is not None:
            self.relay.read_early(settings.early_limit, self)
        queue = self._context.idle_queue
        if self.stream_info.filter_state is not NO_FILTER_STATE:
            idle = settings.idle_timeout_of(self.stream_info)
            queue = idle_queue(self._context.timers, idle) if idle is not None else None
        if queue is not None:
            self.relay.watch_idle(queue)
        if settings.max_duration is not None:
            self._limit_duration(settings.max_duration)
        if self._context.logs is not None:
            self._context.logs.started(self)
        if self._state is not WAITING:
            self._connect()
        elif settings.waits_for_handshake:
            handshake_of(self.connection.transport).when_ready(self._shaken)

    def _shaken(self) -> None:
        """The handshake with the client is over."""
        if self._state is WAITING:
            self._connect()

    def state(self) -> RelayState:
        """Where it is, and what it has moved: a value."""
        return self.relay.state()

    # Early data

    def on_early_data(self) -> None:
        """The client has sent something before its upstream is connected."""
        self._count_early()
        if self._state is WAITING:
            self._connect()

    def on_early_end(self) -> None:
        """The client has sent all it will.  Where it had to speak first and said nothing, there is
        nothing to connect for.
        """
        if self._early_turn is None:
            self._count_early()
        if self._state is WAITING:
            self._leave(NOTHING_SENT)

    def _count_early(self) -> None:
        """Count a read; an end that comes in the same turn of the event loop belongs to it."""
        self._context.stats.early_data_received.tally += 1
        if self._early_turn is None:
            self._early_turn = self._context.clock.callLater(0, self._end_early_turn)

    def _end_early_turn(self) -> None:
        self._early_turn = None

    def on_early_loss(self, reason: Failure) -> None:
        """The client is gone before its upstream was connected."""
        info = self.stream_info
        if info.close_reason is None:
            info.close_reason = LEFT
            if not isinstance(reason.value, ConnectionDone):
                info.close_type = REMOTE_RESET
        self.flush_counters()
        self._end()
        self.relay.discard()
        self.connection.connectionLost(reason)

    def _leave(self, reason: CloseReason, words: str = "") -> None:
        """Close a client that is connected to nothing."""
        connection = self.connection
        is_unread = self.stream_info.peeked and self.relay.early is None
        if self.relay.early is not None:
            self.flush_counters()
            connection.read_source.protocol = connection
        self._end()
        self.relay.discard()
        connection.close(reason, words, reset=is_unread)

    # What the relay tells

    def relay_started(self, relay: Relay) -> None:
        """Connected: bytes flow from now on."""
        context, upstream = self._context, self.stream_info.upstream
        transport, clock = relay.from_upstream.source, context.now
        now, began, state = clock(), upstream.connect_began, self._state
        if state is DIALLING:
            assert began is not None
            self._under_way = None
            connected(self._host, now - began)
        elif state is not ASKING:  # where it was counted already
            begins(self._host)
        self._state = CONNECTED
        upstream.addresses = transport
        upstream.connect_ended = now
        transport.high_watermark = self.cluster.buffer_limit
        if self.cluster.dialer.wraps:
            upstream.tls = facts_of(transport)
        if self.stream_info.listener.wants_upstream:
            self._keep_facts(self.stream_info.listener.wanted)
        if context.logs is not None:
            context.logs.connected(self)

    def _keep_facts(self, wanted: Wanted) -> None:
        """Find out what access logs may ask for at the end, while it can be had."""
        self.relay.tells_idle = Wanted.IDLE in wanted
        transport = self.relay.from_upstream.source
        if Wanted.UPSTREAM_ADDRESSES in wanted:
            transport.getHost()
            transport.getPeer()

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        """One of the two connections is closed."""
        if direction is relay.from_upstream:
            self._upstream_lost(relay)
            return
        if self._expiry is not None:
            self._stop_expiry(self._expiry)
        if self._context.logs is not None:
            self._context.logs.ended(self)
        if relay.reset is not None:
            # One that was reset by its upstream has its close type already.
            if relay.reset is direction:
                self.stream_info.close_type = REMOTE_RESET
        elif relay.from_upstream.state is not LOST and relay.from_downstream.buffered:
            # What this client has sent is still on its way: Envoy counts who waits for that.
            self._flushes_upstream = True
            self._context.stats.upstream_flush_total.tally += 1
            self._context.stats.upstream_flush_active.add(1)
        if relay.from_upstream.state is not LOST:
            info = self.stream_info
            if info.local_close_reason:
                # The upstream is closed for what the client was closed for.
                self._note_upstream_close(info.local_close_reason)
            self.flush_counters()
            self.connection.downstream_lost()

    def _upstream_lost(self, relay: Relay) -> None:
        if relay.reset is relay.from_upstream:
            info = self.stream_info
            info.flags |= ResponseFlag.UR
            info.upstream.close_type, info.close_type = REMOTE_RESET, LOCAL_RESET
        if self._flushes_upstream:
            self._context.stats.upstream_flush_active.add(-1)
        self._count_request_over(relay.last is relay.from_upstream)

    def relay_finished(self, relay: Relay) -> None:
        """Both are closed; where the client was the last, its listener has not heard of it yet."""
        self.flush_counters()
        self._end()
        self.connection.downstream_lost()

    def relay_idle(self, relay: Relay) -> None:
        """No byte moved for the idle timeout."""
        self._context.stats.idle_timeout.tally += 1
        if self.stream_info.phase is FLUSHING:
            self._close(Cause.FLUSH_TIMEOUT, IDLE_WORDS)
        else:
            timeout = self._context.settings.idle_timeout_of(self.stream_info)
            self._close(Cause.IDLE_TIMEOUT, IDLE_WORDS, f"{timeout:g} s")

    # Ends of our own making

    def host_failed(self) -> None:
        """The host is unhealthy, and its connections are to be closed
        (`close_connections_on_host_health_failure`).
        """
        if self._state is not DIALLING:
            self._close(Cause.HOST_UNHEALTHY)
            return
        connector = self._under_way
        self.cluster.stats.cx_connect_fail.tally += 1
        self._host.cx_connect_fail += 1
        self._failed(UNHEALTHY, remote=False)
        connector.stopConnecting()

    def _limit_duration(self, duration: float) -> None:
        context, jitter = self._context, self._context.settings.duration_jitter
        if jitter:
            duration *= 1 + context.random.uniform(0, jitter)
            self._expiry = context.clock.callLater(duration, self.expired)
        else:
            queue = self._expiry = context.timers.queue(duration, Session.expired)
            queue.add(self)

    def expired(self) -> None:
        """The connection has lived for its maximum duration."""
        self._expiry = None
        self._context.stats.max_duration.tally += 1
        self.stream_info.flags |= ResponseFlag.DT
        self._close(Cause.MAX_DURATION, DURATION_WORDS)

    def drain(self) -> None:
        """Its listener drains: close it when it carries bytes, and the drain says so."""
        self.relay.watch(self._look_at_drain)

    def _look_at_drain(self) -> None:
        if self.stream_info.phase in ENDING or not self._context.drain.is_due():
            return
        self._context.stats.cx_drain_close.tally += 1
        self._close(Cause.DRAINED, DRAIN_WORDS, flushes=True)

    def stop(self) -> None:
        """The proxy ends."""
        self._close(Cause.STOPPED, STOPPED_WORDS)

    def _close(
        self, cause: Cause, words: str = "", detail: str = "", flushes: bool = False
    ) -> None:
        info = self.stream_info
        reason = CloseReason(EndedBy.PROXY, info.phase, cause, detail=detail)
        if self._state is CONNECTED:
            info.close(reason)
            self._note_upstream_close(words)
            if self.relay.from_downstream.state is not LOST:
                info.local_close_reason = words
            self.relay.close(flushes)
        else:
            self._leave(reason, words)

    def _note_upstream_close(self, words: str) -> None:
        """The upstream is closed for this."""
        self.stream_info.upstream.local_close_reason = words

    def _end(self) -> None:
        """Nothing more is to happen to it."""
        if self._state is not CONNECTED:
            self._give_up()
        self._state = OVER
        if self._expiry is not None:
            self._stop_expiry(self._expiry)
        if self._early_turn is not None:
            self._early_turn.cancel()
            self._early_turn = None
        if self._context.logs is not None:
            self._context.logs.ended(self)
        release = self._context.release
        release(self)

    def _stop_expiry(self, expiry: IDelayedCall | TimeoutQueue[Session]) -> None:
        self._expiry = None
        if isinstance(expiry, TimeoutQueue):
            expiry.discard(self)
        else:
            expiry.cancel()

    # Counting

    def log_periodically(self) -> None:
        """The interval of access logs is over."""
        self.flush_counters()
        self._context.logs.lasts(self)

    def flush_counters(self) -> None:
        """Add to the counters what was relayed since the last call."""
        relay, info, tcp = self.relay, self.stream_info, self._context.stats
        received, sent, answered, returned = relay.moved()
        received += info.withheld
        before, info.bytes = info.bytes, (received, sent, answered, returned)
        tcp.cx_rx_bytes_total.tally += received - before[0]
        tcp.cx_tx_bytes_total.tally += returned - before[3]
        if self.cluster is None:
            return
        stats = self.cluster.stats
        self._count_relayed(sent - before[1], answered - before[2])
        down, up = relay.from_downstream, relay.from_upstream
        if down.pauses or down.resumes:
            count_pauses(down, tcp)
        if up.pauses or up.resumes:
            count_pauses(up, stats)

    def _count_relayed(self, sent: int, received: int) -> None:
        """So many bytes went to the upstream, and came from there."""
        stats = self.cluster.stats
        stats.cx_tx_bytes_total.tally += sent
        stats.cx_rx_bytes_total.tally += received
