"""How connections to the hosts of a cluster are opened: from which address, with which options, to
which of a host's addresses.

Most clusters say nothing of all this, and then it costs nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.socket_matches import Labels, TransportSockets, labels_in
from tcpmesh.config.fields.values import keepalive_settings, socket_options
from tcpmesh.connection.wrapped.network import WrappedNetwork
from tcpmesh.interfaces import INetwork
from tcpmesh.net.connecting.connect_check import ConnectCheckListener
from tcpmesh.net.connecting.happy_eyeballs import HappyEyeballs, in_turn
from tcpmesh.net.internal.listeners import WithInternal
from tcpmesh.registry import Context, WorkerContext
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.socket_options import ConnectOptions, SocketOption, keepalive
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions

FAMILIES = {"V4": socket.AF_INET, "V6": socket.AF_INET6}
UNBOUND = ConnectOptions()

MOST_UNTOLD = 256
"""So many hosts are remembered with what connects to them."""


class Dialer:
    """Opens connections as a `cluster.v3.Cluster` says.

    :param bind_config: the `upstream_bind_config` of the whole proxy, for clusters without one of
        their own; or `None`.
    :param sockets: the cluster's transport sockets, or `None` for none.  They belong to each
        attempt: whoever connects here gets a connection on which the handshake is over, or none.
    :param all_networks: the network for hosts that may be listeners in this process; `None` where
        there are none.
    """

    def __init__(
        self,
        message: Any,
        network: INetwork,
        bind_config: Any = None,
        sockets: TransportSockets | None = None,
        all_networks: INetwork | None = None,
    ) -> None:
        self._network = network
        self._all = network if all_networks is None else all_networks
        self._sockets = sockets
        self._untold: dict[int, WrappedNetwork] = {}
        """What connects to hosts where nothing is known of the connection alone: to make it takes
        as long as a message.
        """
        self.wraps = sockets is not None and sockets.wraps
        """Whether connections may have a transport socket."""
        self.needs_header = sockets is not None and sockets.needs_header
        """Whether one is to be told what a PROXY header says of the client."""
        if message.HasField("upstream_bind_config"):
            bind_config = message.upstream_bind_config
        options = message.upstream_connection_options
        probes = (
            keepalive(**keepalive_settings(options.tcp_keepalive))
            if options.HasField("tcp_keepalive")
            else ()
        )
        found = {family: _options(bind_config, family, probes) for family in FAMILIES.values()}
        self._options = found if any(found.values()) else None
        order = options.happy_eyeballs_config
        self._first = FAMILIES.get(
            options.FirstAddressFamilyVersion.Name(order.first_address_family_version)
        )
        self._count = max(1, order.first_address_family_count.value)

    def connect(
        self,
        host: Host,
        factory: Any,
        timeout: float,
        another: Callable[[], object],
        told: TransportSocketOptions = NO_OPTIONS,
    ) -> Any:
        """Connect to a host for a client within `timeout` seconds; the factory hears of the
        outcome.

        :param another: called when a further of its addresses is tried, within the same attempt.
        :param told: what is known of this connection alone.
        :return: an `IConnector`.
        """
        network = self._network_for(host.spec, told) if self.wraps else self._network
        address = host.address
        more = host.spec.additional_addresses
        if not more:
            options = None if self._options is None else self._options.get(address.family)
            if told.socket is not None:
                options = _joined(options, told.socket)
            if address.family == socket.AF_UNSPEC and not self.wraps:
                network = self._all  # it is an internal listener's
            return network.connect(address, factory, timeout, options, True)
        addresses = in_turn((address, *more), self._first or address.family, self._count)
        race = HappyEyeballs(
            network if self.wraps else self._all,
            [(each, _joined(self.options(each), told.socket)) for each in addresses],
            factory,
            timeout,
            another,
            True,
        )
        race.connect()
        return race

    def dial(self, address: Address, factory: Any, timeout: float) -> Any:
        """Connect to an address for ourselves, without a transport socket, within `timeout`
        seconds.

        :return: an `IConnector`.
        """
        return self._network.connect(address, factory, timeout, self.options(address))

    def connect_check(
        self, address: Address, listener: ConnectCheckListener, timeout: float
    ) -> Any:
        """What finds out, time and again, whether such a connection can be made: see
        `INetwork.connect_check`.
        """
        return self._network.connect_check(address, listener, timeout, self.options(address))

    def for_checks(self, message: Any) -> CheckDialer | None:
        """Opens the connections of a `core.v3.HealthCheck`, where they may have a transport
        socket.
        """
        return CheckDialer(self, message) if self.wraps else None

    def pool_key(self, spec: HostSpec, told: TransportSocketOptions) -> Hashable:
        """What has to be equal for clients to share a pool of connections to a host."""
        return told if self._sockets is None else self._sockets.pool_key(spec, told)

    def _network_for(
        self, spec: HostSpec, told: TransportSocketOptions, criteria: Labels | None = None
    ) -> INetwork:
        """What connects to a host."""
        wrapped = self._sockets.find(spec, criteria) if self._sockets is not None else None
        if wrapped is None:
            return self._network
        if told is not NO_OPTIONS:
            return wrapped.with_options(replace(told, host=spec))
        known = self._untold.get(id(spec))  # which holds the spec, so its number stays its own
        if known is None or known.socket is not wrapped.socket:
            if len(self._untold) >= MOST_UNTOLD:
                self._untold.clear()
            known = self._untold[id(spec)] = wrapped.with_options(replace(told, host=spec))
        return known

    def close(self) -> None:
        """No more connections will be opened; those that are open live on."""
        if self._sockets is not None:
            self._sockets.close()

    def options(self, address: Address) -> ConnectOptions | None:
        """The options of a connection to this address; `None` where there are none, as for a unix
        socket.
        """
        return None if self._options is None else self._options.get(address.family)


class CheckDialer:
    """Opens the connections of one health check of a cluster with transport sockets: with a match
    and application protocols of its own, where it says so.
    """

    def __init__(self, dialer: Dialer, message: Any) -> None:
        self._dialer = dialer
        protocols = tuple(message.tls_options.alpn_protocols)
        self._told = TransportSocketOptions(application_protocols=protocols)
        self._criteria: Labels | None = None
        if message.HasField("transport_socket_match_criteria"):
            self._criteria = labels_in(message.transport_socket_match_criteria)

    def dial(self, spec: HostSpec, address: Address, factory: Any, timeout: float) -> Any:
        """Connect to a host, at this address, within `timeout` seconds.

        :return: an `IConnector`.
        """
        network = self._dialer._network_for(spec, self._told, self._criteria)
        return network.connect(address, factory, timeout, self._dialer.options(address))

    def connect_check(
        self, spec: HostSpec, address: Address, listener: ConnectCheckListener, timeout: float
    ) -> Any:
        """What finds out, time and again, whether a connection to a host can be made, its handshake
        included: see `INetwork.connect_check`.
        """
        network = self._dialer._network_for(spec, self._told, self._criteria)
        return network.connect_check(address, listener, timeout, self._dialer.options(address))


def dialer_of(message: Any, context: Context) -> Dialer:
    """The dialer of a `cluster.v3.Cluster`.

    :raise tcpmesh.registry.UnknownExtension: where a transport socket of it is not known.
    """
    network = context.network
    if message.HasField("metadata"):
        context = replace(context, cluster_metadata=message.metadata)
    if isinstance(context, WorkerContext) and context.internal is not None:
        network = WithInternal(network, context.internal)
    sockets = TransportSockets(message, network, context)
    with all_or_nothing() as undo:
        undo.callback(sockets.close)
        return Dialer(message, context.network, context.bind_config, sockets, network)


def _joined(ours: ConnectOptions | None, own: ConnectOptions | None) -> ConnectOptions | None:
    """The options of the cluster, and those of one connection."""
    if ours is None or own is None:
        return ours or own
    return replace(
        ours,
        source=own.source or ours.source,
        before_bind=ours.before_bind + own.before_bind,
        after_bind=ours.after_bind + own.after_bind,
        hops=own.hops,
    )


def _options(
    bind_config: Any, family: int, probes: tuple[SocketOption, ...]
) -> ConnectOptions | None:
    """The options of connections to this family of addresses."""
    if bind_config is None:
        return ConnectOptions(before_bind=probes) if probes else None
    source, messages = _source(bind_config, family)
    options = ConnectOptions(
        source=source,
        freebind=bind_config.freebind.value,
        before_bind=probes
        + tuple(SocketOption(*each) for each in socket_options(messages, "STATE_PREBIND")),
        after_bind=tuple(SocketOption(*each) for each in socket_options(messages, "STATE_BOUND")),
    )
    return None if options == UNBOUND else options


def _source(bind_config: Any, family: int) -> tuple[Address | None, Any]:
    """The source for a family, if there is one: `source_address`, or the first extra one of the
    family; and its socket options.
    """
    if bind_config.HasField("source_address"):
        source = Address(*_host_and_port(bind_config.source_address))
        if source.family == family:
            return source, bind_config.socket_options
    for extra in bind_config.extra_source_addresses:
        source = Address(*_host_and_port(extra.address))
        if source.family == family:
            own = extra.HasField("socket_options")
            return (
                source,
                extra.socket_options.socket_options if own else bind_config.socket_options,
            )
    return None, bind_config.socket_options


def _host_and_port(message: Any) -> tuple[str, int]:
    """What a `core.v3.SocketAddress` says."""
    return message.address, message.port_value
