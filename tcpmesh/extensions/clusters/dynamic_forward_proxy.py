"""`envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig`: the host is the server that
the client asks for by name, at the address that a DNS cache has for it.

The name is the filter state `envoy.upstream.dynamic_host`, or else the name in the client's TLS
hello (SNI); the port is `envoy.upstream.dynamic_port`, or else 443 with TLS to hosts, 80 without.
A name may bring a port of its own, as in Envoy.  The filter sni_dynamic_forward_proxy has a client
wait until its name is known; without it the first client of a name finds no host (UH), and has it
looked up for those that follow.

Each name is one host, its further addresses are tried in the same attempt.  Health does not matter
but for a host that is out: then there is none.

Left out: `sub_clusters_config`, where each name is a cluster of its own, which only requests of
HTTP can wait for.  `allow_insecure_cluster_options` and `allow_coalesced_connections` say nothing
to TCP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2
from zope.interface import implementer, provider

from twisted.internet.defer import Deferred, succeed

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.cluster.names.settings import key_of
from tcpmesh.cluster.names.tables import tables_of
from tcpmesh.connection.state_objects import DYNAMIC_HOST, DYNAMIC_PORT, Number
from tcpmesh.interfaces import (
    IBringsBalancer,
    IDiscovery,
    ILoadBalancer,
    INamedHostsBalancer,
)
from tcpmesh.registry import MainContext, extension
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, Health, HostSpec
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.stream_info import StreamInfo

PAUSE = 0.01
"""Seconds, for each hundred hosts there are, that a new one waits to be shown: a change goes
through all of them, and a connection does not wait for it.
"""


@extension(cluster_pb2.ClusterConfig)
@provider(IBringsBalancer)
class DynamicForwardProxy:
    """Built from a `ClusterConfig`."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self._message = message
        self._context = context

    def discovery(self, cluster: Any) -> IDiscovery:
        """What finds the hosts of a `cluster.v3.Cluster` of this type."""
        found: IDiscovery = NamesDiscovery(self._message.dns_cache_config, self._context)
        return found

    @staticmethod
    def balancer(message: Any, config: Any, context: PolicyContext) -> ILoadBalancer:
        """A worker's side."""
        return NamesBalancer(message, config, context)


@implementer(IDiscovery)
class NamesDiscovery:
    """Main's side: each name of the cache that has addresses is a host."""

    dropped_hosts_stay = False

    def __init__(self, config: Any, context: MainContext) -> None:
        self.warm: Deferred[None] = succeed(None)
        assert context.names is not None
        self._cache = context.names.get(config)
        self._clock = context.network.clock
        self._found: Callable[[Assignment], object] = lambda assignment: None
        self._unfollow: Callable[[], object] | None = None
        self._telling: Any = None
        self._count = 0

    def start(self, found: Callable[[Assignment], object]) -> None:
        """Tell of the names that there are, and of all changes."""
        self._found = found
        self._unfollow = self._cache.follow(self._changed)
        self._tell()

    def stop(self) -> None:
        """Tell no more."""
        unfollow, self._unfollow = self._unfollow, None
        if unfollow is not None:
            unfollow()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    def _changed(self) -> None:
        if self._telling is None:
            self._telling = self._clock.callLater(self._count // 100 * PAUSE, self._tell)

    def _tell(self) -> None:
        self._telling = None
        specs = tuple(_spec(*each) for each in self._cache.hosts())
        self._count = len(specs)
        self._found(Assignment(specs))


def _spec(key: str, addresses: tuple[Address, ...]) -> HostSpec:
    return HostSpec(addresses[0], hostname=key, additional_addresses=addresses[1:])


@implementer(INamedHostsBalancer)
class NamesBalancer:
    """Picks the host that the connection itself names."""

    def __init__(self, message: Any, config: Any, context: PolicyContext) -> None:
        assert context.host_for is not None
        self._host_for = context.host_for
        self._tables = tables_of(context)
        self._table = self._tables.hold(config.dns_cache_config, message.cluster_type.typed_config)
        self._port = 443 if message.HasField("transport_socket") else 80
        self._hosts: dict[str, Host] = {}

    def update(self, sets: HostSets) -> None:
        """Main knows these hosts: all but the latest."""
        latest = {key: host for key, host in self._hosts.items() if host.key is None}
        self._hosts = latest | {host.spec.hostname: host for host in sets.hosts}

    def pick(self, context: Any) -> Host | None:
        """The host of a session's connection."""
        info: StreamInfo | None = getattr(context, "stream_info", None)
        name = _name_of(info) if info is not None else ""
        if info is None or not name:
            return None
        key = key_of(name, _port_of(info, self._port))
        addresses = self._table.find(key)
        if addresses is None:
            self._table.ask(key)
        if not addresses or not addresses[0].port:
            return None
        spec = _spec(key, addresses)
        host = self._hosts.get(key)
        if host is None or host.address != spec.address:
            host = self._hosts[key] = self._host_for(spec)
        return host if host.health is not Health.UNHEALTHY else None

    def candidates(self, context: Any) -> Iterator[Host]:
        """The same host, if any: there is no other."""
        host = self.pick(context)
        if host is not None:
            yield host

    def forget_unused(self, is_alone: bool = True) -> list[Host]:
        """Main knows itself which names are used."""
        return []


def _name_of(info: StreamInfo) -> str:
    found = info.filter_state.get(DYNAMIC_HOST)
    return found.value if isinstance(found, Text) else info.hello.server_name


def _port_of(info: StreamInfo, default: int) -> int:
    found = info.filter_state.get(DYNAMIC_PORT)
    return found.value if isinstance(found, Number) and 0 < found.value <= 65535 else default
