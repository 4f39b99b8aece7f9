"""One cluster without a proxy around it: what main knows of its hosts, and the worker that picks
from them.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.membership import Membership
from tcpmesh.registry import MainContext, WorkerContext
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import NO_FLAGS, Assignment, HealthFlag
from tcpmesh.values.link import AskHostNumbers, Flags, HostNumbers, Hosts, Rebalance, ToWorker
from tcpmesh.values.statuses import NO_RATES, ClusterStatus


class ServedCluster:
    """A cluster whose hosts, and how they are, a test says.

    :param message: a `cluster.v3.Cluster`.
    :param context: of the worker.
    :raise tcpmesh.registry.UnknownExtension: where its policy is not known.
    """

    def __init__(self, message: Any, context: WorkerContext) -> None:
        main = MainContext(context.network, context.store, context.random, context.node)
        self.cluster = Cluster(message, context)
        self.membership = Membership(0, message, main, self._tell)
        context.store.add_collector(self.membership.collect)
        context.store.add_collector(self.cluster.collect)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts as the worker knows them."""
        return self.cluster.hosts

    def pick(self, context: Any) -> Host | None:
        """The host that a connection goes to."""
        return self.cluster.pick(context)

    def update_hosts(self, assignment: Assignment) -> None:
        """These are the hosts from now on."""
        found, _ = self.membership.match(assignment.hosts)
        self.membership.update(found, assignment)

    def warmed(self) -> None:
        """From now on changes of health are merged."""
        self.membership.warmed()

    def set_flags(
        self, address: Address, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """How the hosts at an address are."""
        for key, host in self.membership.hosts.items():
            if host.spec.address == address:
                self.membership.set_flags(key, add, remove)

    def status(self) -> ClusterStatus:
        """The cluster as the admin interface shows it."""
        self.membership.ask_numbers()
        return self.membership.status(None, lambda key: NO_RATES)

    def close(self) -> None:
        """The cluster is not wanted any more."""
        self.membership.stop()
        self.cluster.close()

    def _tell(self, message: ToWorker) -> None:
        cluster = self.cluster
        if isinstance(message, Hosts):
            cluster.update_hosts(message)
        elif isinstance(message, Flags):
            cluster.set_flags(message.host, message.flags)
        elif isinstance(message, Rebalance):
            cluster.unbalance()
        elif isinstance(message, AskHostNumbers):
            self.membership.take_numbers(HostNumbers(0, cluster.host_numbers()))
