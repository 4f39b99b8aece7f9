"""The clusters of a worker: found by name to pick from, changed as main says.

A cluster is built before it is found, for its hosts may have to be known first.  One that is
removed, or replaced by another of its name, serves the connections it has to their end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from tcpmesh.cluster.balancing import policy
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.upstream import circuit_breakers
from tcpmesh.registry import BrokenExtension, UnknownExtension, WorkerContext
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.link import (
    AddCluster,
    AskHostNumbers,
    AskRates,
    Cleanup,
    ClusterEnded,
    ClusterRefused,
    Flags,
    HostFails,
    HostNumbers,
    Hosts,
    PauseCluster,
    Rates,
    Rebalance,
    Refusal,
    RemoveCluster,
    ServeCluster,
    ToMain,
)
from tcpmesh.values.workers import worker_name


class Clusters:
    """The clusters by name, and by the number that main gave each.

    :param send: tells main.
    :param by_name: where they are to be found by name, for who looks there with each connection;
        it is changed here alone.
    """

    def __init__(
        self,
        context: WorkerContext,
        send: Callable[[ToMain], object],
        by_name: dict[str, Cluster] | None = None,
    ) -> None:
        self._context = context
        self._send = send
        self._by_number: dict[int, Cluster] = {}
        self._by_name: dict[str, Cluster] = {} if by_name is None else by_name
        self._leaving: list[Cluster] = []
        """Those removed, as long as there are connections: their statistics are shown until
        then.
        """
        scope = context.store.scope(f"thread_local_cluster_manager.{worker_name(context.index)}")
        self._inflated = scope.gauge("clusters_inflated", Merge.SUM)
        context.store.add_collector(self._collect)
        context.runtime.watch(circuit_breakers.RUNTIME_PREFIX, self._limits_change)
        context.runtime.watch(policy.RUNTIME_PREFIX, self._balancing_changes)
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            AddCluster: self._add,
            ServeCluster: self._serve,
            RemoveCluster: self._remove,
            Hosts: self._hosts,
            Flags: self._flags,
            Rebalance: self._rebalance,
            PauseCluster: self._pause,
            Cleanup: self._clean_up,
            HostFails: self._host_fails,
            AskRates: self._tell_rates,
            AskHostNumbers: self._tell_host_numbers,
        }
        """What is done with each message of main's."""

    def get(self, name: str) -> Cluster | None:
        """The cluster of this name as of now."""
        return self._by_name.get(name)

    def prepare(self) -> Deferred[Any]:
        """Have all ready that picks need; fires when it is."""
        return DeferredList([cluster.prepare() for cluster in self._by_number.values()])

    def stop(self) -> None:
        """Serve nobody any more."""
        for cluster in self._by_number.values():
            cluster.close()

    # What main says

    def _add(self, told: AddCluster) -> None:
        try:
            cluster = Cluster(told.message, self._context, told.cluster, self._send)
        except UnknownExtension as e:
            self._send(ClusterRefused(told.cluster, Refusal.UNKNOWN, str(e)))
        except BrokenExtension as e:
            self._send(ClusterRefused(told.cluster, Refusal.BROKEN, str(e)))
        else:
            self._by_number[told.cluster] = cluster

    def _serve(self, told: ServeCluster) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is None:
            return  # it could not be built here
        predecessor = self._by_name.get(cluster.name)
        self._by_name[cluster.name] = cluster
        if predecessor is not None:
            del self._by_number[predecessor.number]
            predecessor.close()
            predecessor.release()
            self._send(ClusterEnded(predecessor.number))
        self._count()

    def _remove(self, told: RemoveCluster) -> None:
        cluster = self._by_number.pop(told.cluster, None)
        if cluster is None:
            return
        if self._by_name.get(cluster.name) is cluster:
            del self._by_name[cluster.name]
        cluster.close()
        self._leaving.append(cluster)
        self._release()
        self._count()

    def _hosts(self, told: Hosts) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is not None:
            cluster.update_hosts(told)

    def _flags(self, told: Flags) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is not None:
            cluster.set_flags(told.host, told.flags)

    def _rebalance(self, told: Rebalance) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is not None:
            cluster.unbalance()

    def _pause(self, told: PauseCluster) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is not None:
            cluster.pause(told.seconds)

    def _clean_up(self, told: Cleanup) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is not None:
            cluster.forget_unused(told.is_alone)

    def _tell_rates(self, told: AskRates) -> None:
        cluster = self._by_number.get(told.cluster)
        self._send(Rates(told.cluster, cluster.rates() if cluster is not None else ()))

    def _host_fails(self, told: HostFails) -> None:
        cluster = self._by_number.get(told.cluster)
        if cluster is not None:
            cluster.host_fails(told.host)

    def host_numbers(self) -> Iterator[HostNumbers | None]:
        """What was counted of the hosts of each cluster that has had connections; `None` is none,
        but took a while.
        """
        for number, cluster in tuple(self._by_number.items()):
            numbers = cluster.host_numbers()
            yield HostNumbers(number, numbers) if numbers else None

    def _tell_host_numbers(self, told: AskHostNumbers) -> None:
        cluster = self._by_number.get(told.cluster)
        numbers = cluster.host_numbers() if cluster is not None else ()
        self._send(HostNumbers(told.cluster, numbers))

    # What the runtime says

    def _limits_change(self, keys: list[str]) -> None:
        names = circuit_breakers.clusters_of(keys)
        for cluster in self._by_number.values():
            if cluster.name in names:
                cluster.breakers.refresh()

    def _balancing_changes(self, keys: list[str]) -> None:
        for cluster in self._by_number.values():
            cluster.unbalance()

    # Their end

    def _release(self) -> None:
        """Forget those removed that have no connections any more, or a successor, who goes on with
        their statistics.
        """
        leaving, self._leaving = self._leaving, []
        for cluster in leaving:
            if cluster.breakers.connections.own > 0 and cluster.name not in self._by_name:
                self._leaving.append(cluster)
            else:
                cluster.release()
                self._send(ClusterEnded(cluster.number))

    def _count(self) -> None:
        self._inflated.set(len(self._by_name))

    def _collect(self) -> Iterator[None]:
        if self._leaving:
            self._release()
        for cluster in (*self._by_name.values(), *self._leaving):
            cluster.collect()
            yield
