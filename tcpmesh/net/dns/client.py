"""Asking DNS servers over the reactor's own UDP and TCP, as c-ares asks them.

Each question has a datagram socket of its own, connected to the server: so the kernel picks a
random source port, hands us nothing that comes from elsewhere, and tells at once where nobody
listens.  What is left for a forger to guess is that port and the id of the message.  Nothing here
blocks and nothing runs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    inlineCallbacks,
    maybeDeferred,
)
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionRefusedError,
)
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from tcpmesh.facts import dataclass
from tcpmesh.net.dns.resolve import ResolutionFailed, TimedOut
from tcpmesh.values.address import Address
from tcpmesh.wire.dns import Answer, Outcome, Question

MESSAGE_LIMIT = 65535

MOST_QUESTIONS = 128
"""Under way at a time, so that a cluster of thousands of names does not take all descriptors; the
others wait.
"""

_UNREACHABLE = (OSError, DeferredTimeout, CannotListenError, ConnectError, ConnectionClosed)


@dataclass(frozen=True)
class DnsOptions:
    """How servers are asked; the defaults are those of Envoy's c-ares resolver."""

    timeout: float = 5.0
    """Seconds that the first round waits for each server; each further round waits twice as
    long.
    """

    tries: int = 4
    """Rounds over all servers."""

    tcp: bool = False
    """Whether to ask over TCP only."""

    rotate: bool = False
    """Whether to begin with a random server, rather than with the first."""

    payload: int = 1232
    """Bytes of a datagram that servers are told we take."""


