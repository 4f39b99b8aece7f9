"""Hosts by DNS: when names are asked for, and what the answers do to the hosts."""

from __future__ import annotations

from random import Random
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.discovery.dns import (
    TOGETHER,
    DnsDiscovery,
    DnsSettings,
    RefreshSettings,
    RefreshTimes,
    named_resolver,
    resolver_for,
)
from tcpmesh.extensions.network.dns_resolver import cares
from tcpmesh.interfaces import IDiscovery
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tcpmesh.values.dns import Family
from tcpmesh.values.hosts import Assignment, Locality
from tests.mesh import parse
from tests.names import Names


def cluster(*groups: str, more: str = "{}") -> Any:
    """A cluster c of these groups of endpoints, in YAML flow style."""
    message = parse(cluster_pb2.Cluster, more)
    message.MergeFrom(
        parse(
            cluster_pb2.Cluster,
            f"{{name: c, load_assignment: {{cluster_name: c, endpoints: [{', '.join(groups)}]}}}}",
        )
    )
    return message


def group(*names: str, more: str = "", entry: str = "") -> str:
    """Endpoints of one locality, all of port 80, with further fields of the group and of each of
    them.
    """
    entries = ", ".join(
        f"{{endpoint: {{address: {{socket_address: {{address: '{name}', port_value: "
        f"80}}}}}}{entry}}}"
        for name in names
    )
    return f"{{lb_endpoints: [{entries}]{more}}}"


