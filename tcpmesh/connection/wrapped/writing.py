"""The writing half of a wrapped transport: plain bytes that wait, producers, and every way to end.

Reading is the business of `tcpmesh.connection.wrapped.transport`, which builds on this and tells
how the two work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IPushProducer

from tcpmesh.connection.wrapped.below import OnTransport
from tcpmesh.connection.wrapped.ledger import Ledger
from tcpmesh.connection.wrapped.states import CONNECTED, NEXT, After, Phase

READY, NOTHING = Phase.READY, After.NOTHING  # to find a member of an enum takes several look-ups

PIECE = 1 << 16
"""Bytes turned into others at once, of those that had to wait."""


@implementer(IPushProducer)
class _Room:
    """What the transport below pauses and resumes: the wrapper's own methods of these names are for
    those above.
    """

    __slots__ = ("_wrapper",)

    def __init__(self, wrapper: WrappedWriteSide) -> None:
        self._wrapper = wrapper

    def pauseProducing(self) -> None:
        """Below wants no more."""
        self._wrapper.room_ended()

    def resumeProducing(self) -> None:
        """Below has room."""
        self._wrapper.room_there()

    def stopProducing(self) -> None:
        """Below is lost, as the wrapper is told too."""


class WrappedWriteSide(OnTransport):
    """A transport on another that can be written to and closed."""

    __slots__ = (
        "_after",
        "_dropped",
        "_full",
        "_ledger",
        "_mark",
        "_pending",
        "_phase",
        "_producer",
        "_producer_paused",
        "_streaming",
        "_write_credit",
    )

    def __init__(self) -> None:
        super().__init__()
        self._phase = Phase.HANDSHAKE
        self._after = NOTHING
        self._pending = bytearray()
        """Plain bytes that were written and have not gone below."""
        self._ledger: Ledger | None = None
        """Made once something waits below."""
        self._dropped = 0
        self._mark = 0
        self._full = False
        """Whether below wants no more."""
        self._write_credit: float = inf
        self._producer: Any = None
        self._streaming = self._producer_paused = False

    fin_below = True
    """Whether the end of the stream is FIN below too; where not, the goodbye alone is it."""

    # What a wrapper may be asked to do

    def send_plain(self, data: Any) -> None:
        """Send what the protocol above has written, in whatever form."""
        self.send(data, len(data))

    def goodbye(self) -> None:
        """Send what is to go after the last plain byte, before FIN."""

    # What a wrapper may do

    def send(self, data: Any, plain: int = 0) -> None:
        """Give bytes to what is below, which stand for so many plain ones."""
        below = self.below
        below.write(data)
        dropped = below.dropped
        left = below.buffered + dropped
        if left or self._ledger is not None:
            self._note(len(data), plain, left, dropped > 0)

    def _note(self, size: int, plain: int, left: int, lost: bool) -> None:
        """Bytes have gone below, as the ledger's `add` has it."""
        if self._ledger is None:
            self._ledger = Ledger()
        self._ledger.add(size, plain, left, lost)

    def _unsent(self, left: int) -> int:
        """Plain bytes that are in so many of those below."""
        return self._ledger.unsent(left) if left and self._ledger is not None else 0

    def limit_writes(self, credit: float) -> None:
        """Pass so many written bytes on, and then no more before this is called again."""
        self._write_credit = credit
        self._pass_on()
        self._consider_resume()

    # Writing

    @property
    def buffered(self) -> int:
        """Plain bytes that the kernel has not taken yet."""
        return len(self._pending) + self._unsent(self.below.buffered)

    @property
    def dropped(self) -> int:
        """Plain bytes that were never sent."""
        return self._dropped + self._unsent(self.below.dropped)

    @property
    def high_watermark(self) -> int:
        """Above this many buffered bytes the producer is paused, at half of it resumed; 0 for no
        limit.
        """
        return self._mark

    @high_watermark.setter
    def high_watermark(self, mark: int) -> None:
        self._mark = mark
        self.below.high_watermark = max(1, mark // 2) if mark else 0

    def write(self, data: Any) -> None:
        """Send plain bytes after all that was written before."""
        size, credit = len(data), self._write_credit
        if self._after is not NOTHING or self._phase not in CONNECTED or self.below.dropped:
            self._dropped += size  # nothing may follow, or it is broken
            return
        if self._phase is READY and not self._pending and not self._full and size <= credit:
            self._write_credit = credit - size
            self.send_plain(data)
        else:
            self._pending += data
            self._pass_on()
        if (self._full or self._pending) and self._streaming and not self._producer_paused:
            self._consider_pause()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(iovec))

    def _pass_on(self) -> None:
        """Send what is pending, as far as it may go now, and then what comes after it."""
        pending = self._pending
        ends = self._after is not NOTHING
        while (
            pending and self._phase is READY and self._write_credit > 0 and (ends or not self._full)
        ):
            size = int(min(len(pending), PIECE, self._write_credit))
            piece = bytes(pending[:size])
            del pending[:size]
            self._write_credit -= size
            self.send_plain(piece)
        if ends and not pending and self._phase in CONNECTED:  # and it has not ended in between
            self._end_below()

    # Flow control

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """From now on pause this producer above the high watermark; a pull producer (not streaming)
        is asked when all is sent.
        """
        if self._producer is not None:
            raise RuntimeError(
                f"cannot register {producer!r}: {self._producer!r} is registered already"
            )
        if self._phase is Phase.LOST:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming and self._phase is Phase.READY:
            self._pull()

    def unregisterProducer(self) -> None:
        """Tell no producer any more."""
        pulled = self._producer is not None and not self._streaming
        self._producer = None
        self._streaming = self._producer_paused = False
        if pulled and self._phase is Phase.READY:
            self._ask_for_room(streaming=True)

    def _pull(self) -> None:
        """Ask the pull producer whenever all is sent, which only below knows."""
        self._full = False
        self._pass_on()
        self._ask_for_room(streaming=False)

    def _ask_for_room(self, streaming: bool) -> None:
        self.below.unregisterProducer()
        self.below.registerProducer(_Room(self), streaming)

    def room_ended(self) -> None:
        """Below wants no more."""
        self._full = True

    def room_there(self) -> None:
        """Below has room, or nothing left to send where there is a pull producer."""
        self._full = False
        if self._after is After.LEAVING and not self.below.buffered:
            self._after = After.FINISHED
            self.below.unregisterProducer()
            self.writeConnectionLost()
        self._pass_on()
        self._consider_resume()
        pulls = self._producer is not None and not self._streaming
        if pulls and not self._pending and self._phase is Phase.READY:
            self._producer.resumeProducing()

    def _consider_pause(self) -> None:
        """Pause the producer if there is too much, unless nothing would tell when that is over."""
        if 0 < self._mark < self.buffered:
            self._producer_paused = True
            self._producer.pauseProducing()

    def _consider_resume(self) -> None:
        """Let a paused producer go on if there is room."""
        if self._producer_paused and (
            2 * self.buffered <= self._mark or not (self._full or self._has_unsent())
        ):
            self._producer_paused = False
            self._producer.resumeProducing()

    def _has_unsent(self) -> bool:
        """Whether anything was written that waits here, and not below."""
        return bool(self._pending)

    # Ends

    def loseWriteConnection(self) -> None:
        """Send goodbye and FIN after what was written."""
        if self._after is After.NOTHING and self._phase in CONNECTED:
            self._after = After.FIN
            self._pass_on()

    def loseConnection(self) -> None:
        """Close both ways once what was written is flushed; what comes meanwhile is dropped."""
        self._end_after_flush(After.CLOSE)

    def resetConnection(self) -> None:
        """Close with a reset once what was written is sent."""
        self._end_after_flush(After.RESET)

    def abortConnection(self) -> None:
        """Close at once with a reset; what was not sent is lost."""
        self._end_now(self.below.abortConnection)

    def cutConnection(self) -> None:
        """Close at once with FIN, after goodbye where there is room for that; what the kernel has
        not taken is lost.
        """
        if self._phase is Phase.READY and self._after <= After.FIN and not self.buffered:
            self.goodbye()
        self._end_now(self.below.cutConnection)

    def _end_after_flush(self, how: After) -> None:
        if self._after >= After.CLOSE or self._phase not in (*CONNECTED, Phase.CUT_OFF):
            return
        finished = self._after > After.FIN
        self._after = how
        self.unregisterProducer()
        self._read_for_nobody()
        if self._phase is Phase.CUT_OFF:
            return
        if finished:
            self._close_below()
        else:
            self._pass_on()

    def _end_now(self, how: Callable[[], object]) -> None:
        if self._phase is Phase.LOST:
            return
        self._drop_pending()
        self._after = max(self._after, After.CLOSE)
        self._read_for_nobody()
        if self._phase in CONNECTED:
            self._enter(Phase.ENDING)
        how()

    def _end_below(self) -> None:
        """All is passed on, and this is what comes after it."""
        if self._phase is Phase.READY and self._after in (After.FIN, After.CLOSE):
            self.goodbye()
        if self._after >= After.CLOSE:
            self._close_below()
        elif self._phase is Phase.READY and self._after is After.FIN:
            if self.fin_below:
                self._after = After.FINISHED
                self.below.loseWriteConnection()
            else:
                self._after = After.LEAVING
                self._ask_for_room(streaming=False)

    def _close_below(self) -> None:
        self._enter(Phase.ENDING)
        if self._after is After.RESET:
            self.below.resetConnection()
        else:
            self.below.loseConnection()

    def _drop_pending(self) -> None:
        self._dropped += len(self._pending)
        self._pending.clear()

    def _enter(self, phase: Phase) -> None:
        if phase not in NEXT[self._phase]:
            raise RuntimeError(f"a wrapped transport cannot go from {self._phase} to {phase}")
        self._phase = phase

    def writeConnectionLost(self) -> None:
        """The end of this side's stream has left: see `tcpmesh.connection.wrapped.transport`."""
        raise NotImplementedError

    def _read_for_nobody(self) -> None:
        """What comes from now on is for nobody: see `tcpmesh.connection.wrapped.transport`."""
        raise NotImplementedError
