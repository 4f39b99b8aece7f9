"""The server that a `google_grpc` names by itself: no cluster, but the same wire.

There is one connection, which is made for the first call; a name is resolved anew for each.  After
a failure the next attempt waits for a while, longer each time, and calls fail at once meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.python.failure import Failure

from tcpmesh.config.fields.grpc_target import place
from tcpmesh.interfaces import INetwork
from tcpmesh.net.connecting.happy_eyeballs import Candidate, HappyEyeballs
from tcpmesh.net.dns.client import DnsClient, DnsOptions
from tcpmesh.net.dns.lookup import HostsFile, Lookup, system_dns
from tcpmesh.net.dns.resolve import find
from tcpmesh.net.protocol import OneShotFactory
from tcpmesh.registry import Context
from tcpmesh.rpc.backoff import Backoff
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.counts import HostCounts
from tcpmesh.rpc.http2.host import Http2Host
from tcpmesh.rpc.http2.options import Http2Options
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, ResetReason, StreamObserver
from tcpmesh.rpc.status import GrpcStatus
from tcpmesh.stats.store import sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found

CONNECT_TIMEOUT = 20.0
"""Seconds, as in gRPC's library; as are these two, of the time between two attempts."""

BACKOFF, MOST_BACKOFF = 1.0, 120.0

DEFAULT_PORT = 443


class _Dialling:
    """One attempt to connect to a target, which begins with a look-up where it has a name: an
    `IConnector`, as far as it is needed.
    """

    def __init__(self, network: INetwork, factory: OneShotFactory, port: int) -> None:
        self._network = network
        self._factory = factory
        self._port = port
        self._asking: Deferred[Any] | None = None
        self._race: HappyEyeballs | None = None

    def resolve(self, asking: Deferred[tuple[Found, ...]]) -> None:
        """Connect to what is found."""
        self._asking = asking
        asking.addCallbacks(self._found, self._failed)

    def _found(self, found: tuple[Found, ...]) -> None:
        self.connect([Address(each.host, self._port) for each in found])

    def _failed(self, reason: Failure) -> None:
        if self._asking is not None:
            self._refuse(str(reason.value))

    def _refuse(self, why: str) -> None:
        self._factory.clientConnectionFailed(self, Failure(DNSLookupError(why)))

    def connect(self, addresses: Sequence[Address]) -> None:
        """Connect to one of these."""
        self._asking = None
        if not addresses:
            self._refuse("the name has no address")
            return
        candidates: list[Candidate] = [(each, None) for each in addresses]
        self._race = HappyEyeballs(
            self._network, candidates, self._factory, CONNECT_TIMEOUT, lambda: None
        )
        self._race.connect()

    def stopConnecting(self) -> None:
        """Give up."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        if self._race is not None:
            self._race.stopConnecting()


class Target:
    """The server of a `core.v3.GrpcService.GoogleGrpc`.

    :raise tcpmesh.config.fields.grpc_target.WrongTarget: where its `target_uri` is none.
    """

    def __init__(self, message: Any, context: Context) -> None:
        self._place = place(message.target_uri)
        self.authority = self._place.authority
        self.fields: Fields = ()
        self._scope = context.store.scope(f"grpc.{sanitize(message.stat_prefix)}")
        self._streams = self._scope.counter("streams_total")
        self._closed = [self._scope.counter(f"streams_closed_{each:d}") for each in GrpcStatus]
        self._scope.counter("google_grpc_client_creation").tally += 1
        self._network = context.network
        self._random = context.random
        self._lookup: Lookup | None = None
        self._backoff = Backoff(context.random, BACKOFF, MOST_BACKOFF)
        self._not_before = 0.0
        self._why = ""
        self._host = Http2Host(
            self._dial, Http2Options(), context.network, context.random, _Counts(self)
        )

    def open(
        self, fields: Fields, observer: StreamObserver, body: bytes, *, ended: bool
    ) -> Http2Stream:
        """Begin a stream."""
        return self._host.open(fields, observer, body, ended=ended)

    def begins(self) -> None:
        """A call is made."""
        self._streams.tally += 1

    def over(self, status: GrpcStatus) -> None:
        """It has come to this."""
        self._closed[status].tally += 1

    def close(self) -> None:
        """Close the connection."""
        self._scope.close()
        self._host.close(Reset(ResetReason.LOCAL_RESET, "the client is closed"))

    def connected(self) -> None:
        """A connection is there."""
        self._backoff.reset()

    def failed(self, reason: Failure) -> None:
        """There is none: the next attempt has to wait."""
        now = self._network.clock.seconds()
        if now >= self._not_before:
            self._not_before = now + self._backoff.next()
            self._why = str(reason.value)

    def _dial(self, factory: OneShotFactory) -> _Dialling:
        dialling = _Dialling(self._network, factory, self._place.port)
        if self._network.clock.seconds() < self._not_before:
            factory.clientConnectionFailed(dialling, Failure(ConnectError(string=self._why)))
        elif self._place.addresses:
            dialling.connect(self._place.addresses)
        else:
            dialling.resolve(find(self._place.name, Family.V4_PREFERRED, self._names.addresses))
        return dialling

    @property
    def _names(self) -> Lookup:
        if self._lookup is None:
            system = system_dns()
            client = DnsClient(self._network.clock, system.servers, DnsOptions(), self._random)
            self._lookup = Lookup(client, HostsFile(), system.search, system.ndots)
        return self._lookup


class _Counts(HostCounts):
    """Tells the target how attempts come out."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def connected(self, seconds: float) -> None:
        """It is there."""
        self._target.connected()

    def failed(self, reason: Failure) -> bool:
        """It could not be made."""
        self._target.failed(reason)
        return True