class DnsClient:
    """Asks a list of servers in turn until one answers."""

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[Address],
        options: DnsOptions,
        random: Random,
        timed_out: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param timed_out: called each time that a server has not answered in time.
        """
        self._timed_out = timed_out
        self._reactor = reactor
        self._servers = tuple(servers)
        self._options = options
        self._random = random
        self._places = DeferredSemaphore(MOST_QUESTIONS)

    def ask(self, name: str, kind: str) -> Deferred[Answer]:
        """The answer of the first server that has one, with outcome FOUND or NONE.

        :return: fails with `ResolutionFailed` where none has, or the name cannot be one; cancel it
            to give up.
        """
        return self._places.run(self._ask, name, kind)

    @inlineCallbacks
    def _ask(self, name: str, kind: str) -> Generator[Deferred[Any], Any, Answer]:
        options, servers = self._options, self._servers
        first = self._random.randrange(len(servers)) if options.rotate else 0
        failure = ResolutionFailed("no server has an answer")
        for attempt in range(options.tries * len(servers)):
            server = servers[(first + attempt) % len(servers)]
            timeout = options.timeout * 2 ** (attempt // len(servers))
            try:
                answer = yield self._ask_server(server, name, kind, timeout)
            except DeferredTimeout:
                self._timed_out()
                failure = TimedOut(f"no answer from {server} in {timeout:g} s")
            except _UNREACHABLE as e:
                failure = ResolutionFailed(f"{server}: {e}")
            else:
                if answer.outcome in (Outcome.FOUND, Outcome.NONE):
                    return answer  # type: ignore[no-any-return]
                failure = ResolutionFailed(f"{server}: {answer.outcome.value}")
        raise failure

    @inlineCallbacks
    def _ask_server(
        self, server: Address, name: str, kind: str, timeout: float
    ) -> Generator[Deferred[Any], Any, Answer]:
        """What one server says, in whichever way it can say it."""
        answer = yield self._exchange(_question(name, kind, self._options.payload), server, timeout)
        if answer.outcome is Outcome.NO_EDNS:
            answer = yield self._exchange(_question(name, kind, None), server, timeout)
        return answer  # type: ignore[no-any-return]

    @inlineCallbacks
    def _exchange(
        self, question: Question, server: Address, timeout: float
    ) -> Generator[Deferred[Any], Any, Answer]:
        if not self._options.tcp:
            answer = yield self._over_udp(question, server).addTimeout(timeout, self._reactor)
            if answer.outcome is not Outcome.TRUNCATED:
                return answer  # type: ignore[no-any-return]
        answer = yield self._over_tcp(question, server, timeout).addTimeout(timeout, self._reactor)
        return answer  # type: ignore[no-any-return]

    @inlineCallbacks
    def _over_udp(
        self, question: Question, server: Address
    ) -> Generator[Deferred[Any], Any, Answer]:
        protocol = _Datagram(question, server)
        port = self._reactor.listenUDP(
            0, protocol, "::" if ":" in server.host else "0.0.0.0", MESSAGE_LIMIT
        )
        try:
            protocol.ask()
            answer = yield protocol.answer
            return answer  # type: ignore[no-any-return]
        finally:
            protocol.answer.addErrback(lambda _: None)  # which nobody waits for any more
            yield maybeDeferred(port.stopListening)

    @inlineCallbacks
    def _over_tcp(
        self, question: Question, server: Address, timeout: float
    ) -> Generator[Deferred[Any], Any, Answer]:
        protocol = _Stream(question)
        kind = TCP6ClientEndpoint if ":" in server.host else TCP4ClientEndpoint
        try:
            yield connectProtocol(kind(self._reactor, server.host, server.port, timeout), protocol)
        except ConnectingCancelledError as e:
            raise CancelledError from e
        try:
            answer = yield protocol.answer
            return answer  # type: ignore[no-any-return]
        finally:
            yield protocol.close()


def _question(name: str, kind: str, payload: int | None) -> Question:
    try:
        return Question(name, kind, payload)
    except ValueError as e:
        raise ResolutionFailed(str(e)) from None


class _Datagram(DatagramProtocol):
    """One question to one server over UDP."""

    noisy = False

    def __init__(self, question: Question, server: Address) -> None:
        self.answer: Deferred[Answer] = Deferred()
        self._question = question
        self._server = server

    def ask(self) -> None:
        """Ask: not as soon as there is a transport, for a failure then would leave it open."""
        transport: Any = self.transport
        try:
            transport.connect(self._server.host, self._server.port)
            transport.write(self._question.wire)
        except OSError:
            self._end(Failure())

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take the first datagram that answers the question."""
        answer = self._question.read(datagram)
        if answer is not None:
            self._end(answer)

    def connectionRefused(self) -> None:
        """The server's host says that nobody listens there."""
        self._end(Failure(ConnectionRefusedError()))

    def stopProtocol(self) -> None:
        """The socket is gone: Twisted's reactor on epoll tells a refusal so."""
        self.connectionRefused()

    def _end(self, result: Any) -> None:
        if not self.answer.called:
            self.answer.callback(result)


class _Stream(Int16StringReceiver):
    """One question to one server over TCP (RFC 1035, 4.2.2)."""

    noisy = False
    MAX_LENGTH = MESSAGE_LIMIT

    def __init__(self, question: Question) -> None:
        self.answer: Deferred[Answer] = Deferred()
        self._lost: Deferred[None] = Deferred()
        self._question = question

    def connectionMade(self) -> None:
        """Ask."""
        self.sendString(self._question.wire)

    def stringReceived(self, string: bytes) -> None:
        """Take the first message; one that is no answer, or is truncated even here, is a failure of
        the server.
        """
        if self.answer.called:
            return
        answer = self._question.read(string)
        usable = answer is not None and answer.outcome is not Outcome.TRUNCATED
        self._end(answer if usable else Answer(Outcome.FAILED))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is closed."""
        self._lost.callback(None)
        self._end(reason)

    def close(self) -> Deferred[None]:
        """Nothing more is wanted; fires once the connection is closed."""
        transport: Any = self.transport
        transport.abortConnection()
        return self._lost

    def _end(self, result: Any) -> None:
        if not self.answer.called:
            self.answer.callback(result)
