"""What is known about a connection: Envoy's StreamInfo, one record from accept to the last line.

Whoever finds something out writes it here: listener filters, the listener, network filters,
tcp_proxy, the relay.  Whoever asks reads it here and nowhere else: log formats, filters, hash
policies, pages of live connections, close reasons, the hand-over.  It holds facts, no objects that
do something, with one exception: `addresses` is a transport, asked for them when somebody
wants those, for each is a system call.  Who wants an address after the end asks for it before.

Where facts are many and most connections have none, they have a record of their own that all share
until there is something to write: `NO_METADATA`, `NO_FILTER_STATE`, `NO_HELLO`, `NO_TLS`,
`NO_UPSTREAM`.  And what only trouble has to say is no more than an empty slot until then (`Rare`):
to fill them all would cost as much as the rest.

All times are seconds of the network's clock; `None` is what has not happened (yet).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, FilterState, Sharing, StateObject
from tcpmesh.values.stream.phase import ACCEPTING, Phase
from tcpmesh.values.stream.tls_facts import NO_TLS, TlsFacts
from tcpmesh.values.stream.wanted import NOTHING, Wanted

Record = TypeVar("Record")

NO_METADATA: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

NOWHERE = Address("127.0.0.1", 0)
"""Both ends of what is no connection, such as a health check: what Envoy's formats say then."""


class AddressProvider(Protocol):
    """What knows the addresses of a socket: a transport."""

    def getPeer(self) -> Address:
        """The other side's."""

    def getHost(self) -> Address:
        """This side's."""


class _NoAddresses:
    """The addresses of what is no connection."""

    def getPeer(self) -> Address:
        return NOWHERE

    def getHost(self) -> Address:
        return NOWHERE


NO_ADDRESSES = _NoAddresses()


class CloseType(Enum):
    """How one side of a connection was closed (`DOWNSTREAM_DETECTED_CLOSE_TYPE`)."""

    NORMAL = "Normal"
    REMOTE_RESET = "RemoteReset"
    """The peer has reset it."""
    LOCAL_RESET = "LocalReset"
    """This side has reset it, because the other side of the relay was."""


# An attribute of an Enum costs several times what a name of a module does.
NORMAL = CloseType.NORMAL
REMOTE_RESET = CloseType.REMOTE_RESET
LOCAL_RESET = CloseType.LOCAL_RESET


@dataclass(frozen=True, slots=True)
class ListenerInfo:
    """Where a client came in: one value for all clients of a filter chain."""

    name: str = ""
    """Of the listener (`LISTENER_NAME`)."""

    filter_chain_name: str = ""
    """`FILTER_CHAIN_NAME`."""

    metadata: Any = field(default=None, compare=False)
    """The `core.v3.Metadata` of the listener, or `None`."""

    filter_chain_metadata: Any = field(default=None, compare=False)
    """That of the filter chain."""

    has_filters: bool = False
    """Whether a filter chain was found, and has network filters."""

    direction: int = 0
    """A `core.v3.TrafficDirection`."""

    wanted: Wanted = NOTHING
    """What access logs may ask for once a connection is over."""

    wants_upstream: bool = False
    """Whether any of it is found out by who connects to the upstream."""


NO_LISTENER = ListenerInfo()


@dataclass(frozen=True)
class ClusterInfo:
    """The cluster that a client is sent to: one value for all its clients."""

    name: str = ""
    """`UPSTREAM_CLUSTER_RAW`."""

    observability_name: str = ""
    """The name under which it is counted and logged (`UPSTREAM_CLUSTER`)."""

    metadata: Any = field(default=None, compare=False)
    """Its `core.v3.Metadata`, or `None`."""


NO_CLUSTER = ClusterInfo()


@dataclass(frozen=True)
class ClientHello:
    """What the first bytes of a client say of what it speaks, as far as somebody has looked."""

    server_name: str = ""
    """SNI (`REQUESTED_SERVER_NAME`)."""

    application_protocols: tuple[str, ...] = ()
    """ALPN, as offered."""

    transport_protocol: str = ""
    """`tls` or `raw_buffer`, as filter chains match it."""

    ja3: str = ""
    ja4: str = ""

    failure: str = ""
    """Why they are no TLS, where somebody has looked for it: in the words of Envoy's TLS library
    (`DOWNSTREAM_TRANSPORT_FAILURE_REASON`).
    """


NO_HELLO = ClientHello()


