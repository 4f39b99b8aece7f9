"""A proxy on a memory network for tests of its rooms: what they count, what flags they give, what they do when others change.

Unlike `tcpmesh.testing.mesh`, for users, it shows what is inside, and its listeners and clusters come, change and go one by one.
Messages are given as the YAML a user would write, and nothing but the rooms judges them.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, TypeVar

import yaml
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.listener import listener
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.net.address import Address
from tcpmesh.net.connection import Connection
from tcpmesh.registry import Context
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory import MemoryNetwork
from tcpmesh.testing.stage import Client, Server
from tcpmesh.testing.witness import Witness

TCP_PROXY = f"type.googleapis.com/{tcp_proxy_pb2.TcpProxy.DESCRIPTOR.full_name}"

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(kind: type[AnyMessage], text: str) -> AnyMessage:
    """A message from YAML."""
    message = kind()
    ParseDict(yaml.safe_load(text) or {}, message)
    return message


def address_of(text: str) -> Address:
    """`127.0.0.1:80`, `[::1]:80` or the path of a unix socket."""
    if text.startswith(("/", "@")):
        return Address(text)
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))


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
        ParseDict(yaml.safe_load(f"endpoint: {{address: {address_yaml(host)}}}"), group.lb_endpoints.add())
    return message


def listener_message(name: str, address: str, filters: str = "[]", more: str = "") -> Any:
    """A listener with one chain of these filters, in YAML; `more` is YAML of further fields."""
    text = f"{{name: {name!r}, address: {address_yaml(address)}, filter_chains: [{{filters: {filters}}}]}}"
    message = parse(listener_pb2.Listener, text)
    message.MergeFrom(parse(listener_pb2.Listener, more))
    return message


def tcp_proxy(fields: str = "cluster: c", prefix: str = "t") -> str:
    """A filter list of one tcp_proxy with these fields, in YAML flow style without the braces."""
    return f'[{{name: tcp, typed_config: {{"@type": {TCP_PROXY}, stat_prefix: {prefix}, {fields}}}}}]'


def values_of(store: Store) -> dict[str, int]:
    """All counters and gauges by name, as of now."""
    store.collect()
    values = {counter.name: counter.value for counter in store.counters()}
    return {**values, **{gauge.name: gauge.value for gauge in store.gauges()}}


class Mesh:
    """The managers of a worker, with a clock that stands still unless told."""

    def __init__(self, random: Random) -> None:
        self.network = MemoryNetwork()
        self.clock = self.network.clock
        self.store = Store()
        self.context = Context(self.network, self.store, lambda name: self.clusters.get(name), random)
        self.clusters = ClusterManager(self.context)
        self.listeners = ListenerManager(self.context)
        self.connections: list[Connection] = []
        """What listeners have accepted, in order."""

    # What is configured

    def add_cluster(self, name: str, *hosts: str, more: str = "") -> None:
        """Add or replace a STATIC cluster."""
        self.clusters.add_or_update(cluster_message(name, hosts, more))

    def add_listener(self, name: str, address: str, filters: str, more: str = "") -> None:
        """Add or replace a listener; it is open after `listeners.start`."""
        self.listeners.add_or_update(listener_message(name, address, filters, more))

    def serve(self, fields: str = "cluster: c", more: str = "") -> None:
        """A tcp_proxy listener named l on port 1, and started workers."""
        self.add_listener("l", "127.0.0.1:1", tcp_proxy(fields), more)
        self.listeners.start()

    # Who is around it

    def upstream(self, address: str) -> Server:
        """Listen as an upstream; its clients' protocols are in `built`."""
        server = Server()
        self.network.listen(self.network.bind(address_of(address)), server)
        return server

    def dial(self, address: str = "127.0.0.1:1") -> tuple[Witness, Client]:
        """Begin to connect as a client, before anything else happens."""
        witness = Witness()
        factory = Client(witness)
        self.network.connect(address_of(address), factory, 10.0)
        return witness, factory

    def connect(self, address: str = "127.0.0.1:1") -> Witness:
        """A client, with all done that follows at once."""
        witness, factory = self.dial(address)
        self.network.pump()
        assert factory.connected, factory.failure
        return witness

    # What it counts

    def stat(self, name: str) -> int:
        """The value of a counter or gauge as of now."""
        return self.stats("")[name]

    def stats(self, prefix: str) -> dict[str, int]:
        """Counters and gauges by what follows the prefix in their names."""
        return {name[len(prefix) :]: value for name, value in values_of(self.store).items() if name.startswith(prefix)}

    def moved(self, prefix: str) -> dict[str, int]:
        """The same without those that are 0."""
        return {name: value for name, value in self.stats(prefix).items() if value}

    def times(self, name: str) -> tuple[int, float]:
        """How many values a histogram has, and their sum."""
        self.store.merge_histograms()
        found = next(each for each in self.store.histograms() if each.name == name)
        return found.cumulative.count, round(found.cumulative.sum, 3)


class MeshTestCase(SynchronousTestCase):
    """A test of a proxy in memory."""

    def setUp(self) -> None:
        """An empty proxy, with a random number generator that always gives the same."""
        self.mesh = self.make_mesh(1)

    def make_mesh(self, seed: int) -> Mesh:
        """A proxy that remembers whom it has accepted."""
        mesh = Mesh(Random(seed))

        def connection(owner: Any) -> Connection:
            mesh.connections.append(Connection(owner))
            return mesh.connections[-1]

        self.patch(listener, "Connection", connection)
        return mesh

    def flags(self) -> str:
        """The response flags of the client accepted last."""
        return str(self.mesh.connections[-1].flags)
