"""Hosts by DNS: what STRICT_DNS, LOGICAL_DNS and the newer DnsCluster have in common, which is
nearly all.

Each endpoint is a `Target` that asks for its name, waits, and asks again.  A strict target has a
host for each address, a logical one is a single host: the first address, with the others to try in
the same attempt.  What happens to the hosts:

- addresses: they are the hosts from now on;
- no such name, or no address: strict targets then have no hosts, which is a success; for logical
  ones it is a failure;
- failure: the hosts stay, and the next question comes after `dns_failure_refresh_rate`, which backs
  off.

So a DNS server that is down never takes a host away, and never stops a proxy from starting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from envoy.config.core.v3.resolver_pb2 import DnsResolverOptions
from google.protobuf.any_pb2 import Any as AnyMessage
from zope.interface import implementer

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.load_assignment import assigned, host_spec
from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import IDiscovery, IDnsResolver
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.registry import MainContext, build
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Scope, sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.dns import Family
from tcpmesh.values.hosts import Assignment, HostSpec
from tcpmesh.wire.names import Found

log = Logger(namespace="dns")

REFRESH_RATE = 5.0
MOST_BACKOFFS = 10
"""Without a `max_interval` the wait after failures grows to this many base intervals."""

TOGETHER = 0.05
"""Seconds in which the answers for all names of a cluster are told together: each time all hosts
are gone through, and a thousand names have a thousand answers."""

SHORTEST_WAIT = 0.001
"""Seconds; what Envoy's timers can do."""


@dataclass(frozen=True)
class RefreshSettings:
    """When to ask again, in seconds."""

    rate: float = REFRESH_RATE
    jitter: float = 0.0
    """Up to this is added after a success."""

    by_ttl: bool = False
    """Whether the time to live in the answer counts in place of the rate."""

    shortest_ttl: float = 1.0
    """A shorter time to live counts as this (`dns_min_refresh_rate`)."""

    failure_base: float = 0.0
    """The first wait after a failure, at most; 0 to wait for the rate then too."""

    failure_max: float = 0.0

    @classmethod
    def from_message(cls, message: Any) -> RefreshSettings:
        """Those of a `Cluster` or a `DnsCluster`, whose fields have the same names."""
        given: dict[str, float] = {}
        if message.HasField("dns_refresh_rate"):
            given["rate"] = seconds(message.dns_refresh_rate)
        if message.HasField("dns_failure_refresh_rate"):
            given.update(_backoff(message.dns_failure_refresh_rate))
        if "dns_min_refresh_rate" in message.DESCRIPTOR.fields_by_name and message.HasField(
            "dns_min_refresh_rate"
        ):
            given["shortest_ttl"] = seconds(message.dns_min_refresh_rate)
        return cls(jitter=seconds(message.dns_jitter), by_ttl=message.respect_dns_ttl, **given)

    @classmethod
    def of_failures(cls, backoff: Any, rate: float) -> RefreshSettings:
        """Those that a `RefreshRate` gives for failures, with this rate otherwise."""
        given: dict[str, Any] = _backoff(backoff)
        return cls(rate=rate, **given)


def _backoff(message: Any) -> dict[str, float]:
    """What a `RefreshRate` says."""
    base = seconds(message.base_interval)
    given = message.HasField("max_interval")
    most = seconds(message.max_interval) if given else MOST_BACKOFFS * base
    return {"failure_base": base, "failure_max": most}