class Rare:
    """A fact that hardly any connection has: its slot stays empty, and reads as its default, until
    somebody writes it.
    """

    __slots__ = ("_default", "_slot")

    def __init__(self, slot: Any, default: Any) -> None:
        self._slot = slot
        self._default = default

    def __get__(self, record: Any, kind: type | None = None) -> Any:
        try:
            return self._slot.__get__(record)
        except AttributeError:
            return self._default

    def __set__(self, record: Any, value: Any) -> None:
        self._slot.__set__(record, value)


def with_rare(**defaults: Any) -> Callable[[type[Record]], type[Record]]:
    """Class decorator: these of its slots are `Rare`."""

    def decorate(cls: type[Record]) -> type[Record]:
        for name, default in defaults.items():
            setattr(cls, name, Rare(cls.__dict__[name], default))
        return cls

    return decorate


@with_rare(
    failed_host=None,
    failure=None,
    close_type=NORMAL,
    local_close_reason="",
    first_asked=None,
    gave_up=None,
    attempts_allowed=1,
    tls=NO_TLS,
)
class UpstreamInfo:
    """What is known of the way of a client to its host; made with the first look for a cluster."""

    __slots__ = (
        "addresses",
        "attempted",
        "attempts_allowed",
        "close_type",
        "cluster",
        "connect_began",
        "connect_ended",
        "failed_host",
        "failure",
        "first_asked",
        "gave_up",
        "local_close_reason",
        "tls",
    )

    failed_host: HostSpec | None
    """The one that could not be connected to last."""

    failure: CloseReason | None
    """Why the last attempt that failed did; it stays when a later one succeeds."""

    close_type: CloseType
    """How it was closed."""

    local_close_reason: str
    """Why this side has closed it, in Envoy's words (`UPSTREAM_LOCAL_CLOSE_REASON`)."""

    first_asked: float | None
    """When a connection was first asked for, where that is not `connect_began`: there were several
    attempts, or there is a pool.
    """

    gave_up: float | None
    """When it was clear that there is no connection to be had."""

    attempts_allowed: int
    """How many attempts there might have been, once all have failed (`max_connect_attempts`)."""

    tls: TlsFacts
    """What its handshake has agreed on."""

    def __init__(self, cluster: ClusterInfo = NO_CLUSTER) -> None:
        self.cluster = cluster
        """The one asked last."""
        self.attempted: tuple[HostSpec, ...] = ()
        """The hosts that were chosen, one for each attempt, so there were so many."""
        self.connect_began: float | None = None
        """When the connection that is used was begun, or the last one that was tried."""
        self.connect_ended: float | None = None
        """When it was connected."""
        self.addresses: AddressProvider | None = None
        """Its transport."""

    @property
    def host(self) -> HostSpec | None:
        """The host that was connected to, or that could not be connected to last
        (`UPSTREAM_HOST`).
        """
        return self.attempted[-1] if self.connect_ended is not None else self.failed_host

    @property
    def asked(self) -> float | None:
        """When a connection was first asked for."""
        asked = self.first_asked
        return self.connect_began if asked is None else asked

    @property
    def connected_from(self) -> float | None:
        """When the connection that is used was begun."""
        return self.connect_began if self.connect_ended is not None else None

    @property
    def failure_reason(self) -> str:
        """UPSTREAM_TRANSPORT_FAILURE_REASON: in Envoy's words, empty for an attempt that took too
        long, or that was not made.
        """
        failure = self.failure
        if failure is None or failure.cause is not Cause.CONNECT_FAILED:
            return ""
        return failure.detail

    @property
    def local_address(self) -> Address | None:
        """This side's end of the upstream connection."""
        return self.addresses.getHost() if self.addresses is not None else None

    @property
    def remote_address(self) -> Address | None:
        """The host's end of the upstream connection."""
        return self.addresses.getPeer() if self.addresses is not None else None


NO_UPSTREAM = UpstreamInfo()
"""What a connection has before tcp_proxy has it; not to be written to."""