class DiscoveryTestCase(SynchronousTestCase):
    """A test of one cluster with a clock."""

    def setUp(self) -> None:
        """A resolver that knows nothing."""
        self.network = MemoryNetwork()
        self.store = Store()
        self.context = MainContext(self.network, self.store, Random(1))
        self.names = Names()
        self.told: list[Assignment] = []

    def start(
        self, message: Any, logical: bool = False, wait_for_warm: bool = True, **refresh: Any
    ) -> DnsDiscovery:
        """Begin to resolve."""
        settings = DnsSettings(Family.V4_ONLY, RefreshSettings(**refresh), logical, wait_for_warm)
        discovery = DnsDiscovery(message, settings, self.names, self.context)
        self.warm: list[None] = []
        discovery.warm.addCallback(self.warm.append)
        discovery.start(self.told.append)
        return discovery

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and what was found in it be told."""
        self.network.advance(seconds)
        self.network.advance(TOGETHER)

    def hosts(self) -> list[str]:
        """The addresses told last."""
        return [spec.address.host for spec in self.told[-1].hosts]

    def counts(self) -> dict[str, int]:
        """What was counted, without the zeros."""
        prefix = "cluster.c.update_"
        return {
            name[len(prefix) :]: value
            for name, value in values_of(self.store).items()
            if name.startswith(prefix) and value
        }


class StrictTests(DiscoveryTestCase):
    """Each address is a host."""

    def test_interface(self) -> None:
        """It is discovery."""
        verifyObject(IDiscovery, self.start(cluster()))

    def test_hosts(self) -> None:
        """Hosts have the port, the name and all facts of their endpoint; an address told twice is
        one host.
        """
        self.names.records["a.test"] = ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
        more = ", priority: 2, locality: {zone: z}, load_balancing_weight: 3"
        self.start(
            cluster(
                group(
                    "a.test", more=more, entry=", load_balancing_weight: 5, health_status: DEGRADED"
                )
            )
        )
        found = self.told[-1]
        self.assertEqual(((2, Locality(zone="z"), 3),), found.locality_weights)
        self.assertEqual(
            [Address("10.0.0.1", 80), Address("10.0.0.2", 80)],
            [spec.address for spec in found.hosts],
        )
        facts = {
            (spec.hostname, spec.priority, spec.locality.zone, spec.weight, spec.health_status)
            for spec in found.hosts
        }
        self.assertEqual({("a.test", 2, "z", 5, "DEGRADED")}, facts)
        self.assertEqual([("a.test", Family.V4_ONLY)], self.names.asked)

    def test_hostname(self) -> None:
        """An endpoint's own hostname counts for more than the name that was asked for."""
        self.names.records["a.test"] = ["10.0.0.1"]
        message = cluster(group("a.test"))
        message.load_assignment.endpoints[0].lb_endpoints[0].endpoint.hostname = "b.test"
        self.start(message)
        self.assertEqual(["b.test"], [spec.hostname for spec in self.told[-1].hosts])

    def test_policy(self) -> None:
        """The policy of the assignment goes with every answer."""
        self.names.records["a.test"] = ["10.0.0.1"]
        message = cluster(group("a.test"))
        message.load_assignment.policy.overprovisioning_factor.value = 200
        self.start(message)
        self.assertEqual(200, self.told[-1].overprovisioning_factor)

    def test_refresh(self) -> None:
        """Every refresh rate the name is asked for again, and its hosts follow."""
        self.names.records["a.test"] = ["10.0.0.1"]
        self.start(cluster(group("a.test")), rate=5.0)
        self.names.records["a.test"] = ["10.0.0.2"]
        self.network.advance(4.9)
        self.assertEqual(1, len(self.names.asked))
        self.pass_by(0.1)
        self.assertEqual(["10.0.0.2"], self.hosts())
        self.assertEqual({"attempt": 2, "success": 2}, self.counts())

    def test_no_change(self) -> None:
        """The same addresses, in whatever order, are no change; nobody is told."""
        self.names.records["a.test"] = ["10.0.0.1", "10.0.0.2"]
        self.start(cluster(group("a.test")))
        self.names.records["a.test"] = ["10.0.0.2", "10.0.0.1"]
        self.pass_by(5)
        self.assertEqual(1, len(self.told))
        self.assertEqual({"attempt": 2, "success": 2, "no_rebuild": 1}, self.counts())

    def test_several_names(self) -> None:
        """Each endpoint is resolved for itself, and one that changes leaves the others alone."""
        self.names.records.update({"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2", "10.0.0.3"]})
        self.start(cluster(group("a.test", "b.test"), group("a.test")))
        self.pass_by(0)
        self.assertEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"], self.hosts())
        self.names.records["b.test"] = ["10.0.0.4"]
        self.pass_by(5)
        self.assertEqual(["10.0.0.1", "10.0.0.4", "10.0.0.1"], self.hosts())
        self.assertEqual({"attempt": 6, "success": 6, "no_rebuild": 2}, self.counts())

    def test_empty(self) -> None:
        """A name that is not there any more takes its hosts away, and that is a success."""
        self.names.records["a.test"] = ["10.0.0.1"]
        self.start(cluster(group("a.test")))
        self.names.records["a.test"] = []
        self.pass_by(5)
        self.assertEqual([], self.hosts())
        self.assertEqual({"attempt": 2, "success": 2}, self.counts())

    def test_empty_from_the_start(self) -> None:
        """No hosts where there were none are no change."""
        self.start(cluster(group("a.test")))
        self.assertEqual([], self.told)
        self.assertEqual({"attempt": 1, "success": 1, "no_rebuild": 1}, self.counts())

    def test_weight(self) -> None:
        """Success sets max_host_weight: that of the endpoint, and 1 where its name has no
        addresses; failure leaves it.
        """
        self.names.records["a.test"] = []
        self.start(cluster(group("a.test", entry=", load_balancing_weight: 5")), rate=5.0)
        self.assertEqual(1, values_of(self.store)["cluster.c.max_host_weight"])
        self.names.records["a.test"] = ["10.0.0.1"]
        self.pass_by(5)
        self.assertEqual(5, values_of(self.store)["cluster.c.max_host_weight"])

    def test_failure(self) -> None:
        """A failure keeps the hosts, and the name is asked for again."""
        self.names.records["a.test"] = ["10.0.0.1"]
        self.start(cluster(group("a.test")))
        self.names.records["a.test"] = None
        self.pass_by(5)
        self.assertEqual(["10.0.0.1"], self.hosts())
        self.names.records["a.test"] = ["10.0.0.2"]
        self.pass_by(5)
        self.assertEqual(["10.0.0.2"], self.hosts())
        self.assertEqual({"attempt": 3, "success": 2, "failure": 1}, self.counts())

    def test_listener_that_raises(self) -> None:
        """A mistake in what uses the hosts is logged, and discovery goes on."""
        self.names.records["a.test"] = ["10.0.0.1"]
        settings = DnsSettings(Family.V4_ONLY, RefreshSettings(), logical=False)
        discovery = DnsDiscovery(cluster(group("a.test")), settings, self.names, self.context)
        discovery.start(lambda assignment: 1 / 0)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.network.advance(5)
        self.assertEqual(2, len(self.names.asked))

    def test_told_together(self) -> None:
        """The first answer is told at once, for the cluster is warm with it; those that come close
        together later, together.
        """
        names = [f"{letter}.test" for letter in "abcd"]
        self.names.records.update({name: ["10.0.0.1"] for name in names})
        self.start(cluster(group(*names)))
        self.assertEqual([1], [len(told.hosts) for told in self.told])
        self.network.advance(TOGETHER)
        self.assertEqual([1, 4], [len(told.hosts) for told in self.told])


