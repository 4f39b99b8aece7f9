"""DNS: what Envoy demands of resolvers and of clusters that resolve names, whichever of their many
fields say so.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.config.checks.balancing import chosen
from tcpmesh.config.checks.clusters import BY_NAME, kind_of
from tcpmesh.config.fields.addresses import is_ip
from tcpmesh.config.fields.values import nanoseconds
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, is_foreign, type_of_url, unpack
from tcpmesh.config.text.problems import FieldPath

_MOST_HOSTS = 1024
_BY_NAME = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
_DNS_CLUSTER = "envoy.extensions.clusters.dns.v3.DnsCluster"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_RESOLVERS = "envoy.extensions.network.dns_resolver."


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    _check_servers(cluster.dns_resolvers, (field_path, "dns_resolvers"), report)
    _check_resolver(cluster, field_path, report)
    if kind_of(cluster) in ("STRICT_DNS", "LOGICAL_DNS"):
        _check_backoff(
            cluster.dns_failure_refresh_rate, (field_path, "dns_failure_refresh_rate"), report
        )
    if cluster.WhichOneof("cluster_discovery_type") == "cluster_type":
        _check_type(cluster, field_path, report)
        _check_by_name(cluster, field_path, report)


def _check_names(message: Any, field_path: FieldPath, report: Report) -> None:
    _check_resolver(message, field_path, report)
    _check_backoff(
        message.dns_failure_refresh_rate, (field_path, "dns_failure_refresh_rate"), report
    )


def _check_resolver(message: Any, field_path: FieldPath, report: Report) -> None:
    """A `Cluster`, a `DnsCluster` or a `Bootstrap`."""
    if message.HasField("typed_dns_resolver_config"):
        type_name = extension_type(message.typed_dns_resolver_config.typed_config)
        if type_name and not type_name.startswith(_RESOLVERS) and not is_foreign(type_name):
            here: FieldPath = (((field_path, "typed_dns_resolver_config"), "typed_config"), "@type")
            report.error(here, f"{type_name} is no DNS resolver")


def _check_backoff(rate: Any, field_path: FieldPath, report: Report) -> None:
    """Envoy compares whole milliseconds."""
    if (
        rate.HasField("max_interval")
        and nanoseconds(rate.max_interval) // 10**6 < nanoseconds(rate.base_interval) // 10**6
    ):
        report.error((field_path, "max_interval"), "max_interval must not be below base_interval")


def _check_type(cluster: Any, field_path: FieldPath, report: Report) -> None:
    config = cluster.cluster_type.typed_config
    type_name = extension_type(config)
    if not type_name and cluster.cluster_type.name in BY_NAME:
        return
    if not type_name:
        text = (
            f"cluster_type {cluster.cluster_type.name!r} has no typed_config with an "
            f"'@type'; the name alone chooses nothing"
        )
        report.absent((field_path, "cluster_type"), ["typed_config"], text)
    elif type_name == _DNS_CLUSTER:
        _check_dns_cluster(cluster, unpack(config), field_path, report)


def _check_dns_cluster(cluster: Any, message: Any, field_path: FieldPath, report: Report) -> None:
    if message is None:
        return
    groups = cluster.load_assignment.endpoints
    if message.all_addresses_in_single_endpoint and [
        len(group.lb_endpoints) for group in groups
    ] != [1]:
        text = (
            "a DnsCluster with all_addresses_in_single_endpoint needs one locality with one "
            "endpoint"
        )
        report.error((field_path, "load_assignment"), text)
    for i, group in enumerate(groups):
        for j, entry in enumerate(group.lb_endpoints):
            if entry.endpoint.address.socket_address.resolver_name:
                here: FieldPath = (
                    ((((field_path, "load_assignment"), "endpoints"), i), "lb_endpoints"),
                    j,
                )
                inner: FieldPath = (
                    (((here, "endpoint"), "address"), "socket_address"),
                    "resolver_name",
                )
                report.error(inner, "the endpoints of a DnsCluster must not name a resolver")
    if cluster.HasField("load_balancing_policy"):
        if chosen(cluster.load_balancing_policy).endswith(".v3.ClusterProvided"):
            report.error(
                (field_path, "load_balancing_policy"),
                "a DnsCluster provides no load balancer: choose another policy",
            )
    elif cluster.lb_policy == cluster.CLUSTER_PROVIDED:
        report.error(
            (field_path, "lb_policy"),
            "a DnsCluster provides no load balancer: lb_policy cannot be CLUSTER_PROVIDED",
        )


def _check_resolvers(message: Any, field_path: FieldPath, report: Report) -> None:
    _check_servers(message.resolvers, (field_path, "resolvers"), report)


def _check_servers(servers: Any, field_path: FieldPath, report: Report) -> None:
    """DNS servers are asked, so their own addresses must be numbers."""
    for index, address in enumerate(servers):
        here: FieldPath = (field_path, index)
        if address.HasField("pipe"):
            report.error((here, "pipe"), "a DNS resolver has an IP address")
        elif address.HasField("socket_address") and not is_ip(address.socket_address.address):
            text = f"malformed IP address: {address.socket_address.address!r}"
            report.error(((here, "socket_address"), "address"), text)


# ---------------------------------------------------------------- names that clients bring along


def _check_cache(cache: Any, field_path: FieldPath, report: Report) -> None:
    most = cache.max_hosts.value or _MOST_HOSTS
    if len(cache.preresolve_hostnames) > most:
        text = f"there is room for {most} names (max_hosts)"
        report.error((field_path, "preresolve_hostnames"), text)
    _check_resolver(cache, field_path, report)
    known = report.dns_caches.setdefault(cache.name, cache)
    if known != cache:
        report.error(field_path, f"the DNS cache {cache.name!r} has other settings elsewhere")


def _check_by_name(cluster: Any, field_path: FieldPath, report: Report) -> None:
    """A cluster whose hosts are those that clients name."""
    config = cluster.cluster_type.typed_config
    if extension_type(config) != _BY_NAME:
        return
    if cluster.HasField("load_balancing_policy"):
        if not chosen(cluster.load_balancing_policy).endswith(".v3.ClusterProvided"):
            text = "the cluster provides its load balancer, so this must be ClusterProvided"
            report.error((field_path, "load_balancing_policy"), text)
    elif cluster.lb_policy != cluster.CLUSTER_PROVIDED:
        text = "a cluster of this type needs lb_policy CLUSTER_PROVIDED"
        report.error((field_path, "lb_policy"), text)
    message: Any = unpack(config)
    if message is not None and not message.allow_insecure_cluster_options:
        _check_options(cluster, (field_path, "typed_extension_protocol_options"), report)


def _check_options(cluster: Any, field_path: FieldPath, report: Report) -> None:
    """What Envoy demands for requests of HTTP, it demands where these options are written."""
    for name, packed in cluster.typed_extension_protocol_options.items():
        options: Any = unpack(packed) if type_of_url(packed.type_url) == _OPTIONS else None
        if options is None:
            continue
        wanted = options.upstream_http_protocol_options
        if not (wanted.auto_sni and wanted.auto_san_validation):
            report.error(
                (field_path, name),
                "upstream_http_protocol_options must have auto_sni and auto_san_validation",
                "or set allow_insecure_cluster_options, which means nothing for TCP",
            )


CHECKS = {
    "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig": _check_cache,
    "envoy.config.bootstrap.v3.Bootstrap": _check_resolver,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    _DNS_CLUSTER: _check_names,
    "envoy.config.core.v3.DnsResolutionConfig": _check_resolvers,
    _RESOLVERS + "cares.v3.CaresDnsResolverConfig": _check_resolvers,
}
