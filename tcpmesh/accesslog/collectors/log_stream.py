"""The stream of messages to a log service: opened with the first message, and anew with the next
one after it has ended.

A service answers nothing, so what has left this process counts as told.  What had not left when a
stream ends is lost, and counted; where the configuration has a policy for that, it is sent again on
a new stream.  After a stream that took nothing at all there is a pause before the next: a service
that is down is not asked more often than records are sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.config.fields.values import seconds
from tcpmesh.logs.reachability import Reachability

OVERHEAD = 5
"""Bytes of a message on the wire beyond its own (gRPC over HTTP2)."""

MOST_WAITING = 1 << 20
"""Bytes that a stream keeps for a service that does not take them."""

LINGER = 10.0
"""Seconds that a service has at the end to take what waits for it."""

RETRY_BASE = 0.025
RETRY_FACTOR = 10
"""Of the longest pause between two attempts to the shortest, where nothing is said."""


class Stream(Protocol):
    """A `tcpmesh.rpc.call.GrpcStream`, as far as it is used here."""

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""

    @property
    def buffered(self) -> int:
        """Bytes that were sent and have not left."""

    def send(self, message: Any) -> bool:
        """Send a message; whether it is taken."""

    def half_close(self) -> None:
        """There are no more messages."""

    def cancel(self) -> None:
        """Break it off."""


class Sent(NamedTuple):
    """A message that may not have left yet."""

    message: Any
    records: int
    end: int
    """Bytes of the stream up to its end."""


class RetryPolicy(NamedTuple):
    """What a `core.v3.RetryPolicy` says of a stream that could not be made."""

    retries: int = 0
    base: float = RETRY_BASE
    most: float = RETRY_BASE * RETRY_FACTOR

    @classmethod
    def of(cls, message: Any) -> RetryPolicy:
        """What the message says; one that is there and says nothing allows one retry."""
        back_off = message.retry_back_off
        base = seconds(back_off.base_interval) or RETRY_BASE
        most = seconds(back_off.max_interval) or base * RETRY_FACTOR
        retries = message.num_retries.value if message.HasField("num_retries") else 1
        return cls(retries, base, most)

    def pause(self, attempt: int, random: Random) -> float:
        """Seconds before this attempt, the first retry being 1: at random, and longer each time."""
        return random.random() * min(self.base * float(2 ** min(attempt, 30)), self.most)


NO_RETRY = RetryPolicy()


class LogStream:
    """One at a time; its own observer.

    :param open_stream: begins a stream, for this observer.
    :param identify: puts into the first message of a stream who sends it.
    :param lost: told how many records did not leave.
    :param reachability: told whether the service takes messages.
    :param pause: seconds before another stream is tried, after one that took nothing.
    :param drained: told that all has left, after some of it had to wait.
    """

    def __init__(
        self,
        open_stream: Callable[[LogStream], Stream],
        identify: Callable[[Any], object],
        lost: Callable[[int], object],
        clock: IReactorTime,
        reachability: Reachability,
        pause: float,
        retry: RetryPolicy = NO_RETRY,
        random: Random | None = None,
        drained: Callable[[], object] = lambda: None,
    ) -> None:
        self._open = open_stream
        self._identify = identify
        self._lost = lost
        self._clock = clock
        self._reachability = reachability
        self._pause = pause
        self._retry = retry
        self._drained = drained
        self._random = random or Random()
        self._stream: Stream | None = None
        self._waiting: deque[Sent] = deque()
        self._sent = 0
        self._has_taken = False
        """Whether the stream has taken anything."""
        self._not_before = 0.0
        self._attempts = 0
        """Retries since a stream has taken something."""
        self._retrying: IDelayedCall | None = None
        self._leaving: IDelayedCall | None = None
        self._done: Callable[[], object] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether `send` would send."""
        stream = self._stream
        if stream is None:
            return self._retrying is None and self._clock.seconds() >= self._not_before
        return stream.buffered <= MOST_WAITING

    def send(self, message: Any, records: int) -> bool:
        """Send a message with so many records.

        :return: whether it was taken; `False` leaves it with the caller, for a later time.
        """
        if not self.is_ready:
            return False
        stream = self._stream or self._begin()
        if not self._sent:
            self._identify(message)
        sent = Sent(message, records, self._sent + message.ByteSize() + OVERHEAD)
        self._waiting.append(sent)
        if not stream.send(message):
            self._waiting.pop()
            return False
        if stream is self._stream:
            self._sent = sent.end
            self._settle(stream)
        return True

    def close(self, done: Callable[[], object] = lambda: None) -> None:
        """There are no more messages; the service has a while to take those there are.

        :param done: called when it has, or the while is over.
        """
        self._retry = NO_RETRY
        self._done = done
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None
        stream = self._stream
        if stream is None:
            self._drop()
            self._end()
            return
        stream.half_close()
        self._leaving = self._clock.callLater(LINGER, self._leave)

    def _leave(self) -> None:
        """The service has had its time."""
        self._leaving = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
        self._drop()
        self._end()

    def _end(self) -> None:
        """Where it is closed, nothing comes of it any more: who opens streams is let go of."""
        done, self._done = self._done, None
        if done is not None:
            del self._open, self._identify, self._lost, self._drained
            done()

    def _begin(self) -> Stream:
        self._sent = 0
        self._has_taken = False
        stream = self._stream = self._open(self)
        return stream

    def _settle(self, stream: Stream) -> None:
        """Forget what has left."""
        left = self._sent - stream.buffered
        while self._waiting and self._waiting[0].end <= left:
            self._waiting.popleft()
            self._has_taken = True
            self._attempts = 0
            self._reachability.succeeded()

    def _drop(self) -> None:
        records = sum(each.records for each in self._waiting)
        self._waiting.clear()
        if records:
            self._lost(records)

    # What the stream tells

    def on_message(self, message: Any) -> None:
        """What a service answers is of no importance."""

    def on_drained(self) -> None:
        """All has left."""
        if self._stream is not None:
            self._settle(self._stream)
            self._drained()

    def on_end(self, error: Any) -> None:
        """The stream is over."""
        self._stream = None
        if error is not None or not self._has_taken:
            self._reachability.failed(error or "it ends the stream before it takes anything")
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._waiting and self._attempts < self._retry.retries:
            self._attempts += 1
            pause = self._retry.pause(self._attempts, self._random)
            self._retrying = self._clock.callLater(pause, self._again)
            return
        self._attempts = 0
        self._drop()
        if not self._has_taken:
            self._not_before = self._clock.seconds() + self._pause
        self._end()

    def _again(self) -> None:
        """Send on a new stream what did not leave with the one before."""
        self._retrying = None
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not self.send(each.message, each.records):
                self._lost(each.records)
