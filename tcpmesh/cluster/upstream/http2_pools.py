"""The connections of a cluster over HTTP/2, which its gRPC calls and the tunnels through its hosts
share: one to each host that is picked, or some.

A TCP connection serves one client; these serve any number of requests, so a pick chooses the host
of each request, and `tcpmesh.rpc.http2.host` has the connection.  Here is what the cluster has to
say: which host, by which limits, and what is counted.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from zope.interface import implementer

from twisted.logger import Logger

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.http2_counting import UNAVAILABLE, HostCounter, Http2Stats
from tcpmesh.cluster.upstream.http_options import http_messages, tunnel_options
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import IHttp2Upstream, INetwork
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.host import Http2Host
from tcpmesh.rpc.http2.options import IDLE_TIMEOUT, Http2Options, http2_options
from tcpmesh.rpc.http2.stream import (
    Http2Stream,
    Reset,
    ResetReason,
    StreamObserver,
)
from tcpmesh.rpc.http2.tunnel import AskingObserver, Http2Tunnel
from tcpmesh.rpc.upstream import no_stream
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions

log = Logger(namespace="upstream")

ALPN = ("h2",)
"""What hosts are offered in TLS where the cluster says nothing of that."""


@implementer(IHttp2Upstream)
class Http2Pools:
    """Those of one cluster.

    :param message: the `cluster.v3.Cluster`.
    :param cluster: the `Cluster`, which picks.
    """

    def __init__(self, message: Any, cluster: Any, network: INetwork, random: Random) -> None:
        self._cluster = cluster
        self._network = network
        self._random = random
        options = options_of(message)
        if options is None:
            log.warn(
                "cluster {name} has no http2_protocol_options: Envoy speaks HTTP/1 with its hosts, "
                "and no gRPC call succeeds there; here it is HTTP/2 anyway",
                name=message.name,
            )
        self._options = options or Http2Options(high_watermark=cluster.buffer_limit)
        self._stats = Http2Stats(cluster.stats)
        self._by_client: bool = message.connection_pool_per_downstream_connection
        self._most_fields = tunnel_options(message).limits.fields
        self._hosts: dict[Host, dict[Hashable, Http2Host]] = {}
        """The connections of each host that has any: those of which nothing is known beyond what
        the cluster says, and those of tunnels by what their transport sockets are told.
        """

    def open(
        self, fields: Fields, observer: StreamObserver, body: bytes = b"", *, ended: bool = False
    ) -> Http2Stream:
        """Make a request of one of the hosts: see `Http2Host.open`."""
        host: Host | None = self._cluster.pick(None)
        if host is not None:
            return self._connections(host, None, NO_OPTIONS).open(
                fields, observer, body, ended=ended
            )
        self._cluster.stats.cx_none_healthy.tally += 1
        self._stats.responded(UNAVAILABLE)
        return no_stream(observer, Reset(ResetReason.NO_HOST))

    def tunnel(
        self,
        host: Host,
        fields: Fields,
        observer: AskingObserver,
        told: TransportSocketOptions,
        client: int,
    ) -> Http2Tunnel:
        """Ask a host for a tunnel: see `IHttp2Upstream`."""
        connections = self._connections(host, client if self._by_client else None, told)
        tunnel = Http2Tunnel(self._network.clock, observer, most_fields=self._most_fields)
        tunnel.ask(partial(connections.open_tunnel, fields))
        return tunnel

    def _connections(
        self, host: Host, number: int | None, told: TransportSocketOptions
    ) -> Http2Host:
        key = (number, host.cluster.dialer.pool_key(host.spec, told))
        of_host = self._hosts.setdefault(host, {})
        known = of_host.get(key)
        if known is None:
            if host.cluster.dialer.wraps:
                told = replace(told, fallback_protocols=ALPN)
            known = of_host[key] = Http2Host(
                partial(_dial, host, told),
                self._options,
                self._network,
                self._random,
                HostCounter(host, self._stats),
                partial(self._forget, host, key),
            )
            if host.cluster.close_on_failure:
                host.sessions.add(known)
        return known

    def _forget(self, host: Host, key: Hashable) -> None:
        of_host = self._hosts.get(host, {})
        host.sessions.discard(of_host.pop(key, None))
        if not of_host:
            self._hosts.pop(host, None)

    def drain(self, hosts: Any) -> None:
        """These hosts get no more requests."""
        for host in hosts:
            for found in tuple(self._hosts.get(host, {}).values()):
                found.drain()

    def close(self) -> None:
        """The cluster is gone: so are its requests, but tunnels go on to their end."""
        for of_host in tuple(self._hosts.values()):
            for found in tuple(of_host.values()):
                found.retire(Reset(ResetReason.LOCAL_RESET, "the cluster was removed"))


def _dial(host: Host, told: TransportSocketOptions, factory: Any) -> Any:
    cluster = host.cluster

    def another() -> None:
        host.cx_total += 1
        cluster.stats.cx_total.tally += 1

    return cluster.dialer.connect(host, factory, cluster.connect_timeout, another, told)


def options_of(message: Any) -> Http2Options | None:
    """How a `cluster.v3.Cluster` speaks HTTP/2; `None` where it says that it does not."""
    common, _, http2 = http_messages(message)
    if http2 is None:
        return None
    idle = seconds(common.idle_timeout) if common.HasField("idle_timeout") else IDLE_TIMEOUT
    limit = message.per_connection_buffer_limit_bytes
    given = {"high_watermark": limit.value} if limit.value else {}
    most = common.max_requests_per_connection.value or message.max_requests_per_connection.value
    return http2_options(http2, idle_timeout=idle, most_requests=most, **given)
