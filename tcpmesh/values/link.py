"""What main and a worker tell each other: frozen messages, and nothing else passes between them.

Main decides: it knows the configuration, which hosts there are and how they are.  A worker serves:
it has the sockets, picks hosts and relays.  Each message is a value, with a byte form of its own in
`tcpmesh.server.link`, so that the other side may be another process.  A cluster, a listener and a
host go by numbers that main gives them: names and addresses can be had twice.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeAlias

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address
from tcpmesh.values.drain import DEFAULTS, DrainScope, DrainTimes
from tcpmesh.values.hosts import Assignment, HostSpec
from tcpmesh.values.overload import NO_OVERLOAD_MANAGER, OverloadSettings
from tcpmesh.values.runtime import Entry
from tcpmesh.values.shared.secrets import SecretKey

# From main to a worker


@dataclass(frozen=True)
class Begin:
    """The first message: what a worker is to know of the proxy."""

    index: int
    """The number of this worker, from 0."""

    node: Any
    """The `core.v3.Node` that the proxy is."""

    local_cluster: str = ""
    bind_config: Any = None
    """A `core.v3.BindConfig`, or `None`."""

    stats_config: Any = None
    """A `metrics.v3.StatsConfig`, or `None`."""

    keeps_values: bool = False
    """Whether histograms keep their values as they are, for a stats sink of main's."""

    file_flush_interval_msec: int = 10_000
    file_flush_min_size_kb: int = 64
    """When access logs are written to their files: the options of the command line."""

    runtime: tuple[tuple[str, Entry], ...] = ()
    """The runtime values by their keys."""

    secrets: tuple[Any, ...] = ()
    """The static secrets, each a `tls.v3.Secret`."""

    drain: DrainTimes = DEFAULTS
    """How drains go."""

    discovered_secrets: tuple[PutSecret, ...] = ()
    """What discovery has brought of secrets so far."""

    overload: OverloadSettings = NO_OVERLOAD_MANAGER
    """What is to be done for want of resources, and how much of that now."""
    workers: int = 1
    """How many workers there are.  Where there are several, main binds all addresses."""

    generation: int = 1
    """How many processes there were that have taken over from each other, with this one."""

    internal_buffer: int = 1 << 20
    """Bytes that fit into each direction of a connection to a listener in the same process."""


@dataclass(frozen=True)
class AddCluster:
    """Build a cluster; nobody finds it yet."""

    cluster: int
    message: Any
    """A `cluster.v3.Cluster`."""


@dataclass(frozen=True)
class ServeCluster:
    """New connections to its name are this cluster's, and no longer those of the one before."""

    cluster: int


@dataclass(frozen=True)
class RemoveCluster:
    """The cluster is not wanted any more; connections go on."""

    cluster: int


@dataclass(frozen=True)
class Hosts:
    """These are the hosts of a cluster, in this order: their keys, their flags, their specs."""

    cluster: int
    keys: tuple[int, ...]
    flags: tuple[int, ...]
    """A `HealthFlag` of each, without what follows from the spec."""

    assignment: Assignment


@dataclass(frozen=True)
class Flags:
    """How a host is."""

    cluster: int
    host: int
    flags: int


@dataclass(frozen=True)
class Rebalance:
    """The load balancer is to learn of all that was told of the hosts."""

    cluster: int


@dataclass(frozen=True)
class PauseCluster:
    """Hold new connections of clients to a cluster for so many seconds; 0 to hold them no more."""

    cluster: int
    seconds: float


@dataclass(frozen=True)
class Cleanup:
    """Which hosts that connections have named are in use no more?"""

    cluster: int
    is_alone: bool = True
    """Whether hosts that this worker does not use are used by nobody."""


@dataclass(frozen=True)
class AddListener:
    """Build a listener and bind it: open once the workers have started.

    Where there are several workers main has bound it.  With the message come its sockets then, at
    least one for each of its addresses, in their order; none where clients are not to be accepted.
    """

    listener: int
    name: str
    message: Any
    """A `listener.v3.Listener`."""

    predecessor: int = 0
    """The listener that this one replaces, whose sockets it may take over, and which drains from
    then on; 0 for none.
    """

    sockets: tuple[int, ...] = ()
    """How many of the sockets that come with it belong to each address."""


@dataclass(frozen=True)
class BuildAhead:
    """Build in small steps the filter chains that `AddListener` or `UpdateChains` will bring soon;
    `BuiltAhead` answers.
    """

    listener: int
    """The number that the new listener will have, or has where only chains are new."""

    name: str
    message: Any
    """A `listener.v3.Listener`."""

    come: tuple[int, ...] | None = None
    """The places of the chains that are new in a listener that stays; `None` where it is new."""


