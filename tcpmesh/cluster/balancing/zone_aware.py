"""Zone-aware routing: a proxy keeps its connections in its own locality, as far as that loads no
host more than the others.

The proxies are a cluster too, the local one, and each is taken to have the same share of all
connections.  Where the locality of this proxy has a share of the upstream hosts at least as large
as its share of the proxies, all its connections stay there. Where it has less, only that part
stays, and the rest is spread over the localities that have more hosts than proxies, in proportion
to how much more.  Shares are counted in hundredths of a percent, as in Envoy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import Any

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet
from tcpmesh.facts import dataclass
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.hosts import Locality

WHOLE = 10000
MIN_CLUSTER_SIZE = 6


@dataclass(frozen=True)
class ZoneOptions:
    """The `ZoneAwareLbConfig` of a policy; these are also the defaults where there is a local
    cluster but no such message.
    """

    enabled: int = 100
    """Percent of the connections that are routed by zone at all."""

    min_cluster_size: int = MIN_CLUSTER_SIZE
    """With fewer healthy hosts there is no routing by zone."""

    fail_on_panic: bool = False
    """Whether a pick in panic finds no host, in place of any."""

    force_local: int | None = None
    """With as many healthy hosts in the own locality or more, all connections stay there."""

    by_weight: bool = False
    """Whether hosts count by their weights in the shares of localities."""


def zone_options(config: Any) -> ZoneOptions:
    """The options in a `LocalityLbConfig`, which may be `None`."""
    if config is None or not config.HasField("zone_aware_lb_config"):
        return ZoneOptions()
    zones = config.zone_aware_lb_config
    return ZoneOptions(
        enabled=int(zones.routing_enabled.value + 0.5)
        if zones.HasField("routing_enabled")
        else 100,
        min_cluster_size=zones.min_cluster_size.value
        if zones.HasField("min_cluster_size")
        else MIN_CLUSTER_SIZE,
        fail_on_panic=zones.fail_traffic_on_panic,
        force_local=_force_local(zones),
        by_weight=zones.locality_basis == zones.HEALTHY_HOSTS_WEIGHT,
    )


def overridden(options: ZoneOptions, runtime: Runtime) -> ZoneOptions:
    """The same, with what the runtime says in its place."""
    if runtime.is_empty:
        return options
    force = options.force_local
    return replace(
        options,
        enabled=runtime.integer("upstream.zone_routing.enabled", options.enabled),
        min_cluster_size=runtime.integer(
            "upstream.zone_routing.min_cluster_size", options.min_cluster_size
        ),
        force_local=force
        if force is None
        else runtime.integer("upstream.zone_routing.force_local_zone.min_size", force),
    )


def _force_local(zones: Any) -> int | None:
    if zones.HasField("force_local_zone"):
        force = zones.force_local_zone
        return force.min_size.value if force.HasField("min_size") else 1
    return 1 if zones.force_locality_direct_routing else None


class NoZones(Exception):
    """These hosts are not routed by zone.  The argument is the statistic that says why, or
    nothing.
    """


@dataclass(frozen=True)
class Zones:
    """Where the connections of this proxy go; localities are named by their place in the upstream's
    `HostSet.localities`.
    """

    home: int | None
    """The locality of this proxy, or `None` where it has no hosts."""

    direct: bool
    """Whether all connections stay."""

    stay: int = 0
    """The part that stays, of 10000."""

    residual: tuple[int, ...] = ()
    """What each locality can take of the rest, added up from the first one on."""

    def elsewhere(self, random: Random) -> int | None:
        """A locality for a connection that does not stay; `None` where none has room, as rounding
        may have it.
        """
        whole = self.residual[-1]
        return bisect_right(self.residual, random.randrange(whole)) if whole else None


def zones(
    upstream: HostSet, proxies: HostSet, here: Locality | None, options: ZoneOptions
) -> Zones:
    """How to route to the hosts of the first priority.

    :param proxies: the first priority of the local cluster.
    :raise NoZones: where they are not routed by zone.
    """
    home = _routable(upstream, proxies, here, options)
    size = _weight if options.by_weight else len
    local = {each.locality: size(each.healthy) for each in proxies.localities}
    sizes = [size(each.healthy) for each in upstream.localities]
    local_shares = _shares(
        [local.get(each.locality, 0) for each in upstream.localities], sum(local.values())
    )
    shares = _shares(sizes, sum(sizes))
    if home is not None and _stays(upstream, home, shares, local_shares, options):
        return Zones(home, direct=True)
    room = [
        0 if place == home else max(0, shares[place] - local_shares[place])
        for place in range(len(shares))
    ]
    stay = (
        0 if home is None or not local_shares[home] else shares[home] * WHOLE // local_shares[home]
    )
    return Zones(home, False, stay, tuple(accumulate(room)))


def _routable(
    upstream: HostSet, proxies: HostSet, here: Locality | None, options: ZoneOptions
) -> int | None:
    """The place of this proxy's locality among those of the upstream."""
    if len(upstream.localities) < 2:
        raise NoZones
    if len(proxies.localities) < 2 and options.force_local is None:
        raise NoZones
    if here is None or here not in {each.locality for each in proxies.localities}:
        raise NoZones("lb_local_cluster_not_ok")
    if len(upstream.healthy) < options.min_cluster_size:
        raise NoZones("lb_zone_cluster_too_small")
    return next(
        (place for place, each in enumerate(upstream.localities) if each.locality == here), None
    )


def _stays(
    upstream: HostSet, home: int, shares: list[int], local_shares: list[int], options: ZoneOptions
) -> bool:
    if (
        options.force_local is not None
        and len(upstream.localities[home].healthy) >= options.force_local
    ):
        return True
    return 0 < shares[home] >= local_shares[home]


def _shares(parts: list[int], whole: int) -> list[int]:
    return [WHOLE * part // whole if whole else 0 for part in parts]


def _weight(hosts: Sequence[Host]) -> int:
    return sum(host.weight for host in hosts)
