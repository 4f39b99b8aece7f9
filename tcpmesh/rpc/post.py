"""A request over HTTP/2 that is no gRPC call, and of whose answer only the status is wanted."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.interfaces import IHttp2Upstream
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.stream import Http2Stream, Reset


class PostFailed(Exception):
    """A request has no answer; the text says why."""


class Post:
    """One request: the observer of its stream.

    :param timeout: seconds for all of it.
    """

    def __init__(self, clock: IReactorTime, timeout: float) -> None:
        self.answer: Deferred[int] = Deferred()
        self._status = 0
        self._stream: Http2Stream | None = None
        self._deadline: IDelayedCall | None = clock.callLater(timeout, self._is_late)

    def send(self, upstream: IHttp2Upstream, fields: Fields, body: bytes) -> None:
        """Make it."""
        self._stream = upstream.open(fields, self, body, ended=True)

    def on_headers(self, fields: Fields, ended: bool) -> None:
        """The server answers."""
        self._status = int(dict(fields)[":status"])

    def on_data(self, data: bytes) -> None:
        """Some of the body, which nobody wants."""

    def on_trailers(self, fields: Fields) -> None:
        """The fields after it."""

    def on_drained(self) -> None:
        """All was sent."""

    def on_end(self) -> None:
        """The answer is whole."""
        if self._is_over():
            self.answer.callback(self._status)

    def on_reset(self, reset: Reset) -> None:
        """There is none."""
        if self._is_over():
            self.answer.errback(PostFailed(reset.reason.value))

    def _is_late(self) -> None:
        self._deadline = None
        if self._stream is not None:
            self._stream.cancel(late=True)
        self.answer.errback(PostFailed("no answer in time"))

    def _is_over(self) -> bool:
        """Whether this is its first end."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        return deadline is not None


def post(
    upstream: IHttp2Upstream, fields: Fields, body: bytes, clock: IReactorTime, timeout: float
) -> Deferred[int]:
    """Make a request.

    :param fields: those with a colon first.
    :return: the status of the response; or it fails with `PostFailed`.
    """
    made = Post(clock, timeout)
    made.send(upstream, fields, body)
    return made.answer