@dataclass(frozen=True)
class ShareClients:
    """There are listeners whose clients workers pass to each other.  With the message come the
    sockets for that: what is passed to this worker, and then one that leads to each worker.
    """


@dataclass(frozen=True)
class UpdateChains:
    """A listener has these filter chains from now on, and nothing else of it has changed; the
    clients of chains that are no more stay.
    """

    listener: int
    update: int
    """The number of the update."""

    message: Any
    """The `listener.v3.Listener`."""

    gone: tuple[int, ...]
    """Places of chains in the message before that are not in this one."""

    come: tuple[int, ...]
    """... and of those in this one that were not in the one before."""


@dataclass(frozen=True)
class CloseChains:
    """Close the clients of the chains that an update has left out: they have had their time."""

    update: int


@dataclass(frozen=True)
class RemoveListener:
    """Accept no more clients for a listener, which drains from now on."""

    listener: int


@dataclass(frozen=True)
class EndListener:
    """Close the clients of a listener that was replaced or removed: they have had their time."""

    listener: int


@dataclass(frozen=True)
class StartDrain:
    """Listeners drain, and still accept clients."""

    scope: DrainScope


@dataclass(frozen=True)
class StopListening:
    """Accept no more clients for listeners; those connected stay."""

    scope: DrainScope


@dataclass(frozen=True)
class FailHealthChecks:
    """The proxy is made to fail its health checks, or no more."""

    fails: bool


@dataclass(frozen=True)
class Prepare:
    """Clients will come: is all ready that picks need?"""


@dataclass(frozen=True)
class Start:
    """Open all listeners, also those that come later."""


@dataclass(frozen=True)
class Stop:
    """Accept no more clients, and close all there are."""


@dataclass(frozen=True)
class LogLevels:
    """The (logger, level) pairs that hold from now on."""

    levels: tuple[tuple[str, str], ...]
    default: str = "info"
    """The level of other loggers."""


@dataclass(frozen=True)
class ReopenLogs:
    """Open the files of access logs anew."""


@dataclass(frozen=True)
class RuntimeValues:
    """Keys that have these runtime values from now on, or none any more.

    A change of many keys comes in several messages, each of a bounded size, and holds as a whole
    once the last one is there.
    """

    change: int
    """The number of the change."""

    values: tuple[tuple[str, Entry | None], ...]
    is_last: bool


@dataclass(frozen=True)
class Secrets:
    """The static secrets, each a `tls.v3.Secret`: for what is built from now on."""

    messages: tuple[Any, ...]


@dataclass(frozen=True)
class KeepValues:
    """Keep the values of histograms as they are from now on, for a stats sink of main's."""


@dataclass(frozen=True)
class OverloadLevels:
    """These actions and load shed points of the overload manager are active as far as that."""

    levels: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ShrinkHeap:
    """Give memory back that is not in use."""

    most_unfreed: int
    """Bytes that may be kept."""


@dataclass(frozen=True)
class AskRates:
    """An interval of outlier detection is over: how did connections come out?"""

    cluster: int


@dataclass(frozen=True)
class AskHostNumbers:
    """What has each host of a cluster counted?"""

    cluster: int
    """0 for each of all clusters."""


@dataclass(frozen=True)
class AskNumbers:
    """What was counted since this was last asked?"""


@dataclass(frozen=True)
class PutSecret:
    """Discovery has brought a secret, or another content of one."""

    key: SecretKey
    message: Any
    """A `tls.v3.Secret`, with the contents of the files that it names."""


@dataclass(frozen=True)
class DropSecret:
    """Nobody needs a secret of discovery's any more."""

    key: SecretKey


@dataclass(frozen=True)
class HostFails:
    """A connection to a host has failed in another worker: the next one that is made here is to be
    told.
    """

    cluster: int
    host: int


@dataclass(frozen=True)
class AskClients:
    """How many clients are there?"""


@dataclass(frozen=True)
class Ask:
    """Say when all is answered that was asked before this."""

    ask: int


@dataclass(frozen=True)
class SharedBlocks:
    """Where what is built next has the counts that workers share."""

    blocks: tuple[tuple[str, int], ...]
    """(owner, number of the block) of each: see `tcpmesh.values.shared.memory`."""


@dataclass(frozen=True)
class NameState:
    """What a name of a DNS cache is."""

    key: str
    """The name and a port."""

    addresses: tuple[Address, ...]
    """None where it has none."""

    has_room: bool = True
    """Whether the cache has room for it: else nothing is known of it, and who waits waits in
    vain.
    """


@dataclass(frozen=True)
class Names:
    """Names of a DNS cache are now this."""

    cache: str
    names: tuple[NameState, ...]


