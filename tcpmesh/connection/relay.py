"""Two connections that pass each other's bytes on: the heart of an L4 proxy.

Theory of operation.  A `Relay` is two equal Directions.  Each is the *protocol* of its source (it
gets the bytes, the end of stream and the loss) and the *producer* of its sink (it is paused when
the sink cannot keep up):

      downstream transport --bytes--> Direction(down -> up) --write--> upstream transport
      downstream transport <--write-- Direction(up -> down) <--bytes-- upstream transport

so no transport ever is the producer of another: one that loses its peer would tell the other to
stop before the protocol has heard of it, and bytes would be lost.

What happens at the ends, each direction for itself:

- End of stream on a source half-closes the sink, after what is buffered.  The other direction goes
  on.  When both have ended, both transports are closed; whoever ended last is remembered, for
  Envoy's statistics say which side closed.
- A reset of one side is passed on as a reset, after the bytes that came before it.  Until those
  have left, the survivor's own bytes are read and dropped, so that it is not stuck.
- Closing from our side (idle, too old, draining) is a FIN after what the kernel has taken.  Bytes
  that it had no room for are lost, and the peer is not told so, as in Envoy: it is no use to wait
  for a peer that does not read.

A client may be read before its upstream is connected (`Relay.read_early`): what it sent goes first,
then its end of stream.

Flushing a side that is all that is left is bounded: no byte taken for `flush_timeout` seconds, and
it is closed.

A relay can tell whether it is idle without a clock on the byte path: see `Relay.watch_idle`.

Where it is in its life is `StreamInfo.phase`, from CONNECTING to CLOSED, of which
`tcpmesh.values.stream.phase` has the table.  What each side may still send is the `SourceState` of
its direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from tcpmesh.connection.early_data import EarlyData, EarlyDataObserver
from tcpmesh.connection.watched import NOBODY, Watchers
from tcpmesh.interfaces import IStraight
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.net.sockets import LARGEST_READ
from tcpmesh.net.timeout_queues import TimeoutQueue, TimeoutQueues
from tcpmesh.values.stream.close_reason import CLIENT_DONE, HOST_DONE, RESETS
from tcpmesh.values.stream.phase import CLOSED, CONNECTING, FLUSHING, HALF_CLOSED, RELAYING
from tcpmesh.values.stream.relay_state import ENDED, LOST, OPEN, DirectionState, RelayState
from tcpmesh.values.stream.stream_info import StreamInfo

IDLE_CHECKS = 8
"""Looks an idle timeout is divided into: a relay is found idle after at least its timeout, at most
an eighth more.
"""


class Observer(Protocol):
    """Who made the relay, and hears what becomes of it."""

    def relay_started(self, relay: Relay) -> None:
        """The upstream is connected; bytes flow from now on."""

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        """The source of this direction is closed.  Called once for each."""

    def relay_finished(self, relay: Relay) -> None:
        """Both are closed.  Called once; the counters can still be read, and are gone
        afterwards.
        """

    def relay_idle(self, relay: Relay) -> None:
        """Nothing was read or written for the time given to `watch_idle`, or flushed for
        `flush_timeout`: it is to be closed.
        """


@implementer(IStraight, IPushProducer)
class Direction(QuietHalfCloseableProtocol):
    """Bytes from a source to a sink; see the module's text."""

    __slots__ = (
        "bytes",
        "full",
        "opposite",
        "pauses",
        "relay",
        "resumes",
        "sink",
        "source",
        "state",
    )

    opposite: Direction
    """The other one of the relay."""

    straight = True
    """Nobody wants to see these bytes: a source that counts them in `bytes` may pass them to the
    sink without `bufferReceived`.
    """

    def __init__(self, relay: Relay, source: Any, sink: Any) -> None:
        self.relay = relay
        self.source = source
        self.sink = sink
        self.bytes = 0
        """Bytes read from the source so far."""
        self.pauses = 0
        """How often the source was paused because the sink was full, and `resumes` how often it was
        resumed.
        """
        self.resumes = 0
        self.full = False
        """Whether the source is paused now, because the sink is full."""
        self.state = OPEN
        """What the source may still send."""

    def snapshot(self) -> DirectionState:
        """What it is doing at this moment."""
        return DirectionState(self.state, self.full, self.bytes, self.written, self.buffered)

    @property
    def buffered(self) -> int:
        """Bytes of this direction that were read and wait for the sink."""
        return self.sink.buffered if self.sink is not None else 0

    @property
    def written(self) -> int:
        """Bytes of this direction that the kernel has taken for the sink."""
        sink = self.sink
        return self.bytes - sink.dropped - sink.buffered if sink is not None else 0

    @property
    def taken(self) -> int:
        """Bytes of this direction that were read and not lost."""
        return self.bytes - self.sink.dropped if self.sink is not None else self.bytes

    # As the source's protocol

    def makeConnection(self, transport: Any) -> None:
        """The upstream is connected: this is the direction of its bytes."""
        self.source = transport
        self.relay.start()

    def bufferReceived(self, data: memoryview) -> None:
        """Pass bytes on."""
        self.bytes += len(data)
        self.sink.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        self.bytes += len(data)
        self.sink.write(data)

    def readConnectionLost(self) -> None:
        """The source has sent all: so has, once flushed, this side of the sink.  Where both sides
        have, both are closed.
        """
        self.state = ENDED
        relay, opposite = self.relay, self.opposite
        info = relay.stream_info
        if opposite.state is ENDED:
            relay.last = self
            info.phase = FLUSHING
            self.source.loseConnection()
            opposite.source.loseConnection()
            relay.bound_flush()
            return
        if info.phase is RELAYING:
            info.phase = HALF_CLOSED
            if relay.tells_idle:
                info.idle_for = opposite.source.quiet_for()
            if info.close_reason is None:
                info.close_reason = CLIENT_DONE if self is relay.from_downstream else HOST_DONE
        self.sink.loseWriteConnection()

    def connectionLost(self, reason: Failure) -> None:
        """The source is gone: the sink is closed too, in the same way."""
        self.state = LOST
        relay = self.relay
        phase = relay.stream_info.phase
        if phase is not FLUSHING and phase is not CLOSED:
            relay.lose(self, reason)
        elif (
            relay.reset is None
            and isinstance(reason.value, ConnectionLost)
            and not isinstance(reason.value, ConnectionAborted)
        ):
            relay.last = self  # it was to be flushed, and has reset that
        relay.observer.relay_lost(relay, self)
        if self.opposite.state is LOST:
            relay.finish()

    # As the sink's producer

    def pauseProducing(self) -> None:
        """The sink is full."""
        self.pauses += 1
        self.full = True
        self.source.pauseProducing()

    def resumeProducing(self) -> None:
        """The sink has room again."""
        self.resumes += 1
        self.full = False
        self.source.resumeProducing()

    def stopProducing(self) -> None:
        """The sink is gone, and its own connectionLost tells what to do.  It is full no more, which
        Envoy counts.
        """
        if self.full and self.state is not LOST:
            self.resumes += 1
            self.full = False


