"""override_host in a cluster."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.extensions.load_balancing_policies import maglev, override_host  # noqa: F401
from tcpmesh.interfaces import ILoadBalancer
from tests.mesh import cluster_message
from tests.picks import Client, cluster_of

HOSTS = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
TYPES = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def policy(name: str, fields: str = "") -> str:
    """A list of one typed policy, in YAML."""
    return (
        f'{{policies: [{{typed_extension_config: {{name: p, typed_config: {{"@type": '
        f"{TYPES}.{name}, {fields}}}}}}}]}}"
    )


def made(*sources: str) -> Cluster:
    """A cluster of three hosts, the second of which is out; without an override connections go by a
    table.
    """
    sources = sources or (
        "{header: x-host}",
        "{metadata: {key: some.filter, path: [{key: to}, {key: host}]}}",
    )
    within = policy("maglev.v3.Maglev", "table_size: 5")
    fields = f"override_host_sources: [{', '.join(sources)}], fallback_policy: {within}"
    message = cluster_message(
        "c", HOSTS, f"load_balancing_policy: {policy('override_host.v3.OverrideHost', fields)}"
    )
    message.load_assignment.endpoints[0].lb_endpoints[1].health_status = 2
    return cluster_of(message)


def naming(value: Any) -> Client:
    """A client in whose metadata a filter has left this."""
    client = Client(1)
    client.stream_info.metadata = {"some.filter": {"to": {"host": value}}}
    return client


class OverrideHostTests(SynchronousTestCase):
    """Clients that name their host, and others."""

    def setUp(self) -> None:
        """A cluster, and whom it gives a client that names nobody."""
        self.cluster = made()
        self.usual = self.cluster.pick(Client(1))

    def test_interface(self) -> None:
        """It is a load balancer."""
        verifyObject(ILoadBalancer, self.cluster._balancer)

    def test_named(self) -> None:
        """A client gets the host that it names, be it healthy or not."""
        for host in self.cluster.hosts:
            self.assertIs(host, self.cluster.pick(naming(str(host.address))))

    def test_list(self) -> None:
        """Of several names the first that is a host counts, and the next at the next attempt."""
        a, b, _ = self.cluster.hosts
        client = naming(" 10.9.9.9:80 , 10.0.0.2:80,10.0.0.1:80")
        self.assertIs(b, self.cluster.pick(client))
        client.attempted = (b,)
        self.assertIs(a, self.cluster.pick(client))
        client.attempted = (b, a)
        self.assertIs(self.cluster.hosts[2], self.cluster.pick(client))

    def test_nobody(self) -> None:
        """A client that names no host of the cluster, or nothing that is a name, gets one of the
        policy within.
        """
        values: tuple[Any, ...] = ("10.9.9.9:80", "10.0.0.1", "", 5, {}, None)
        for value in values:
            self.assertIs(self.usual, self.cluster.pick(naming(value)))
        self.assertIsNotNone(self.usual)

    def test_path(self) -> None:
        """The name stands at the end of the whole path."""
        client = Client(1)
        for metadata in (
            {},
            {"some.filter": {"to": "10.0.0.2:80"}},
            {"other": {"to": {"host": "10.0.0.2:80"}}},
        ):
            client.stream_info.metadata = metadata
            self.assertIs(self.usual, self.cluster.pick(client))

    def test_header(self) -> None:
        """A header as the only source leaves all clients to the policy within."""
        cluster = made("{header: x-host}")
        usual = cluster.pick(Client(1))
        self.assertIsNotNone(usual)
        self.assertIs(usual, cluster.pick(naming("10.0.0.2:80")))

    def test_sources(self) -> None:
        """The names of several sources are tried in their order."""
        cluster = made(
            "{metadata: {key: a, path: [{key: h}]}}", "{metadata: {key: b, path: [{key: h}]}}"
        )
        client = Client(1)
        client.stream_info.metadata = {"b": {"h": "10.0.0.1:80"}, "a": {"h": "10.0.0.3:80"}}
        first = cluster.pick(client)
        self.assertIs(cluster.hosts[2], first)
        client.attempted = cluster.hosts[2:]
        self.assertIs(cluster.hosts[0], cluster.pick(client))

    def test_no_context(self) -> None:
        """Whoever picks without a connection gets a host of the policy within."""
        self.assertIsNotNone(self.cluster.pick(None))