class LogicalTests(DiscoveryTestCase):
    """All addresses are one host."""

    def test_host(self) -> None:
        """The first address is the host, the others are tried with it."""
        self.names.records["a.test"] = ["10.0.0.1", "10.0.0.2", "::3"]
        self.start(cluster(group("a.test")), logical=True)
        (spec,) = self.told[-1].hosts
        self.assertEqual((Address("10.0.0.1", 80), "a.test"), (spec.address, spec.hostname))
        self.assertEqual((Address("10.0.0.2", 80), Address("::3", 80)), spec.additional_addresses)

    def test_change(self) -> None:
        """Another order is another list to try; the same one is no change."""
        self.names.records["a.test"] = ["10.0.0.1", "10.0.0.2"]
        self.start(cluster(group("a.test")), logical=True)
        self.pass_by(5)
        self.assertEqual({"attempt": 2, "success": 2, "no_rebuild": 1}, self.counts())
        self.names.records["a.test"] = ["10.0.0.2", "10.0.0.1"]
        self.pass_by(5)
        self.assertEqual(["10.0.0.2"], self.hosts())

    def test_empty(self) -> None:
        """A name without an address is a failure: the host stays."""
        self.names.records["a.test"] = ["10.0.0.1"]
        self.start(cluster(group("a.test")), logical=True)
        self.names.records["a.test"] = []
        self.pass_by(5)
        self.assertEqual(["10.0.0.1"], self.hosts())
        self.assertEqual({"attempt": 2, "success": 1, "failure": 1}, self.counts())

    def test_ttl(self) -> None:
        """The time to live of the first address counts."""
        self.names.records["a.test"] = ["10.0.0.1"]
        self.names.ttl = 30
        self.start(cluster(group("a.test")), logical=True, by_ttl=True)
        self.network.advance(29)
        self.assertEqual(1, len(self.names.asked))
        self.network.advance(1)
        self.assertEqual(2, len(self.names.asked))


class WarmTests(DiscoveryTestCase):
    """When a cluster may be used."""

    def test_first_result(self) -> None:
        """The first result of any name warms the cluster, be it an answer or a failure, and once
        only.
        """
        for outcome in (["10.0.0.1"], None):
            self.names.held = []
            self.start(cluster(group("a.test", "b.test")))
            self.assertEqual([], self.warm)
            self.names.records["a.test"] = outcome
            held, self.names.held = self.names.held, None
            self.names.resolve("a.test", Family.V4_ONLY).chainDeferred(held[1])
            self.assertEqual([None], self.warm)
            held[0].callback(())
            self.assertEqual([None], self.warm)

    def test_at_once(self) -> None:
        """A cluster that need not wait, or has no endpoints, is warm at once."""
        self.names.held = []
        self.start(cluster(group("a.test")), wait_for_warm=False)
        self.assertEqual([None], self.warm)
        self.start(cluster())
        self.assertEqual([None], self.warm)


class StopTests(DiscoveryTestCase):
    """Discovery that ends."""

    def test_waiting(self) -> None:
        """No timer is left."""
        self.start(cluster(group("a.test"))).stop()
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_asking(self) -> None:
        """The question under way is given up, which is no failure; nobody is told, nothing asked
        again.
        """
        self.names.held = []
        self.start(cluster(group("a.test"))).stop()
        self.assertTrue(self.names.held[0].called)
        self.assertEqual([], self.told)
        self.assertEqual([], self.warm)
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_to_be_told(self) -> None:
        """What was found and not told yet is not told any more."""
        self.names.records.update({"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"]})
        self.start(cluster(group("a.test", "b.test"))).stop()
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_while_telling(self) -> None:
        """It may be stopped by who is being told."""
        self.names.records["a.test"] = ["10.0.0.1"]
        settings = DnsSettings(Family.V4_ONLY, RefreshSettings(), logical=False)
        discovery = DnsDiscovery(cluster(group("a.test")), settings, self.names, self.context)
        discovery.start(lambda assignment: discovery.stop())
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_statistics(self) -> None:
        """What it counted in the cluster's scope goes with it."""
        self.start(cluster(group("a.test"))).stop()
        self.assertEqual(
            [], [name for name in values_of(self.store) if name.startswith("cluster.")]
        )