class Relay:
    """A pair of connections: the downstream one from the start, the upstream one once
    `from_upstream` is made its protocol.

    :param downstream: its transport, paused.
    :param stream_info: what is known of the connection, which is CONNECTING; this moves its phase.
    :param flush_timeout: seconds without progress after which a side that only flushes is closed.
    """

    __slots__ = (
        "_queue",
        "_seen",
        "_timers",
        "_watchers",
        "early",
        "flush_timeout",
        "from_downstream",
        "from_upstream",
        "last",
        "observer",
        "quiet",
        "read_source",
        "reset",
        "stream_info",
        "tells_idle",
    )

    def __init__(
        self,
        downstream: Any,
        timers: TimeoutQueues,
        observer: Observer,
        flush_timeout: float = 3600.0,
        stream_info: StreamInfo | None = None,
    ) -> None:
        self.stream_info = stream_info or StreamInfo(phase=CONNECTING)
        self.flush_timeout = flush_timeout
        self.from_downstream = down = Direction(self, downstream, None)
        self.from_upstream = up = Direction(self, None, downstream)
        down.opposite, up.opposite = up, down
        self.last: Direction | None = None
        """The direction whose source closed last; `None` where this side closed both."""
        self.reset: Direction | None = None
        """The direction whose source was lost without an orderly end, if one was."""
        self.early: EarlyData | None = None
        """What the client sent before there was an upstream, where `read_early` lets it speak;
        until the relay starts.
        """
        self.read_source = downstream
        """Whose `protocol` gets the client's bytes: the transport, or what stands before it
        (`Connection.read_source`).
        """
        self.tells_idle = False
        """Whether somebody wants to know for how long nothing had moved when a side has sent
        all; where one is reset that is asked in any case.
        """
        self.observer = observer
        """Who hears what becomes of it."""
        self._timers = timers
        self._queue: TimeoutQueue[Relay] | None = None
        self.quiet = 0
        """How often in a row it was looked at and found idle."""
        self._seen = (0, 0, 0, 0)
        self._watchers: Watchers | None = None

    def read_early(self, limit: int, observer: EarlyDataObserver) -> None:
        """Read the client from now on, before there is an upstream, until so many bytes are there,
        and hear of it.
        """
        self.early = EarlyData(self.from_downstream, limit, observer)

    def start(self) -> None:
        """Both are connected: bind them to each other and let the bytes flow."""
        down, up = self.from_downstream, self.from_upstream
        downstream, upstream = down.source, up.source
        down.sink = upstream
        self.observer.relay_started(self)
        if self.stream_info.phase is not CONNECTING or downstream.protocol is None:
            # A filter has closed the client meanwhile, and its end was told to others.
            down.state = LOST
            upstream.abortConnection()
            return
        self.stream_info.phase = RELAYING
        early = self.early
        if early is not None:
            early.stop()
        self.bind(downstream, upstream)
        if self._watchers is not None:
            self.hear_again()
        if early is None:
            self.read_source.resumeProducing()
        else:
            self._pass_on(early, downstream, upstream)

    def bind(self, downstream: Any, upstream: Any) -> None:
        """Let each be paused for the other, and the client's bytes go to its direction."""
        self.read_source.protocol = self.from_downstream
        upstream.registerProducer(self.from_downstream, True)
        downstream.registerProducer(self.from_upstream, True)
        if 0 < upstream.high_watermark < LARGEST_READ:
            _fit(upstream, downstream)
        if 0 < downstream.high_watermark < LARGEST_READ:
            _fit(downstream, upstream)

    def _pass_on(self, early: EarlyData, downstream: Any, upstream: Any) -> None:
        """What was early goes first; then the client is read, unless that was more than the
        upstream can take.
        """
        self.early = None
        down = self.from_downstream
        downstream.pauseProducing()
        if early.data:
            upstream.write(early.data)
        if early.eof:
            down.readConnectionLost()
        if not down.full:
            self.read_source.resumeProducing()

    def moved(self) -> tuple[int, int, int, int]:
        """Bytes so far: read from the client, taken by the kernel for the upstream, read from that,
        taken for the client.
        """
        down, up = self.from_downstream, self.from_upstream
        upstream, client = down.sink, up.sink
        if self.stream_info.phase is CLOSED and upstream is not None:
            # What is closed holds nothing back, and to ask it costs more than all else here.
            return (down.bytes, down.bytes - upstream.dropped, up.bytes, up.bytes - client.dropped)
        return (
            down.bytes,
            0 if upstream is None else down.bytes - upstream.dropped - upstream.buffered,
            up.bytes,
            0 if client is None else up.bytes - client.dropped - client.buffered,
        )

    @property
    def activity(self) -> tuple[int, int, int, int]:
        """Four numbers of which at least one changes whenever a byte is read or written on either
        side, and not lost at once.
        """
        down, up = self.from_downstream, self.from_upstream
        return (down.taken, up.taken, down.buffered, up.buffered)

    def watch_idle(self, queue: TimeoutQueue[Relay]) -> None:
        """Tell the observer once nothing was read or written for so long, at no cost on the byte
        path; a side that only flushes has as much time.

        :param queue: what `idle_queue` gives for that time, shared by all relays of one timeout:
            `IDLE_CHECKS` looks at the counters in a row without a change mean idle.
        """
        self.flush_timeout = queue.seconds * IDLE_CHECKS
        self._queue = queue
        queue.add(self)

    def go_on_watching(self, quiet: int) -> None:
        """It was watched elsewhere, and so often in a row found idle."""
        self.quiet, self._seen = quiet, self.activity

    def watch(self, look: Callable[[], object]) -> None:
        """Call this after each time when bytes, or their end, were passed on; it may close the
        relay.  Before it has started, from its start on.
        """
        self._put_between((self._watchers or NOBODY)._replace(look=look))

    def gate(self, sheds: Callable[[], bool] | None) -> None:
        """Call this each time before bytes of the client, or their end, are passed on; where it
        returns true it has closed the relay.  Before the relay has started, from its start on.

        :param sheds: `None` to let everything pass again.
        """
        before = self._watchers or NOBODY
        if before.sheds is not sheds:
            self._put_between(before._replace(sheds=sheds))

    def hear_again(self) -> None:
        """It is bound: who was to hear of bytes before does from now on."""
        if self._watchers is not None:
            self._put_between(self._watchers)

    def _put_between(self, watchers: Watchers) -> None:
        """Let these hear of bytes, and nobody else."""
        self._watchers = watchers
        if self.stream_info.phase in (RELAYING, HALF_CLOSED):
            upstream = self.from_upstream.source
            self.read_source.protocol = watchers.of_client(self.from_downstream)
            upstream.protocol = watchers.of_upstream(self.from_upstream)

    # What its directions tell

    def lose(self, direction: Direction, reason: Failure) -> None:
        """A source is the first to be closed: close its sink too, in the same way."""
        info, survivor = self.stream_info, direction.sink
        is_client = direction is self.from_downstream
        self.last = direction
        if isinstance(reason.value, ConnectionDone):
            info.close(CLIENT_DONE if is_client else HOST_DONE)
            survivor.loseConnection()
        else:
            self.reset = direction
            info.idle_for = survivor.quiet_for()
            info.close(RESETS[is_client, info.phase])
            survivor.resetConnection()
        info.phase = FLUSHING
        self.bound_flush()

    def close(self, flushes: bool = False) -> None:
        """End both connections from this side, now: FIN, or a reset where one waits for the bytes
        before it to leave.

        What the kernel has not taken is lost.

        :param flushes: whether what was read is sent on first, instead.
        """
        self.stream_info.phase = FLUSHING
        # The client is closed first, so it is the upstream that is paused no more.
        self.from_upstream.stopProducing()
        for direction in (self.from_downstream, self.from_upstream):
            if direction.state is LOST:
                continue
            if self.reset is not None:
                direction.source.abortConnection()
            elif flushes:
                direction.source.loseConnection()
            else:
                direction.source.cutConnection()
        if flushes:
            self.bound_flush()

    def state(self) -> RelayState:
        """What it is doing at this moment: a value."""
        down, up = self.from_downstream, self.from_upstream
        return RelayState(self.stream_info.phase, down.snapshot(), up.snapshot())

    def discard(self) -> None:
        """The relay never started and never will."""
        if self._queue is not None:
            self._queue.discard(self)
            self._queue = None
        if self.early is not None:
            self.early.stop()
            self.early = None
        self._break_cycles()

    def _check_idle(self) -> None:
        now = self.activity
        if now != self._seen:
            self._seen, self.quiet = now, 0
        else:
            self.quiet += 1
            if self.quiet == IDLE_CHECKS:
                self._queue = None
                self.observer.relay_idle(self)
                return
        if self._queue is not None:
            self._queue.add(self)

    def bound_flush(self) -> None:
        """From here on only what is buffered leaves: without progress it ends."""
        if self._queue is not None:
            self._queue.discard(self)
            self._queue = None
        if self.from_upstream.sink.buffered or self.from_downstream.sink.buffered:
            self._seen = self.activity
            self._queue = self._timers.queue(self.flush_timeout, Relay._check_flush)
            self._queue.add(self)

    def _check_flush(self) -> None:
        if self.activity == self._seen:
            self._queue = None
            self.observer.relay_idle(self)
        else:
            self.bound_flush()

    def finish(self) -> None:
        """Both sources are closed."""
        if self._queue is not None:
            self._queue.discard(self)
            self._queue = None
        self.stream_info.phase = CLOSED
        self.observer.relay_finished(self)
        self._break_cycles()

    def _break_cycles(self) -> None:
        """Cut what refers to itself: a finished relay leaves no work to the garbage collector."""
        down, up = self.from_downstream, self.from_upstream
        down.relay = up.relay = down.opposite = up.opposite = self.observer = None  # type: ignore[assignment]
        down.source = down.sink = up.source = up.sink = self.read_source = None


def idle_queue(timers: TimeoutQueues, seconds: float) -> TimeoutQueue[Relay]:
    """Where relays wait that are to be found idle after so many seconds."""
    return timers.queue(seconds / IDLE_CHECKS, Relay._check_idle)


def _fit(sink: Any, source: Any) -> None:
    """Let no single read be larger than what the sink may buffer."""
    if sink.high_watermark < source.read_size:
        source.read_size = sink.high_watermark
