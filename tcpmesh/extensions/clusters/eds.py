"""EDS clusters: the hosts are those of an assignment that a file has (`path_config_source`), and
change with it.

The assignment is that of the cluster's name, or of its `service_name`.  Whatever is wrong with the
file leaves the hosts as they are, and the proxy starts without it, as in Envoy; it is counted and
told.  Of Envoy's EDS this leaves out, and refuses: assignments from a control plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import time
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.config.resources import ASSIGNMENT, NotReadable, load_resources
from tcpmesh.interfaces import IDiscovery
from tcpmesh.registry import MainContext, enum_value
from tcpmesh.stats.store import sanitize
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.hosts import Assignment
from tcpmesh.xds.stats import SubscriptionStats, unknown_fields
from tcpmesh.xds.subscription import FileSubscription, Outcome

log = Logger(namespace="upstream")


@enum_value("clusters", "EDS")
@implementer(IDiscovery)
class EdsCluster:
    """Discovery by one file.

    :raise tcpmesh.net.moves.CannotWatch: where the directory of the file is not there.
    """

    dropped_hosts_stay = True

    def __init__(self, message: Any, context: MainContext) -> None:
        self.warm: Deferred[None] = Deferred()
        config = message.eds_cluster_config
        self._name: str = config.service_name or message.name
        self._cluster: str = message.name
        self._clock = context.network.clock
        self._found: Callable[[Assignment], object] = lambda assigned: None
        self._told: Assignment | None = None
        name = sanitize(message.alt_stat_name or message.name)
        with all_or_nothing() as undo:
            self._stats = SubscriptionStats(context.store, f"cluster.{name}")
            undo.callback(self._stats.scope.close)
            self._unknown_fields = unknown_fields(context.store, context.options)
            self._empty = self._stats.scope.counter("update_empty")
            self._no_rebuild = self._stats.scope.counter("update_no_rebuild")
            load = partial(
                load_resources,
                kind=ASSIGNMENT,
                bootstrap=context.bootstrap,
                allow_unknown_fields=not context.options.reject_unknown_dynamic_fields,
                allow_unsupported=context.options.allow_unsupported,
            )
            self._subscription = FileSubscription(
                config.eds_config, context.network, load, self._update
            )

    def start(self, found: Callable[[Assignment], object]) -> None:
        """Read the file, before this call returns, and look after it."""
        self._found = found
        self._subscription.start()
        if not self.warm.called:
            self.warm.callback(None)

    def stop(self) -> None:
        """Look after it no more."""
        self._found = lambda assigned: None
        self._subscription.stop()
        self._stats.scope.close()

    def _update(self, outcome: Outcome) -> Iterator[None]:
        self._stats.attempts.tally += 1
        began = self._clock.seconds()
        if isinstance(outcome, NotReadable):
            self._stats.failures.tally += 1
            self._complain(str(outcome))
            return
        self._unknown_fields(outcome.unknown_fields)
        messages = outcome.messages
        if outcome.errors:
            self._reject("; ".join(map(str, outcome.errors)))
        elif len(messages) > 1:
            self._reject(f"{len(messages)} assignments are too many")
        elif not messages:
            self._empty.tally += 1
        elif messages[0].cluster_name != self._name:
            self._reject(f"an assignment for {messages[0].cluster_name!r}, not {self._name!r}")
        else:
            self._tell(assignment(messages[0]))
            self._stats.updated(outcome.version, time(), self._clock.seconds() - began)
        yield

    def _tell(self, assigned: Assignment) -> None:
        if assigned == self._told:
            self._no_rebuild.tally += 1
            return
        self._told = assigned
        self._found(assigned)

    def _reject(self, why: str) -> None:
        self._stats.rejections.tally += 1
        self._complain(why)

    def _complain(self, why: str) -> None:
        log.warn("the hosts of cluster {name} stay: {why}", name=self._cluster, why=why)
