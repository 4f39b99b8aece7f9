"""A gRPC client that sends nothing: what is given to it can be looked at, and what a server would
do, done.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


class FakeStream:
    """A stream to a service that takes all, or nothing."""

    def __init__(self, method: str, observer: Any) -> None:
        self.method = method
        self.observer = observer
        self.messages: list[Any] = []
        self.takes = True
        """Whether what is sent leaves at once."""
        self.accepts = True
        self.buffered = 0
        self.is_open = True
        self.is_ended = False

    def send(self, message: Any) -> bool:
        if not self.accepts:
            return False
        copy = type(message)()
        copy.CopyFrom(message)
        self.messages.append(copy)
        if not self.takes:
            self.buffered += message.ByteSize() + 5
        return True

    def half_close(self) -> None:
        self.is_ended = True

    def cancel(self) -> None:
        self.is_open = False

    def drain(self) -> None:
        """The service takes what was sent, and all that comes."""
        self.takes = True
        self.buffered = 0
        self.observer.on_drained()

    def end(self, error: Any = None) -> None:
        """The service ends the stream."""
        self.is_open = False
        self.buffered = 0
        self.observer.on_end(error)


class FakeGrpcClient:
    """A `tcpmesh.rpc.client.GrpcClient`."""

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.requests: list[tuple[str, Any, Deferred[Any]]] = []
        self.takes = True
        self.timeout: float | None = None
        self.timeouts: list[float | None] = []
        self.is_closed = False

    def stream(self, method: str, reply: Any, observer: Any, timeout: Any = None) -> FakeStream:
        made = FakeStream(method, observer)
        made.takes = self.takes
        self.streams.append(made)
        return made

    def unary(self, method: str, request: Any, reply: Any, timeout: Any = None) -> Deferred[Any]:
        made: Deferred[Any] = Deferred()
        copy = type(request)()
        copy.CopyFrom(request)
        self.requests.append((method, copy, made))
        self.timeouts.append(timeout)
        return made

    def close(self) -> None:
        self.is_closed = True
