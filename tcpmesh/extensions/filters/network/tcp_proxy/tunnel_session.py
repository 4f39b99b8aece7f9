"""Sessions of a tcp_proxy with `tunneling_config`: a client whose bytes go through a proxy.

A cluster's hosts are asked for a tunnel in HTTP/1.1, on a connection for each client, or in HTTP/2,
where clients share the connections to a host.  Until a tunnel is open the client is on its way
(ASKING): a proxy that refuses is a host that could not be connected to, and the next attempt asks
again.

In HTTP/1.1 a session has its connection as without a tunnel, and counts it so; in HTTP/2 those who
have the connections count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.counting import begins, connected
from tcpmesh.cluster.upstream.http_options import TunnelOptions
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.http1_tunnel import Http1Tunnel, TunnelFailed
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import (
    ASKING,
    DIALLING,
    OVER,
    PENDING_OVERFLOW,
    UNHEALTHY,
    SessionContext,
    failure_of,
)
from tcpmesh.extensions.filters.network.tcp_proxy.session import Session
from tcpmesh.extensions.filters.network.tcp_proxy.tunnelling import (
    Fields,
    Tunnelling,
    TunnelRequest,
)
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import UpstreamInfo
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions
from tcpmesh.wire.http1 import request
from tcpmesh.wire.http1_tunnel import TunnelAnswer

ALPN = ("http/1.1",)
"""What a proxy is offered in TLS where the cluster says nothing of that."""

OF_HTTP1 = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
"""Header fields that HTTP/2 does not have (RFC 9113, 8.2.2)."""


class TunnelSession(Session):
    """One client."""

    __slots__ = ("_overhead", "_shares", "_tunnel")

    def __init__(self, context: SessionContext, connection: Connection) -> None:
        super().__init__(context, connection)
        self._tunnel: Any = None
        """That of the attempt under way, and then of the client."""
        self._overhead = (0, 0)
        """Bytes that were sent, and that came, for the tunnel itself, and are counted."""
        self._shares = False
        """Whether its connection is that of others too, which is HTTP/2."""

    @property
    def _tunnelling(self) -> Tunnelling:
        tunnelling: Tunnelling = self._context.tunnelling
        return tunnelling

    # Asking

    def _dial(self, cluster: Any, host: Host, upstream: UpstreamInfo) -> None:
        self._shares = cluster.speaks_http2
        if self._shares:
            self._ask_in_http2(cluster, host, upstream)
        elif self._may_ask(cluster):
            _count_connection(cluster)
            super()._dial(cluster, host, upstream)

    def _may_ask(self, cluster: Any) -> bool:
        """Whether circuit breakers allow a request more, which a client without a tunnel is none
        of; where not, this was an attempt.
        """
        breakers = cluster.breakers
        if breakers.requests.total < breakers.default.max_requests:
            return True
        cluster.stats.scope.counter("upstream_rq_active_overflow").tally += 1
        self.stream_info.upstream.failure = PENDING_OVERFLOW
        self._try_again()
        return False

    def _queue(self, cluster: Any, host: Host, upstream: UpstreamInfo) -> None:
        # Connections of HTTP/2 have a pool of their own, and a client may find room on one of them.
        if cluster.speaks_http2:
            self._dial(cluster, host, upstream)
        else:
            self._shares = False
            super()._queue(cluster, host, upstream)

    @property
    def told(self) -> TransportSocketOptions:
        """What the transport socket of its upstream connection is told."""
        told = super().told
        if self._shares or not self.cluster.dialer.wraps:
            return told
        return replace(told, fallback_protocols=ALPN)

    def buildProtocol(self, addr: Any) -> Any:
        """The connection is there: what asks for the tunnel on it."""
        if self._state is DIALLING:
            self._under_way = None
            began: Any = self.stream_info.upstream.connect_began
            connected(self._host, self._context.clock.seconds() - began)
        else:
            _count_connection(self.cluster)  # it is one of a pool
            begins(self._host)
        self._state = ASKING
        asked = self._tunnelling.request(self.stream_info)
        options: TunnelOptions = self.cluster.tunnel_options
        answer = TunnelAnswer(not asked.is_post, options.limits)
        sent = _http1_request(asked, options)
        self._overhead = (0, 0)
        self._tunnel = Http1Tunnel(self._context.clock, self, sent, answer, asked.is_post)
        return self._tunnel

    def _ask_in_http2(self, cluster: Any, host: Host, upstream: UpstreamInfo) -> None:
        upstream.connect_began = self._context.clock.seconds()
        if not cluster.is_used:
            cluster.first_used()
        self._state = ASKING
        info = self.stream_info
        scheme = "https" if cluster.dialer.wraps else "http"
        fields = _http2_request(self._tunnelling.request(info), scheme)
        tunnel = cluster.http2.tunnel(host, fields, self, self.told, info.id)
        if self._state is ASKING:
            self._tunnel = tunnel

    def handshake_done(self, tunnel: Any) -> None:
        """The proxy has opened it."""
        self._keep_answer(tunnel)
        direction = tunnel.protocol = self.relay.from_upstream
        direction.makeConnection(tunnel)

    def handshake_failed(self, tunnel: Any, reason: Failure) -> None:
        """There is no tunnel to be had of this host."""
        if self._state is not ASKING or self._tunnel not in (tunnel, None):
            return  # given up by us, and counted then
        self._keep_answer(tunnel)
        error = reason.value
        if isinstance(error, TunnelFailed) and error.is_malformed:
            self.cluster.stats.cx_protocol_error.tally += 1
        self._refused(self._failure(error), isinstance(error, ConnectionLost))

    def tunnel_trailers(self, fields: Fields) -> None:
        """The proxy's last fields."""
        self._tunnelling.keep_trailers(self.stream_info, fields)

    def _keep_answer(self, tunnel: Any) -> None:
        if tunnel.fields:
            self._tunnelling.keep_headers(self.stream_info, tunnel.fields)
            if not self._shares and tunnel.is_for_one:
                self.cluster.stats.scope.counter("upstream_cx_close_notify").tally += 1

    def _failure(self, error: Any) -> CloseReason:
        """Why there is no tunnel; `detail` is what Envoy says of it."""
        reset = getattr(error, "reset", None)
        if reset is not None and reset.failure is not None:
            return failure_of(reset.failure, self._host.address)
        if reset is not None and reset.reason.value == "overflow":
            return PENDING_OVERFLOW
        status = error.status if isinstance(error, TunnelFailed) else 0
        detail = f"tunnel_response:{status}" if status else ""
        return CloseReason(EndedBy.UPSTREAM, CONNECTING, Cause.CONNECT_FAILED, None, detail)

    def _refused(self, failure: CloseReason, remote: bool) -> None:
        if failure is PENDING_OVERFLOW:
            self.stream_info.upstream.failure = failure
        else:
            self.stream_info.flags |= ResponseFlag.UF
            self._note_failure(failure)
        self._count_request_over(remote)
        self._try_again()

    # What is other than without a tunnel

    def _count_request_over(self, remote: bool) -> None:
        self._count_relayed(0, 0)
        tunnel, self._tunnel = self._tunnel, None
        if self._shares:
            return
        # Whoever ended the tunnel, it is the proxy's doing only where that has reset it.
        super()._count_request_over(tunnel.was_reset)

    def _count_relayed(self, sent: int, received: int) -> None:
        if self._shares:
            return
        tunnel = self._tunnel
        if tunnel is not None:
            before = self._overhead
            self._overhead = now = tunnel.overhead_sent, tunnel.answer.overhead
            sent, received = sent + now[0] - before[0], received + now[1] - before[1]
        super()._count_relayed(sent, received)

    def _note_upstream_close(self, words: str) -> None:
        """Envoy says nothing of the connections of tunnels."""

    def host_failed(self) -> None:
        """The host is unhealthy, and its connections are to be closed."""
        tunnel = self._tunnel
        if self._state is ASKING:
            self._refused(UNHEALTHY, remote=False)
            tunnel.loseConnection()
        else:
            super().host_failed()

    def _give_up(self) -> None:
        if self._state is not ASKING:
            super()._give_up()
            return
        self._state = OVER
        self.stream_info.flags |= ResponseFlag.UF
        tunnel = self._tunnel
        self._count_request_over(remote=False)
        tunnel.loseConnection()


def _count_connection(cluster: Any) -> None:
    """One of HTTP/1.1, which is a tunnel's alone."""
    cluster.stats.scope.counter("upstream_cx_http1_total").tally += 1


def _http1_request(asked: TunnelRequest, options: TunnelOptions) -> bytes:
    """A request as HTTP/1.1 has it."""
    head = [("host", asked.authority), *asked.added]
    if asked.is_post:
        head.append(("transfer-encoding", "chunked"))
    method, target = ("POST", asked.path) if asked.is_post else ("CONNECT", asked.authority)
    return request(method, target, [(options.name(name), value) for name, value in head])


def _http2_request(asked: TunnelRequest, scheme: str) -> Fields:
    """The fields of a request as HTTP/2 has it."""
    added = [each for each in asked.added if each[0] not in OF_HTTP1]
    if not asked.is_post:
        return ((":method", "CONNECT"), (":authority", asked.authority), *added)
    head = ((":method", "POST"), (":authority", asked.authority), (":path", asked.path))
    return (*head, (":scheme", scheme), *added)
