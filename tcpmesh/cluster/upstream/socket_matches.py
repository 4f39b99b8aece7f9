"""Which transport socket a host of a cluster gets: that of the first of its
`transport_socket_matches` that its metadata fits, or else the cluster's own.

A host is matched by what its metadata, or else that of its locality, has under
`envoy.transport_socket_match`; a health check may have criteria of its own instead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from tcpmesh.config.fields.to_plain import plain_value
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.connection.wrapped.network import WrappedNetwork
from tcpmesh.interfaces import (
    INetwork,
    IPerClientTransportSocketFactory,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.registry import Context
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions

NAMESPACE = "envoy.transport_socket_match"

Labels = Mapping[str, Any]


def labels_of(metadata: Any) -> Labels:
    """What a `core.v3.Metadata`, or `None`, has to be matched."""
    if metadata is None or NAMESPACE not in metadata.filter_metadata:
        return {}
    return labels_in(metadata.filter_metadata[NAMESPACE])


def labels_in(struct: Any) -> Labels:
    """The fields of a `google.protobuf.Struct`."""
    found: Any = plain_value(struct)
    return found  # type: ignore[no-any-return]


class MatchRules:
    """What the `transport_socket_matches` of a `cluster.v3.Cluster` ask for."""

    def __init__(self, message: Any) -> None:
        self._wanted: tuple[Labels, ...] = tuple(
            labels_in(each.match) for each in message.transport_socket_matches
        )
        self.names = tuple(each.name for each in message.transport_socket_matches)

    def index(self, spec: HostSpec) -> int | None:
        """The number of the match that a host fits, or `None`."""
        found = self.fitting(labels_of(spec.metadata))
        return self.fitting(labels_of(spec.locality_metadata)) if found is None else found

    def fitting(self, labels: Labels) -> int | None:
        """The number of the first match that these fit."""
        for index, wanted in enumerate(self._wanted):
            if all(name in labels and labels[name] == value for name, value in wanted.items()):
                return index
        return None


class TransportSockets:
    """The transport sockets of one cluster, and the networks on which connections have them.

    :raise tcpmesh.registry.UnknownExtension: where one is not known.
    """

    def __init__(self, message: Any, network: INetwork, context: Context) -> None:
        self._network = network
        self._rules = MatchRules(message) if message.transport_socket_matches else None
        self._closing: list[Callable[[], None]] = []
        self.needs_header = False
        """Whether one is to be told what a PROXY header says of the client."""
        with all_or_nothing() as undo:
            undo.callback(self.close)
            self._own = self._wrapped(message, context)
            self._matched = tuple(
                self._wrapped(each, context) for each in message.transport_socket_matches
            )

    def _wrapped(self, message: Any, context: Context) -> WrappedNetwork | None:
        socket = transport_socket(message, IUpstreamTransportSocketFactory, context)
        if socket is None:
            return None
        self._closing.append(socket.close)
        if IPerClientTransportSocketFactory.providedBy(socket):
            self.needs_header |= bool(socket.needs_header)
        return WrappedNetwork(self._network, socket)

    @property
    def wraps(self) -> bool:
        """Whether any host has one."""
        return bool(self._closing)

    def find(self, spec: HostSpec, criteria: Labels | None = None) -> WrappedNetwork | None:
        """The network for connections to a host; `None` where bytes go as they are.

        :param criteria: what is matched in place of what the host has.
        """
        if self._rules is None:
            return self._own
        rules = self._rules
        index = rules.index(spec) if criteria is None else rules.fitting(criteria)
        return self._own if index is None else self._matched[index]

    def pool_key(self, spec: HostSpec, told: TransportSocketOptions) -> Hashable:
        """What has to be equal for clients to share a pool of connections to a host."""
        wrapped = self.find(spec)
        if wrapped is not None and IPerClientTransportSocketFactory.providedBy(wrapped.socket):
            key: Hashable = wrapped.socket.pool_key(told)
            return key
        return told

    def close(self) -> None:
        """No more connections will be made; those that are live on."""
        while self._closing:
            self._closing.pop()()