class RefreshTimes:
    """The waits between the questions of one target."""

    def __init__(self, settings: RefreshSettings, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._backoff = settings.failure_base

    def after_success(self, ttl: int) -> float:
        """Seconds to wait after an answer whose addresses are good for `ttl` seconds."""
        settings = self._settings
        self._backoff = settings.failure_base
        wait = max(float(ttl), settings.shortest_ttl) if settings.by_ttl and ttl else settings.rate
        return wait + self._random.random() * settings.jitter

    def after_failure(self) -> float:
        """Seconds to wait after a failure: anything up to an interval that doubles with each."""
        settings = self._settings
        if not settings.failure_base:
            return settings.rate
        interval = self._backoff
        self._backoff = min(2 * interval, settings.failure_max)
        return max(self._random.random() * interval, SHORTEST_WAIT)


@dataclass(frozen=True)
class DnsSettings:
    """How the endpoints of one cluster are resolved."""

    family: Family
    refresh: RefreshSettings
    logical: bool
    """Whether all addresses of an endpoint are one host."""

    wait_for_warm: bool = True
    """Whether the cluster is not ready before the first result (`wait_for_warm_on_init`)."""


class DnsStats:
    """What discovery counts in the cluster's scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.attempt = scope.counter("update_attempt")
        self.success = scope.counter("update_success")
        self.failure = scope.counter("update_failure")
        self.no_rebuild = scope.counter("update_no_rebuild")
        self.max_host_weight = scope.gauge("max_host_weight", Merge.MAIN)
        """Of the hosts of the endpoint resolved last; only where each address is a host."""


@implementer(IDiscovery)
class DnsDiscovery:
    """The hosts that the endpoints of one cluster resolve to."""

    def __init__(
        self, cluster: Any, settings: DnsSettings, resolver: IDnsResolver, context: MainContext
    ) -> None:
        """
        :param cluster: a `cluster.v3.Cluster`.
        """
        self.warm: Deferred[None] = Deferred()
        self._message = cluster.load_assignment
        # The one host of a logical cluster moves with its name.
        self.dropped_hosts_stay = not settings.logical
        self._wait_for_warm = settings.wait_for_warm
        self._clock = context.network.clock
        self._telling: Any = None
        name = sanitize(cluster.alt_stat_name or cluster.name)
        with all_or_nothing() as undo:
            self._stats = DnsStats(context.store.scope(f"cluster.{name}"))
            undo.callback(self._stats.scope.close)
            self._targets = [
                Target(number, group, entry, settings, resolver, context, self._stats)
                for number, (group, entry) in enumerate(
                    (group, entry)
                    for group in self._message.endpoints
                    for entry in group.lb_endpoints
                )
            ]

    def start(self, found: Callable[[Assignment], object]) -> None:
        """Ask for all names; tell the hosts as the answers come."""
        self._found = found
        if not self._targets or not self._wait_for_warm:
            self._warmed()
        for target in self._targets:
            target.start(self._changed, self._warmed)

    def stop(self) -> Deferred[None]:
        """Ask no more; fires when no question is under way."""
        stopping = [target.stop() for target in self._targets]
        self._targets = []  # each knows this discovery
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._stats.scope.close()
        return gatherResults(stopping).addCallback(lambda _: None)

    def _changed(self) -> None:
        if not self.warm.called:
            self._tell()
        elif self._telling is None:
            self._telling = self._clock.callLater(TOGETHER, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._found(
            assigned(self._message, (spec for target in self._targets for spec in target.specs))
        )

    def _warmed(self) -> None:
        if not self.warm.called:
            self.warm.callback(None)


class Target:
    """One endpoint: a name, and the hosts that it is now."""

    def __init__(
        self,
        number: int,
        group: Any,
        entry: Any,
        settings: DnsSettings,
        resolver: IDnsResolver,
        context: MainContext,
        stats: DnsStats,
    ) -> None:
        self.specs: tuple[HostSpec, ...] = ()
        self._number = number
        self._group, self._entry = group, entry
        address = entry.endpoint.address.socket_address
        self._name: str = address.address
        self._port: int = address.port_value
        self._settings = settings
        self._resolver = resolver
        self._clock = context.network.clock
        self._times = RefreshTimes(settings.refresh, context.random)
        self._stats = stats
        self._query: Deferred[Any] | None = None
        self._timer: Any = None
        self._running = False

    def start(self, changed: Callable[[], object], answered: Callable[[], object]) -> None:
        """Ask, again and again.

        :param changed: called when there are other hosts.
        :param answered: called after each result, success or failure.
        """
        self._changed, self._answered = changed, answered
        self._running = True
        self._ask()

    def stop(self) -> Deferred[None]:
        """Ask no more, and give up the question that is under way; fires when that is over."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        query, self._timer, self._query = self._query, None, None
        over: Deferred[None] = Deferred()
        if query is None:
            over.callback(None)
        else:
            query.addBoth(lambda _: over.callback(None))
            query.cancel()
        return over

    def _ask(self) -> None:
        self._timer = None
        self._stats.attempt.tally += 1
        self._query = self._resolver.resolve(self._name, self._settings.family)
        self._query.addCallback(self._resolved).addErrback(self._failed).addCallback(self._again)

    def _resolved(self, found: tuple[Found, ...]) -> float:
        """The addresses are now these; seconds until the next question."""
        logical = self._settings.logical
        if logical and not found:
            raise ResolutionFailed(f"{self._name} has no address")
        self._stats.success.tally += 1
        specs = self._specs(tuple(dict.fromkeys(Address(each.host, self._port) for each in found)))
        if self._is_known(specs):
            self._stats.no_rebuild.tally += 1
        else:
            self.specs = specs
            self._changed()
        if not logical:
            self._stats.max_host_weight.set(max((spec.weight for spec in specs), default=1))
        counted = found[:1] if logical else found
        return self._times.after_success(min((each.ttl for each in counted), default=0))

    def _specs(self, addresses: tuple[Address, ...]) -> tuple[HostSpec, ...]:
        if not addresses:
            return ()
        given = host_spec(self._group, self._entry, addresses[0])
        known = replace(
            given,
            hostname=given.hostname or self._name,
            endpoint=self._number,
            additional_addresses=(),
        )
        if self._settings.logical:
            return (replace(known, additional_addresses=addresses[1:]),)
        return tuple(replace(known, address=address) for address in addresses)

    def _is_known(self, specs: tuple[HostSpec, ...]) -> bool:
        """Whether these are the hosts that are there; servers like to tell them in another order
        each time.
        """
        if self._settings.logical or len(specs) != len(self.specs):
            return specs == self.specs
        return {spec.address for spec in specs} == {spec.address for spec in self.specs}

    def _failed(self, failure: Failure) -> float | None:
        if not self._running:
            return None
        if not failure.check(ResolutionFailed):
            log.failure("cannot use what DNS says of {name}", failure, name=self._name)
        log.debug("cannot resolve {name}: {reason}", name=self._name, reason=failure.value)
        self._stats.failure.tally += 1
        return self._times.after_failure()

    def _again(self, wait: float | None) -> None:
        self._query = None
        if self._running and wait is not None:
            self._timer = self._clock.callLater(wait, self._ask)
            self._answered()


def cluster_settings(cluster: Any, logical: bool) -> DnsSettings:
    """What the older fields of a `cluster.v3.Cluster` say."""
    return DnsSettings(
        family=Family[cluster.DnsLookupFamily.Name(cluster.dns_lookup_family)],
        refresh=RefreshSettings.from_message(cluster),
        logical=logical,
        wait_for_warm=wait_for_warm(cluster),
    )


def wait_for_warm(cluster: Any) -> bool:
    """Whether a `cluster.v3.Cluster` is not ready before the first result
    (`wait_for_warm_on_init`).
    """
    return (
        bool(cluster.wait_for_warm_on_init.value)
        if cluster.HasField("wait_for_warm_on_init")
        else True
    )


def resolver_for(message: Any, context: MainContext) -> IDnsResolver:
    """The resolver that a `Cluster` or a `DnsCluster` names, else the one of all clusters."""
    named = named_resolver(message, context) or context.resolver
    return named or _cares(context)


def named_resolver(message: Any, context: MainContext) -> IDnsResolver | None:
    """The resolver that a message names in one of the ways that Envoy has known so far, if it names
    one.

    :param message: a `Cluster`, a `DnsCluster` or a `Bootstrap`.
    """
    if message.HasField("typed_dns_resolver_config"):
        return build(message.typed_dns_resolver_config.typed_config, context)  # type: ignore[no-any-return]
    fields = message.DESCRIPTOR.fields_by_name
    if "dns_resolution_config" in fields and message.HasField("dns_resolution_config"):
        given = message.dns_resolution_config
        return _cares(
            context, resolvers=given.resolvers, dns_resolver_options=given.dns_resolver_options
        )
    resolvers = getattr(message, "dns_resolvers", ())
    tcp = getattr(message, "use_tcp_for_dns_lookups", False)
    if not resolvers and not tcp:
        return None
    options = DnsResolverOptions(use_tcp_for_dns_lookups=tcp)
    return _cares(context, resolvers=resolvers, dns_resolver_options=options)


def _cares(context: MainContext, **fields: Any) -> IDnsResolver:
    """The resolver of a `CaresDnsResolverConfig` with these fields."""
    from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
        CaresDnsResolverConfig,
    )

    packed = AnyMessage()
    packed.Pack(CaresDnsResolverConfig(**fields))
    return build(packed, context)  # type: ignore[no-any-return]