class RefreshTests(SynchronousTestCase):
    """The waits between questions."""

    def times(self, **settings: Any) -> RefreshTimes:
        """Waits by these settings."""
        return RefreshTimes(RefreshSettings(**settings), Random(1))

    def test_rate(self) -> None:
        """By default 5 seconds after success and failure alike, whatever the time to live."""
        times = self.times()
        self.assertEqual((5.0, 5.0), (times.after_success(60), times.after_failure()))

    def test_ttl(self) -> None:
        """With `respect_dns_ttl` the time to live counts, but neither 0 nor less than
        `dns_min_refresh_rate`.
        """
        times = self.times(by_ttl=True, rate=7.0)
        self.assertEqual([60.0, 1.0, 7.0], [times.after_success(ttl) for ttl in (60, 1, 0)])
        self.assertEqual(7.0, times.after_failure())
        self.assertEqual(10.0, self.times(by_ttl=True, shortest_ttl=10.0).after_success(3))

    def test_jitter(self) -> None:
        """Jitter is added to what follows a success, evenly, and to nothing else."""
        times = self.times(jitter=2.0)
        waits = [times.after_success(0) for _ in range(1000)]
        self.assertTrue(all(5.0 <= wait < 7.0 for wait in waits))
        self.assertApproximates(6.0, sum(waits) / 1000, 0.1)
        self.assertEqual(5.0, times.after_failure())

    def test_backoff(self) -> None:
        """After failures the wait is anything up to an interval that doubles to the maximum; a
        success begins anew.
        """
        times = self.times(failure_base=1.0, failure_max=5.0)

        class One(Random):
            def random(self) -> float:
                return 1.0

        times._random = One()
        self.assertEqual([1.0, 2.0, 4.0, 5.0, 5.0], [times.after_failure() for _ in range(5)])
        times.after_success(0)
        self.assertEqual(1.0, times.after_failure())

    def test_never_at_once(self) -> None:
        """However small the chance gives it, a millisecond passes."""

        class Zero(Random):
            def random(self) -> float:
                return 0.0

        times = self.times(failure_base=1.0, failure_max=5.0)
        times._random = Zero()
        self.assertEqual(0.001, times.after_failure())


class FieldTests(SynchronousTestCase):
    """What the fields of a message say."""

    def setUp(self) -> None:
        """A context, and a note of each resolver that is made."""
        self.context = MainContext(MemoryNetwork(), Store())
        self.made: list[Any] = []
        self.patch(
            cares,
            "DnsClient",
            lambda reactor, servers, options, *more: self.made.append((servers, options)),
        )

    def test_refresh(self) -> None:
        """Rates are those of the message; the longest backoff is ten times the first unless
        given.
        """

        def settings(text: str) -> RefreshSettings:
            return RefreshSettings.from_message(parse(cluster_pb2.Cluster, text))

        self.assertEqual(RefreshSettings(), settings("{}"))
        text = (
            "{dns_refresh_rate: 2s, dns_jitter: 0.5s, respect_dns_ttl: true, "
            "dns_failure_refresh_rate: {base_interval: 3s}}"
        )
        expected = RefreshSettings(2.0, 0.5, True, failure_base=3.0, failure_max=30.0)
        self.assertEqual(expected, settings(text))
        text = "dns_failure_refresh_rate: {base_interval: 1s, max_interval: 4s}"
        self.assertEqual(RefreshSettings(failure_base=1.0, failure_max=4.0), settings(text))

    def servers(self, text: str) -> list[Any]:
        """The servers and the use of TCP of the resolver that a cluster of these fields has."""
        resolver_for(parse(cluster_pb2.Cluster, text), self.context)
        return [(servers, options.tcp) for servers, options in self.made]

    def test_each_way(self) -> None:
        """The resolver may be given in each of the ways that Envoy has known."""
        server = "[{socket_address: {address: 192.0.2.9, port_value: 5353}}]"
        expected = [((Address("192.0.2.9", 5353),), True)]
        typed = f"type.googleapis.com/{CaresDnsResolverConfig.DESCRIPTOR.full_name}"
        options = "dns_resolver_options: {use_tcp_for_dns_lookups: true}"
        config = f'{{"@type": {typed}, resolvers: {server}, {options}}}'
        for text in (
            f"{{dns_resolvers: {server}, use_tcp_for_dns_lookups: true}}",
            f"{{dns_resolution_config: {{resolvers: {server}, {options}}}}}",
            f"{{typed_dns_resolver_config: {{name: x, typed_config: {config}}}}}",
        ):
            self.made.clear()
            self.assertEqual(expected, self.servers(text))

    def test_default(self) -> None:
        """A cluster that names none has the one of all clusters, or else asks the system's
        servers.
        """
        self.assertEqual([False], [tcp for _, tcp in self.servers("{}")])
        names = Names()
        context = MainContext(MemoryNetwork(), Store(), resolver=names)
        self.assertIs(names, resolver_for(cluster(), context))

    def test_bootstrap(self) -> None:
        """The one of all clusters is given in the bootstrap, in the same ways."""
        self.assertIsNone(named_resolver(bootstrap_pb2.Bootstrap(), self.context))
        self.assertIsNotNone(
            named_resolver(bootstrap_pb2.Bootstrap(use_tcp_for_dns_lookups=True), self.context)
        )
        self.assertTrue(self.made[0][1].tcp)
