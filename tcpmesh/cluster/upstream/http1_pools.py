"""Requests in HTTP/1.1 that the proxy makes to a cluster for itself, each with an answer of which
only the status is wanted: what collectors are told over HTTP.

Connections that have answered are kept for the next request to the same host.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.own_connection import OwnConnection, pick
from tcpmesh.interfaces import IHttp1Upstream
from tcpmesh.wire.http1 import MalformedResponse, ResponseParser

MOST_IDLE = 2
"""Connections to a host that are kept."""


class RequestFailed(Exception):
    """A request has no answer; the text says why."""


@implementer(IHttp1Upstream)
class Http1Pools:
    """The connections of one cluster over HTTP/1.1.

    :param cluster: the `Cluster`, which picks.
    """

    def __init__(self, cluster: Any, clock: IReactorTime) -> None:
        self._cluster = cluster
        self._clock = clock
        self._idle: dict[Host, list[Exchange]] = {}
        self._exchanges: set[Exchange] = set()

    def send(self, request: bytes, timeout: float) -> Deferred[int]:
        """See `IHttp1Upstream`; it fails with `RequestFailed`."""
        answer: Deferred[int] = Deferred()
        host = pick(self._cluster)
        if host is None:
            answer.errback(RequestFailed("no healthy upstream"))
            return answer
        idle = self._idle.get(host)
        if idle:
            exchange = idle.pop()
        else:
            exchange = Exchange(host, self, self._clock)
            self._exchanges.add(exchange)
        exchange.ask(request, timeout, answer)
        return answer

    def answered(self, exchange: Exchange) -> None:
        """A connection has nothing more to do."""
        idle = self._idle.setdefault(exchange.host, [])
        if len(idle) < MOST_IDLE:
            idle.append(exchange)
        else:
            exchange.end()

    def ended(self, exchange: Exchange) -> None:
        """A connection is gone."""
        self._exchanges.discard(exchange)
        idle = self._idle.get(exchange.host, [])
        if exchange in idle:
            idle.remove(exchange)
        if not idle:
            self._idle.pop(exchange.host, None)

    def drain(self, hosts: Iterable[Host]) -> None:
        """These hosts get no more requests."""
        for host in hosts:
            for exchange in tuple(self._idle.get(host, ())):
                exchange.end()

    def close(self) -> None:
        """Close all connections; requests that are under way fail."""
        for exchange in tuple(self._exchanges):
            exchange.end()


class Exchange:
    """A connection on which one request after the other is made."""

    def __init__(self, host: Host, pools: Http1Pools, clock: IReactorTime) -> None:
        self.host = host
        self._pools = pools
        self._clock = clock
        self._connection: OwnConnection | None = None
        self._parser = ResponseParser()
        self._request = b""
        self._answer: Deferred[int] | None = None
        self._deadline: IDelayedCall | None = None

    @property
    def is_asking(self) -> bool:
        """Whether a response is awaited."""
        return self._answer is not None

    def ask(self, request: bytes, timeout: float, answer: Deferred[int]) -> None:
        """Make a request."""
        self._answer = answer
        self._request = request
        self._parser.reset()
        self._deadline = self._clock.callLater(timeout, self._fail, "no answer in time")
        stats = self.host.cluster.stats
        stats.rq_total.tally += 1
        stats.rq_active.add(1)
        if self._connection is None:
            stats.scope.counter("upstream_cx_http1_total").tally += 1
            self._connection = OwnConnection(self.host, self, self._clock)
            self._connection.connect()
        else:
            self._connection.write(request)

    def end(self) -> None:
        """Close the connection; what is under way fails."""
        self._fail("the cluster is closed")

    # As the user of its connection

    def connected(self) -> None:
        """The connection is there."""
        if self._connection is not None:
            self._connection.write(self._request)

    def received(self, data: bytes) -> None:
        """Read the response; what comes unasked ends the connection."""
        if not self.is_asking:
            self._fail("an answer to nothing")
            return
        try:
            response = self._parser.feed(data)
        except MalformedResponse as error:
            self.host.cluster.stats.cx_protocol_error.tally += 1
            self._fail(str(error))
            return
        if response is not None:
            self._succeed(response.status, response.keep_alive)

    def lost(self) -> None:
        """The connection is gone, and the response may end with it."""
        self._connection = None
        if not self.is_asking:
            self._pools.ended(self)
            return
        try:
            response = self._parser.end()
        except MalformedResponse as error:
            self._fail(str(error))
        else:
            self._succeed(response.status, False)

    def _succeed(self, status: int, keeps: bool) -> None:
        answer = self._take_answer()
        if keeps and self._connection is not None:
            self._pools.answered(self)
        else:
            self._close()
        if answer is not None:
            answer.callback(status)

    def _fail(self, why: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(abort=True)
        answer = self._take_answer()
        self._pools.ended(self)
        if answer is not None:
            answer.errback(RequestFailed(why))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._pools.ended(self)

    def _take_answer(self) -> Deferred[int] | None:
        """The request is over."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self.host.cluster.stats.rq_active.add(-1)
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        return answer
