"""How a request is answered: in steps, by turns with all other long work.

An answer may be long (a hundred thousand statistics), and many clients may ask at once.  So each is
a task of the network's cooperator, which gives all of them together a few milliseconds of each turn
of the reactor.  Short answers are sent whole.  Long ones are made as the client takes them, so that
never more than a step of them is in memory.  A client that takes nothing for a while is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, cast

from zope.interface import implementer

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.task import CooperativeTask, Cooperator, TaskFinished
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request

from tcpmesh.admin.answers.endpoint import HTML, Answer
from tcpmesh.admin.channel import AdminChannel, channel_of

STALL_TIMEOUT = 60
"""Seconds that a client may take nothing of an answer."""

HELD_STALL_TIMEOUT = 10
"""The same where the answer is held in memory, and others wait for their turn."""

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may do (Content-Security-Policy): nothing that stands in it is run, whoever chose
a name that it shows, and nobody else's page may have it in a frame.
"""

_STEP_SECONDS = 0.0005
_STEP_SIZE = 1 << 16

_log = Logger(namespace="admin")


@implementer(IPushProducer)
class Answering:
    """A request that is being answered: one task of the cooperator, from the call of the page to
    the last byte, so that all requests together get the time that the cooperator has.
    """

    def __init__(
        self,
        request: Request,
        answer: Callable[[Request], Deferred[Answer]],
        clock: IReactorTime,
        held: DeferredSemaphore,
    ) -> None:
        """
        :param held: has as many tokens as pages may be made at once that are held in memory.
        """
        self._held = held
        self._patience = STALL_TIMEOUT
        self._request = request
        self._answer = answer
        self._clock = clock
        self._task: CooperativeTask[Any] | None = None
        self._stall: IDelayedCall | None = None
        self._streams = self._is_lost = False

    def start(self, cooperator: Cooperator) -> None:
        """Begin as soon as it is our turn."""
        self._request.notifyFinish().addErrback(self._lost)
        self._task = cooperator.cooperate(self._steps())

    def _steps(self) -> Iterator[Deferred[Any] | None]:
        """Make the answer and send it: at once if it is short, else as it is made."""
        found: list[Answer] = []
        waiting = self._answer(self._request).addCallback(found.append)
        if not found:
            yield waiting
        answer = found[0]
        self._begin(answer)
        if answer.follow is not None:
            if not self._is_lost:
                answer.follow(self._request)
            return
        yield None
        if not answer.is_held:
            yield from self._made(answer)
            return
        self._patience = HELD_STALL_TIMEOUT
        yield self._held.acquire()
        try:
            yield from self._made(answer)
        finally:
            self._held.release()

    def _made(self, answer: Answer) -> Iterator[Deferred[Any] | None]:
        """Make the body, and send it as it is made."""
        pieces: Iterator[str | bytes | Deferred[Any]] = (
            iter((answer.body,)) if isinstance(answer.body, str) else answer.body
        )
        made: list[str | bytes] = []
        size = 0
        until = perf_counter() + _STEP_SECONDS
        while not self._is_lost:
            try:
                piece = next(pieces, None)
            except Exception:
                _log.failure("cannot go on answering {uri}", uri=self._request.uri)
                self._break_off()
                return
            if piece is None:
                self._end(_encoded(made))
                return
            if isinstance(piece, Deferred):
                if made:
                    self._write(_encoded(made))
                    made, size = [], 0
                # What became of it is for the page, which goes on in any case.
                yield piece.addErrback(_log_failure, self._request.uri)
                until = perf_counter() + _STEP_SECONDS
                continue
            made.append(piece)
            size += len(piece)
            if size >= _STEP_SIZE:
                self._write(_encoded(made))
                made, size = [], 0
            elif perf_counter() < until:
                continue
            yield None
            until = perf_counter() + _STEP_SECONDS

    def _begin(self, answer: Answer) -> None:
        request = self._request
        if self._is_lost:
            if answer.afterwards is not None:
                answer.afterwards()
            return
        request.setResponseCode(answer.status)
        request.setHeader(b"content-type", answer.content_type.encode())
        request.setHeader(b"cache-control", b"no-cache, max-age=0")
        request.setHeader(b"x-content-type-options", b"nosniff")
        request.setHeader(b"server", b"tcpmesh")
        if answer.content_type == HTML:
            request.setHeader(b"content-security-policy", POLICY)
            request.setHeader(b"referrer-policy", b"no-referrer")
        if answer.afterwards is not None:
            request.setHeader(b"connection", b"close")
            channel_of(request).afterwards = answer.afterwards

    def _write(self, data: bytes) -> None:
        if not self._streams:
            self._streams = True
            self._request.registerProducer(self, True)
        self._request.write(data)

    def _end(self, last: bytes) -> None:
        if self._streams:
            self._request.unregisterProducer()
        else:
            self._request.setHeader(b"content-length", str(len(last)).encode())
        channel = channel_of(self._request)
        self._request.write(last)
        self._request.finish()
        if channel.afterwards is not None:
            channel.loseConnection()

    def _break_off(self) -> None:
        """Cut the answer off, so that no client takes it for whole."""
        self._request.loseConnection()

    def _lost(self, reason: Failure) -> None:
        """The client is gone: end at the next step."""
        self._is_lost = True
        self._go_on()

    # As the producer of a long answer

    def pauseProducing(self) -> None:
        """The client does not take more for now."""
        if self._stall is None and self._task is not None:
            with suppress(TaskFinished):  # as all are where the process ends
                self._task.pause()
                self._stall = self._clock.callLater(self._patience, self._leave)

    def resumeProducing(self) -> None:
        """The client takes more."""
        self._go_on()

    def stopProducing(self) -> None:
        """The client is gone, as `notifyFinish` tells too."""

    def _go_on(self) -> None:
        if self._stall is not None and self._task is not None:
            if self._stall.active():
                self._stall.cancel()
            self._stall = None
            self._task.resume()

    def _leave(self) -> None:
        channel = self._request.channel
        if isinstance(channel, AdminChannel):
            channel.forceAbortClient()


def _log_failure(failure: Failure, uri: bytes) -> None:
    _log.failure("cannot ask what {uri} is to tell", failure, uri=uri)


def _encoded(pieces: list[str | bytes]) -> bytes:
    """All of them; a page has pieces of text or of bytes."""
    if pieces and isinstance(pieces[0], bytes):
        return b"".join(cast("list[bytes]", pieces))
    return "".join(cast("list[str]", pieces)).encode(errors="backslashreplace")
