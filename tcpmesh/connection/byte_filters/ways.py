"""The bytes of one direction on their way through the filters of a connection.

Each filter has a buffer of its own for either direction.  What comes is added to it, and the filter
is shown all of it, in place: it may change what is there, take it out, or add to it.  When it says
CONTINUE what is in the buffer then goes on to the next filter; with STOP it stays, and is shown
again with what comes later.  So nothing is shown to a filter that one before it holds back, and
nothing twice to one that has let it pass.

The end of the stream goes the same way, behind the bytes: a filter that stops holds it up as well.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpmesh.values.filter_status import FilterStatus

CONTINUE, DONE, STOP = FilterStatus.CONTINUE, FilterStatus.DONE, FilterStatus.STOP


class Step:
    """One filter, as far as one direction is concerned.

    :param show: shows it its buffer, and whether that is all.
    :param begin: tells it of the connection, before anything else; `None` where it was told.
    """

    __slots__ = ("_asking", "_begin", "_done", "_ended", "_show", "buffer", "end", "waits")

    def __init__(
        self,
        show: Callable[[bytearray, bool], FilterStatus],
        begin: Callable[[], FilterStatus] | None = None,
    ) -> None:
        self._show = show
        self._begin = begin
        self.buffer = bytearray()
        self.end = False
        """Whether nothing comes after the buffer."""
        self.waits = False
        """Whether the filter holds things up."""
        self._ended = False
        """Whether the end has gone on from here."""
        self._done = False
        self._asking = False

    def passes(self) -> bool:
        """Let the filter have what there is for it; whether things go on after it."""
        if self._asking:
            return False
        if self._begin is not None:
            begin, self._begin = self._begin, None
            if begin() is STOP:
                self.waits = True
                return False
        if not self._done and (self.buffer or self.end) and not self._ended:
            self._asking = True
            status = self._show(self.buffer, self.end)
            self._asking = False
            self.waits = status is STOP
            self._done = status is DONE
        return not self.waits

    def resume(self, done: bool) -> bool:
        """Let what is held up go on unseen; whether anything is.

        :param done: whether the filter wants to see no more.
        """
        if not self.waits or self._asking:
            return False
        self.waits = False
        self._done = self._done or done
        return True

    def take(self) -> tuple[bytearray, bool]:
        """What goes on from here, and whether it is the last."""
        data, self.buffer = self.buffer, bytearray()
        if self._ended:
            return bytearray(), False
        self._ended = self.end
        return data, self.end

    def note_end(self) -> None:
        """The filter itself has said what the last is.

        :raise RuntimeError: where it had before.
        """
        if self._ended:
            raise RuntimeError("nothing can be injected after the end of the stream")
        self._ended = True

    def check_open(self) -> None:
        """See to it that the end has not gone on from here.

        :raise RuntimeError: where it has.
        """
        if self._ended:
            raise RuntimeError("nothing can be injected after the end of the stream")


class Way:
    """All filters in the order in which this direction meets them.

    :param sink: gets what the last one lets pass, and whether it is all.
    """

    __slots__ = ("_sink", "steps")

    def __init__(self, steps: tuple[Step, ...], sink: Callable[[bytearray, bool], object]) -> None:
        self.steps = steps
        self._sink = sink

    @property
    def held(self) -> int:
        """Bytes that filters have not let pass."""
        return sum(len(step.buffer) for step in self.steps)

    def feed(self, at: int, data: bytearray, end: bool) -> None:
        """Show this to the filters from that one on; it is the way's from now on."""
        steps = self.steps
        for step in steps[at:] if at else steps:
            if step.buffer:
                step.buffer += data
            else:
                step.buffer = data
            step.end = step.end or end
            if not step.passes():
                return
            data, end = step.take()
        self._sink(data, end)

    def resume(self, at: int, done: bool) -> None:
        """What a filter holds up goes on after it."""
        step = self.steps[at]
        if step.resume(done):
            self.feed(at + 1, *step.take())

    def again(self, at: int) -> None:
        """Show a filter again what it holds up."""
        step = self.steps[at]
        if step.passes():
            self.feed(at + 1, *step.take())

    def inject(self, at: int, data: bytearray, end: bool) -> None:
        """Let this go on after a filter, ahead of what it holds.

        :raise RuntimeError: where the end of the stream has gone there before.
        """
        step = self.steps[at]
        if end:
            step.note_end()
        else:
            step.check_open()
        self.feed(at + 1, data, end)

    def clear(self) -> None:
        """Drop what filters hold."""
        for step in self.steps:
            step.buffer.clear()


def _nowhere(data: bytearray, end: bool) -> None:
    """Nobody is there any more."""


NO_WAY = Way((), _nowhere)
"""That of a connection that is over."""
