"""override_host: a connection that names its host is given to it, and all others to the policy
within.

The name is the text of an address, or several with commas between, in the connection's dynamic
metadata; they are tried in this order, one at each connect attempt, whatever their health, as in
Envoy.  A `header` as the source is left out of account, for a TCP connection has none.

Of the `context` of a pick this reads `stream_info.metadata` and `attempted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from envoy.extensions.load_balancing_policies.override_host.v3 import override_host_pb2
from zope.interface import implementer

from tcpmesh.cluster.balancing.policy import PolicyContext, first_known
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import extension


@extension(override_host_pb2.OverrideHost)
@implementer(ILoadBalancer)
class OverrideHost:
    """Built from an `OverrideHost` message."""

    def __init__(self, message: Any, context: PolicyContext) -> None:
        keys = [
            source.metadata
            for source in message.override_host_sources
            if source.HasField("metadata")
        ]
        self._paths = tuple((key.key, *(segment.key for segment in key.path)) for key in keys)
        self._within = first_known(message.fallback_policy, context)
        self._by_address: dict[str, Host] = {}

    def update(self, sets: HostSets) -> None:
        """Give connections to these hosts from now on."""
        self._by_address = {str(host.address): host for host in sets.hosts}
        self._within.update(sets)

    def pick(self, context: Any) -> Host | None:
        """The first host that the connection names and has not tried, or one of the policy
        within.
        """
        for named in self._named(context):
            if named not in context.attempted:
                return named
        host: Host | None = self._within.pick(context)
        return host

    def candidates(self, context: Any) -> Iterator[Host]:
        """The hosts that the connection names, then those of the policy within."""
        yield from self._named(context)
        yield from self._within.candidates(context)

    def _named(self, context: Any) -> Iterator[Host]:
        if context is None:
            return
        for path in self._paths:
            value = _at(context.stream_info.metadata, path)
            for text in value.split(",") if isinstance(value, str) else ():
                host = self._by_address.get(text.strip())
                if host is not None:
                    yield host


def _at(value: Any, path: tuple[str, ...]) -> Any:
    """What stands at the end of a path through nested mappings, or `None`."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