@dataclass(frozen=True)
class NamesGone:
    """A DNS cache has these names no more."""

    cache: str
    keys: tuple[str, ...]


# From a worker to main


class Refusal(Enum):
    """Why something cannot be built."""

    UNKNOWN = 1
    """No module has the extension."""

    BROKEN = 2
    """The extension of another package fails."""

    ADDRESS = 3
    """An address cannot be bound."""

    LOG = 4
    """The file of an access log cannot be opened."""


@dataclass(frozen=True)
class ClusterRefused:
    """A cluster cannot be built."""

    cluster: int
    why: Refusal
    reason: str


@dataclass(frozen=True)
class ListenerRefused:
    """A listener cannot be built, bound or opened."""

    listener: int
    why: Refusal
    reason: str


@dataclass(frozen=True)
class BuiltAhead:
    """What was to be built ahead is, or cannot be: adding it will tell."""

    listener: int


@dataclass(frozen=True)
class Bound:
    """A listener has these addresses."""

    listener: int
    addresses: tuple[Address, ...]
    is_open: bool
    """Whether clients are accepted there."""


class Outcome(Enum):
    """What came of a connection to a host."""

    FAILED = 1
    RECOVERED = 2
    """It was made, as the first one after others had failed."""


@dataclass(frozen=True)
class ConnectOutcome:
    """A connection failed, or the first one since is made; told where outliers are detected."""

    cluster: int
    host: int
    outcome: Outcome


@dataclass(frozen=True)
class ClusterUsed:
    """A connection is made for a client, the first one of a cluster."""

    cluster: int


@dataclass(frozen=True)
class ClusterEnded:
    """Nothing is left of a cluster that was removed."""

    cluster: int


@dataclass(frozen=True)
class HostSeen:
    """A connection has named a host that nobody knew."""

    cluster: int
    host: HostSpec


@dataclass(frozen=True)
class HostsUnused:
    """No connection has named these hosts for a while, or is connected to them."""

    cluster: int
    hosts: tuple[int, ...]


@dataclass(frozen=True)
class OpenNames:
    """A filter or cluster has a DNS cache."""

    message: Any
    """Its `common.dynamic_forward_proxy.v3.DnsCacheConfig`."""


@dataclass(frozen=True)
class NameWanted:
    """A client is for a name of a DNS cache: told the first time, and then now and then."""

    cache: str
    key: str


@dataclass(frozen=True)
class Rates:
    """(host, connections tried, connections made) of each host that had any in the interval."""

    cluster: int
    rates: tuple[tuple[int, int, int], ...]


HOST_COUNTERS = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
HOST_GAUGES = ("cx_active", "rq_active", "rq_pending_active")
"""What is counted of each host, as `/clusters` shows it."""


@dataclass(frozen=True)
class HostNumbers:
    """The host and its numbers, in the order of `HOST_COUNTERS` and `HOST_GAUGES`, of each host
    that has any.
    """

    cluster: int
    numbers: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Prepared:
    """All is ready that picks need."""


@dataclass(frozen=True)
class Stopped:
    """All clients are gone."""


@dataclass(frozen=True)
class Clients:
    """So many clients are there."""

    worker: int
    connections: int


@dataclass(frozen=True)
class Answered:
    """All is answered that was asked before."""

    worker: int
    ask: int


@dataclass(frozen=True)
class Alive:
    """The event loop turns: told again and again, where somebody watches over that."""


ToWorker: TypeAlias = (
    Begin
    | AddCluster
    | ServeCluster
    | RemoveCluster
    | Hosts
    | Flags
    | Rebalance
    | PauseCluster
    | Cleanup
    | AddListener
    | BuildAhead
    | UpdateChains
    | CloseChains
    | RemoveListener
    | EndListener
    | StartDrain
    | StopListening
    | FailHealthChecks
    | Prepare
    | Start
    | Stop
    | LogLevels
    | ReopenLogs
    | RuntimeValues
    | OverloadLevels
    | ShrinkHeap
    | AskRates
    | AskHostNumbers
    | AskNumbers
    | Secrets
    | KeepValues
    | PutSecret
    | DropSecret
    | SharedBlocks
    | HostFails
    | ShareClients
    | AskClients
    | Ask
    | Names
    | NamesGone
)

ToMain: TypeAlias = (
    ClusterRefused
    | ListenerRefused
    | BuiltAhead
    | Bound
    | ConnectOutcome
    | ClusterUsed
    | ClusterEnded
    | HostSeen
    | HostsUnused
    | Rates
    | HostNumbers
    | Prepared
    | Stopped
    | Clients
    | Answered
    | Alive
    | OpenNames
    | NameWanted
)
