"""What a filter that changes bytes may do with its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.connection.connection import Connection
from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag


class Runs(Protocol):
    """Who runs the filters of a connection: its `FilteredTransport`."""

    clock: IReactorTime

    @property
    def is_over(self) -> bool:
        """Whether no filter is asked any more."""

    def resume(self, at: int, done: bool) -> None:
        """See `FilterCallbacks`."""

    def retry(self, at: int, writing: bool) -> None:
        """See `FilterCallbacks`."""

    def inject(self, at: int, writing: bool, data: bytearray, end: bool) -> None:
        """See `FilterCallbacks`."""

    def close_for_filter(self, reason: str, flag: ResponseFlag, details: str, reset: bool) -> None:
        """See `FilterCallbacks`."""

    def on_failure(self, at: int) -> None:
        """A filter has raised what is being handled."""


class FilterCallbacks:
    """What one filter of one connection is given; after the end of the connection nothing of it has
    an effect.
    """

    __slots__ = ("_at", "_calls", "_runs", "connection")

    def __init__(self, connection: Connection, runs: Runs, at: int) -> None:
        self.connection = connection
        """The `IConnection`: its `stream_info` is what is known of it, and what is written to its
        `transport` passes all filters of the chain on its way to the client.
        """
        self._runs = runs
        self._at = at
        self._calls: set[_Call] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the connection is closed, or is being closed by a filter."""
        return self._runs.is_over

    def resume(self, done: bool = False) -> None:
        """Go on after this filter, which had said STOP to a new connection or to data of the
        client: what it holds up goes to the next one as it is.  Not from within its own event.

        :param done: whether it has seen enough of what the client sends.
        """
        if not self._runs.is_over:
            self._runs.resume(self._at, done)

    def retry_data(self) -> None:
        """Call `on_data` again with what it holds up, if anything."""
        if not self._runs.is_over:
            self._runs.retry(self._at, False)

    def retry_write(self) -> None:
        """Call `on_write` again with what it holds up, if anything."""
        if not self._runs.is_over:
            self._runs.retry(self._at, True)

    def inject_data(self, data: bytes | bytearray | memoryview, end: bool = False) -> None:
        """Let the filters after this one see this, as if the client had sent it.

        :param end: whether the client sends no more.
        :raise RuntimeError: where the end has gone there before.
        """
        if not self._runs.is_over:
            self._runs.inject(self._at, False, bytearray(data), end)

    def inject_write(self, data: bytes | bytearray | memoryview, end: bool = False) -> None:
        """Send the client this, through the filters between it and this one.

        :param end: whether there will be no more.
        :raise RuntimeError: where the end has gone there before.
        """
        if not self._runs.is_over:
            self._runs.inject(self._at, True, bytearray(data), end)

    def close(
        self,
        reason: str,
        flag: ResponseFlag = NO_FLAGS,
        details: str = "",
        reset: bool = False,
    ) -> None:
        """Close the client at once, and whatever it was connected to: with a reset where it has not
        taken all that was for it.

        :param reason: in Envoy's words, as DOWNSTREAM_LOCAL_CLOSE_REASON has it.
        :param flag: the response flags that this gives the connection.
        :param details: what CONNECTION_TERMINATION_DETAILS has to say.
        :param reset: whether the client gets a reset in any case.
        """
        if not self._runs.is_over:
            self._runs.close_for_filter(reason, flag, details, reset)

    def call_later(self, delay: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call this after so many seconds, unless the connection is over by then.  Where it raises
        that is the end of this connection, as in an event.
        """
        if self._runs.is_over:
            return
        if self._calls is None:
            self._calls = set()
        later = _Call(self, call, arguments)
        self._calls.add(later)
        later.delayed = self._runs.clock.callLater(delay, later)

    def run_call(self, due: _Call) -> None:
        """What was to be called later is due."""
        if self._calls is not None:
            self._calls.discard(due)
        try:
            due.call(*due.arguments)
        except BaseException:
            self._runs.on_failure(self._at)

    def cancel(self) -> None:
        """The connection is over: call nothing any more."""
        calls, self._calls = self._calls, None
        for each in calls or ():
            delayed, each.delayed = each.delayed, None
            if delayed is not None:
                delayed.cancel()


class _Call:
    """What is to be called later; once it was, nothing of it refers to itself."""

    __slots__ = ("arguments", "call", "callbacks", "delayed")

    def __init__(
        self, callbacks: FilterCallbacks, call: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        self.callbacks = callbacks
        self.call = call
        self.arguments = arguments
        self.delayed: IDelayedCall | None = None

    def __call__(self) -> None:
        """It is due."""
        self.delayed = None
        self.callbacks.run_call(self)
