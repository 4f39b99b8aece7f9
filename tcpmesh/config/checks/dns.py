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
from tcpmesh.config.messages.types import extension_type, is_foreign, unpack
from tcpmesh.config.text.problems import FieldPath

_DNS_CLUSTER = "envoy.extensions.clusters.dns.v3.DnsCluster"
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


CHECKS = {
    "envoy.config.bootstrap.v3.Bootstrap": _check_resolver,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    _DNS_CLUSTER: _check_names,
    "envoy.config.core.v3.DnsResolutionConfig": _check_resolvers,
    _RESOLVERS + "cares.v3.CaresDnsResolverConfig": _check_resolvers,
}
