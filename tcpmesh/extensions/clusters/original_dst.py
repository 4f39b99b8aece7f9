"""ORIGINAL_DST clusters: the host is wherever the client wanted to go.

Who that is, the first of these says that says anything: the filter state
`envoy.network.transport_socket.original_dst_address`, the dynamic metadata under `metadata_key`,
and the local address that a listener filter (original_dst, proxy_protocol) has restored. A
connection of which none is known has no host (flag UH).  `upstream_port_override` replaces the port
of any of them.

A host is made by the first connection that names it.  It is forgotten when in a whole
`cleanup_interval` nobody named it, and nobody is connected to it any more.  Health does not matter:
there is no other host to go to.

Left out: `use_http_header`, which is accepted and says nothing to TCP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from zope.interface import implementer, provider

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.state_objects import Endpoint
from tcpmesh.interfaces import (
    IBringsBalancer,
    ILoadBalancer,
    INamedHostsBalancer,
    INamedHostsDiscovery,
)
from tcpmesh.registry import MainContext, enum_value
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HostSpec
from tcpmesh.values.stream.stream_info import StreamInfo

log = Logger(namespace="upstream")

FILTER_STATE = "envoy.network.transport_socket.original_dst_address"

CLEANUP_INTERVAL = 5.0
"""Seconds (`cleanup_interval`)."""

PAUSE = 0.01
"""Seconds, for each hundred hosts there are, that a new one waits to be shown.  A change costs
about 10 us for each host there is: so destinations that are ever new take a tenth of the processor
at most."""


@enum_value("clusters", "ORIGINAL_DST")
@provider(IBringsBalancer)
@implementer(INamedHostsDiscovery)
class OriginalDstCluster:
    """Main's side: which hosts connections have named, and when they are forgotten."""

    dropped_hosts_stay = False

    def __init__(self, message: Any, context: MainContext) -> None:
        self.warm: Deferred[None] = Deferred()
        self._clock = context.network.clock
        self._interval = (
            seconds(message.cleanup_interval)
            if message.HasField("cleanup_interval")
            else CLEANUP_INTERVAL
        )
        self._hosts: dict[Address, HostSpec] = {}
        self._ask: Callable[[], object] | None = None
        self._found: Callable[[Assignment], object] | None = None
        self._cleaning: IDelayedCall | None = None
        self._telling: IDelayedCall | None = None

    @staticmethod
    def balancer(message: Any, config: Any, context: PolicyContext) -> ILoadBalancer:
        """A worker's side."""
        return OriginalDstBalancer(message, context)

    def follow(self, ask: Callable[[], object]) -> None:
        """`ask` has workers say which hosts are unused."""
        self._ask = ask

    def start(self, found: Callable[[Assignment], object]) -> None:
        """There are no hosts yet."""
        self._found = found
        self._cleaning = self._clock.callLater(self._interval, self._clean)
        self.warm.callback(None)

    def stop(self) -> None:
        """Hosts come and go no more."""
        for call in (self._cleaning, self._telling):
            if call is not None:
                call.cancel()
        self._cleaning = self._telling = self._found = None

    def host_seen(self, host: HostSpec) -> None:
        """A connection has named this host."""
        if self._hosts.setdefault(host.address, host) is host:
            self._hosts_changed()

    def hosts_unused(self, hosts: Iterable[HostSpec]) -> None:
        """No connection has named these for a whole interval."""
        for host in hosts:
            self._hosts.pop(host.address, None)
        self._hosts_changed()

    def _hosts_changed(self) -> None:
        """Tell of it in the next turn of the event loop, or a little later where there are many: a
        connection needs no telling.
        """
        if self._telling is None and self._found is not None:
            self._telling = self._clock.callLater(len(self._hosts) // 100 * PAUSE, self._tell)

    def _tell(self) -> None:
        self._telling = None
        if self._found is not None:
            self._found(Assignment(tuple(self._hosts.values())))

    def _clean(self) -> None:
        self._cleaning = self._clock.callLater(self._interval, self._clean)
        if self._ask is not None:
            self._ask()


@implementer(INamedHostsBalancer)
class OriginalDstBalancer:
    """Picks the host that the connection itself names."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        config = message.original_dst_lb_config
        self.hosts: dict[Address, Host] = {}
        self._used: set[Address] = set()
        """What was picked since hosts were last forgotten."""
        self._name = message.name
        self._context = context
        self._key = (config.metadata_key.key, *(each.key for each in config.metadata_key.path))
        self._has_key: bool = config.HasField("metadata_key")
        self._port: int | None = (
            config.upstream_port_override.value
            if config.HasField("upstream_port_override")
            else None
        )

    def update(self, sets: HostSets) -> None:
        """Main knows these hosts: all that connections have named, here and elsewhere, but for the
        latest.
        """
        latest = {address: host for address, host in self.hosts.items() if host.key is None}
        self.hosts = latest | {host.address: host for host in sets.hosts}

    def pick(self, context: Any) -> Host | None:
        """The host of a session's connection."""
        info: StreamInfo | None = getattr(context, "stream_info", None)
        address = self._address_of(info) if info is not None else None
        if address is None:
            log.debug(
                "cluster {name}: a connection without an original destination", name=self._name
            )
            return None
        self._used.add(address)
        return self.hosts.get(address) or self._new_host(address)

    def candidates(self, context: Any) -> Iterator[Host]:
        """The same host, if any: there is no other."""
        host = self.pick(context)
        if host is not None:
            yield host

    def forget_unused(self, is_alone: bool = True) -> list[Host]:
        """Forget the hosts that were not picked since the last time and have no connections.

        :param is_alone: whether no other worker may use them; else only those that main does not
            know are forgotten.
        """
        unused = [
            host
            for address, host in self.hosts.items()
            if address not in self._used and not host.cx_active
        ]
        self._used.clear()
        for host in unused:
            if is_alone or host.key is None:
                del self.hosts[host.address]
        return unused

    def _new_host(self, address: Address) -> Host:
        assert self._context.host_for is not None
        host = self.hosts[address] = self._context.host_for(
            HostSpec(address, hostname=f"{self._name}{address}")
        )
        return host

    def _address_of(self, info: StreamInfo) -> Address | None:
        address = self._from_filter_state(info) or self._from_metadata(info) or info.restored_local
        if address is None or self._port is None:
            return address
        return Address(address.host, self._port)

    @staticmethod
    def _from_filter_state(info: StreamInfo) -> Address | None:
        found = info.filter_state.get(FILTER_STATE)
        return found.value if isinstance(found, Endpoint) else None

    def _from_metadata(self, info: StreamInfo) -> Address | None:
        found: Any = info.metadata if self._has_key else None
        for key in self._key:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, (list, tuple)) and found:
            found = found[0]
        return self._parsed(found) if isinstance(found, str) else None

    def _parsed(self, text: str) -> Address | None:
        """The address in a text; one that is none is counted, and then the connection has to tell
        in another way.
        """
        try:
            return Address.from_text(text)
        except ValueError:
            self._context.stats.original_dst_host_invalid.tally += 1
            return None