@with_rare(
    filters_began=None,
    restored_local=None,
    peeked=False,
    hello=NO_HELLO,
    close_type=NORMAL,
    local_close_reason="",
    details="",
    termination_details="",
    idle_for=None,
    tls=NO_TLS,
    _stream_id="",
)
class StreamInfo:
    """What is known about a connection; see the module's text.

    :param number: what Envoy prints as CONNECTION_ID.
    :param addresses: its transport.
    :param started: when it was accepted.
    """

    __slots__ = (
        "_stream_id",
        "addresses",
        "bytes",
        "close_reason",
        "close_type",
        "details",
        "ended",
        "filter_state",
        "filters_began",
        "flags",
        "hello",
        "id",
        "idle_for",
        "listener",
        "local_close_reason",
        "metadata",
        "peeked",
        "phase",
        "restored_local",
        "restored_remote",
        "started",
        "termination_details",
        "tls",
        "upstream",
        "withheld",
    )

    filters_began: float | None
    """When the listener filters were done, where there were any."""

    restored_local: Address | None
    """Where the client wanted to go, where a listener filter knows it better than the socket."""

    peeked: bool
    """Whether listener filters have left bytes for its filter chain to read."""

    hello: ClientHello
    """What its first bytes say."""

    close_type: CloseType
    """How the client's side was closed."""

    local_close_reason: str
    """Why this side has closed it, in Envoy's words (`DOWNSTREAM_LOCAL_CLOSE_REASON`)."""

    details: str
    """RESPONSE_CODE_DETAILS: set where a client got no filter chain."""

    termination_details: str
    """CONNECTION_TERMINATION_DETAILS: what the filter that closed it has to say."""

    idle_for: float | None
    """For how many seconds nothing had moved either way when one side closed or reset it, where
    that is known.
    """

    tls: TlsFacts
    """What the handshake with the client has agreed on, or why it has failed."""

    _stream_id: str

    def __init__(
        self,
        number: int = 0,
        addresses: AddressProvider = NO_ADDRESSES,
        started: float = 0.0,
        phase: Phase = ACCEPTING,
    ) -> None:
        self.id = number
        self.addresses = addresses
        self.started = started
        self.phase = phase
        self.listener = NO_LISTENER
        # Every record of an access log asks for these: an empty slot would cost it a microsecond.
        self.restored_remote: Address | None = None
        """Where the client came from, where a listener filter knows it better than the socket."""
        self.flags: ResponseFlag = NO_FLAGS
        """Envoy's response flags."""
        self.ended: float | None = None
        """When the client's side was closed."""
        self.metadata = NO_METADATA
        """Dynamic metadata: what filters found out, by their names, each a mapping of plain values
        as in JSON.
        """
        self.filter_state = NO_FILTER_STATE
        """Objects that filters leave for others; read here, set with `set_filter_state`."""
        self.upstream = NO_UPSTREAM
        self.bytes = (0, 0, 0, 0)
        """Bytes read from the client, sent to the upstream, read from it and sent to the client,
        when they were last counted; after the end, all.
        """
        self.withheld = 0
        """Bytes from the client that filters have and nobody after them."""
        self.close_reason: CloseReason | None = None
        """Why the connection ended, or is about to."""

    @property
    def stream_id(self) -> str:
        """A random UUID of this connection, made when it is first asked for (`STREAM_ID`)."""
        if not self._stream_id:
            self._stream_id = str(uuid4())
        return self._stream_id

    @property
    def upstream_id(self) -> int:
        """The number of the upstream connection; 0 where there was none
        (`UPSTREAM_CONNECTION_ID`).
        """
        return self.id + 1 if self.upstream.connect_ended is not None else 0

    @property
    def direct_local_address(self) -> Address:
        """This side's end of the client's socket."""
        return self.addresses.getHost()

    @property
    def direct_remote_address(self) -> Address:
        """The other end of the client's socket."""
        return self.addresses.getPeer()

    @property
    def local_address(self) -> Address:
        """Where the client wanted to go."""
        return self.restored_local or self.addresses.getHost()

    @property
    def remote_address(self) -> Address:
        """Where the client came from: the one address for logs, rules, hashes and limits."""
        return self.restored_remote or self.addresses.getPeer()

    def set_filter_state(
        self, key: str, value: StateObject, read_only: bool = False, sharing: Sharing = Sharing.NONE
    ) -> None:
        """Put an object under a name, as `FilterState.set` does."""
        if self.filter_state is NO_FILTER_STATE:
            self.filter_state = FilterState()
        self.filter_state.set(key, value, read_only, sharing)

    def add_metadata(self, namespace: str, values: Mapping[str, Any]) -> None:
        """Add to the dynamic metadata of a name, in place of what has the same keys."""
        known = self.metadata
        self.metadata = {**known, namespace: {**known.get(namespace, {}), **values}}

    def close(self, reason: CloseReason) -> None:
        """Note why the connection ends: the first reason stays, but anything goes before the end of
        stream that half-closed it.
        """
        known = self.close_reason
        if known is None or known.cause is Cause.END_OF_STREAM:
            self.close_reason = reason
