"""The mesh of `tcpmesh.testing`, for tests of its rooms: what they count, what flags they give,
what they do when others change.

Its listeners and clusters come, change and go one by one.  Messages are given as the YAML a user
would write, and nothing but the rooms judges them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import yaml
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.types import any_type
from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IDnsResolver
from tcpmesh.listener import listener
from tcpmesh.server.assembly import DEFAULT_OPTIONS
from tcpmesh.testing import mesh
from tcpmesh.testing.harness import Client
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.phases import check_phases
from tcpmesh.values.hosts import NO_FLAGS, Assignment, HealthFlag
from tcpmesh.values.server_options import ServerOptions

TCP_PROXY = f"type.googleapis.com/{tcp_proxy_pb2.TcpProxy.DESCRIPTOR.full_name}"

FRONT = "127.0.0.1:1"
"""Where the listener of a test stands."""

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(kind: type[AnyMessage], text: str) -> AnyMessage:
    """A message from YAML."""
    for name in re.findall(r"type\.googleapis\.com/([\w.]+)", text):
        any_type(name)  # whose module may not be imported yet
    message = kind()
    ParseDict(yaml.safe_load(text) or {}, message)
    return message


def address_yaml(text: str) -> str:
    """The same as an `envoy.config.core.v3.Address`, in YAML."""
    address = address_of(text)
    if text.startswith(("/", "@")):
        return f'{{pipe: {{path: "{text}"}}}}'
    return f'{{socket_address: {{address: "{address.host}", port_value: {address.port}}}}}'


def cluster_message(name: str, hosts: Iterable[str], more: str = "") -> Any:
    """A STATIC cluster of these hosts; `more` is YAML of further fields."""
    message = parse(cluster_pb2.Cluster, more)
    message.name = name
    message.load_assignment.cluster_name = name
    group = message.load_assignment.endpoints.add()
    for host in hosts:
        ParseDict(
            yaml.safe_load(f"endpoint: {{address: {address_yaml(host)}}}"), group.lb_endpoints.add()
        )
    return message


def listener_message(name: str, address: str, filters: str = "[]", more: str = "") -> Any:
    """A listener with one chain of these filters, in YAML; `more` is YAML of further fields."""
    text = (
        f"{{name: {name!r}, address: {address_yaml(address)}, filter_chains: [{{filters: "
        f"{filters}}}]}}"
    )
    message = parse(listener_pb2.Listener, text)
    message.MergeFrom(parse(listener_pb2.Listener, more))
    return message


def tcp_proxy(fields: str = "cluster: c", prefix: str = "t") -> str:
    """A filter list of one tcp_proxy with these fields, in YAML flow style without the braces."""
    return (
        f'[{{name: tcp, typed_config: {{"@type": {TCP_PROXY}, stat_prefix: {prefix}, {fields}}}}}]'
    )


class Mesh(mesh.Mesh):
    """An empty proxy whose listeners and clusters come, change and go one by one."""

    def __init__(
        self,
        seed: int,
        options: ServerOptions = DEFAULT_OPTIONS,
        workers: int = 1,
    ) -> None:
        super().__init__("{}", seed=seed, start=False, options=options, workers=workers)
        self.clock = self.network.clock
        self.connections: list[Connection] = []
        """What listeners have accepted, in order."""

    def add_cluster(self, name: str, *hosts: str, more: str = "") -> None:
        """Add or replace a STATIC cluster."""
        self.clusters.add_or_update(cluster_message(name, hosts, more))

    def add_listener(self, name: str, address: str, filters: str, more: str = "") -> None:
        """Add or replace a listener; it is open after `listeners.start`."""
        self.listeners.add_or_update(listener_message(name, address, filters, more))

    def resolve_with(self, names: IDnsResolver) -> None:
        """Clusters that come from now on find the addresses of names here."""
        self.clusters._context = replace(self.clusters._context, resolver=names)

    def tell_hosts(self, name: str, assignment: Assignment) -> None:
        """A cluster has these hosts now, as its discovery might have found."""
        entry = self.clusters.get(name)
        assert entry is not None
        entry._monitor.update_hosts(assignment)

    def set_flags(
        self, name: str, address: str, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """How the hosts of a cluster at an address are."""
        entry = self.clusters.get(name)
        assert entry is not None
        for key, host in entry.membership.hosts.items():
            if str(host.spec.address) == address:
                entry.membership.set_flags(key, add, remove)

    def serve(self, fields: str = "cluster: c", more: str = "") -> None:
        """A tcp_proxy listener named l at FRONT, and started workers."""
        self.add_listener("l", FRONT, tcp_proxy(fields), more)
        self.listeners.start()

    def dial(self, address: str = FRONT, protocol: Any = None) -> Client:
        """As for users, to the listener of `serve` where nothing else is said."""
        return super().dial(address, protocol)

    def connect(self, address: str = FRONT, protocol: Any = None) -> Any:
        """As for users, to the listener of `serve` where nothing else is said."""
        return super().connect(address, protocol)

    def redirect(self, wanted: str, address: str = FRONT) -> Any:
        """A client that wanted to connect elsewhere, and that the packet filter has redirected."""
        before = len(self.network.transports)
        client = self.dial(address)
        while len(self.network.transports) == before:
            self.network.step()
        self.network.transports[-1].redirected_from = address_of(wanted)
        self.network.pump()
        return client.given


class MeshTestCase(SynchronousTestCase):
    """A test of a proxy in memory."""

    def setUp(self) -> None:
        """An empty proxy, with a random number generator that always gives the same."""
        check_phases(self)
        self.mesh = self.make_mesh(1)

    def make_mesh(self, seed: int, options: ServerOptions = DEFAULT_OPTIONS) -> Mesh:
        """A proxy that remembers whom it has accepted."""
        made = Mesh(seed, options=options)

        def connection(owner: Any, number: int) -> Connection:
            made.connections.append(Connection(owner, number))
            return made.connections[-1]

        self.patch(listener, "Connection", connection)
        return made

    def flags(self) -> str:
        """The response flags of the client accepted last."""
        return str(self.mesh.connections[-1].stream_info.flags)
