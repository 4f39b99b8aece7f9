"""Where discovery gets its resources from: each way needs its own fields, and a cluster that needs
no discovery itself.
"""

from __future__ import annotations

import os
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion

from tcpmesh.config.checks.health import HTTP_OPTIONS, has_http2
from tcpmesh.config.fields.grpc_target import WrongTarget, place
from tcpmesh.config.fields.operators import FormatError, parse
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

_GRPC = (ApiConfigSource.GRPC, ApiConfigSource.DELTA_GRPC)


def _check_bootstrap(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    dynamic, here = bootstrap.dynamic_resources, (field_path, "dynamic_resources")
    if dynamic.HasField("ads_config"):
        _check_ads(dynamic.ads_config, (here, "ads_config"), report)
    if dynamic.HasField("cds_config"):
        check_source(dynamic.cds_config, (here, "cds_config"), report)


def _check_ads(source: Any, field_path: FieldPath, report: Report) -> None:
    if source.api_type not in _GRPC:
        report.error(
            (field_path, "api_type"), "ADS is a gRPC stream: api_type must be GRPC or DELTA_GRPC"
        )
    check_node(field_path, report)


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    if cluster.type == Cluster.EDS and cluster.eds_cluster_config.HasField("eds_config"):
        here: FieldPath = ((field_path, "eds_cluster_config"), "eds_config")
        check_source(cluster.eds_cluster_config.eds_config, here, report)


def _check_runtime(layer: Any, field_path: FieldPath, report: Report) -> None:
    if not layer.HasField("rtds_config"):
        text = "a layer from discovery needs an rtds_config"
        report.absent(field_path, ["rtds_config"], text)
        return
    check_source(layer.rtds_config, (field_path, "rtds_config"), report)


def _check_secret(config: Any, field_path: FieldPath, report: Report) -> None:
    if config.HasField("sds_config"):
        check_source(config.sds_config, (field_path, "sds_config"), report)


def check_source(source: Any, field_path: FieldPath, report: Report) -> None:
    """Report a ConfigSource that cannot work.  (That of listeners is opened when it starts.)"""
    check_node(field_path, report)
    parent: FieldPath
    if source.HasField("path_config_source"):
        path, parent = source.path_config_source.path, (field_path, "path_config_source")
    else:
        path, parent = source.path, field_path
    if path and not os.path.exists(path):
        report.error((parent, "path"), f"cannot read the file {path!r}")


def check_node(field_path: FieldPath, report: Report) -> None:
    """Report discovery where the node has no id or cluster to introduce itself with."""
    node = report.bootstrap.node
    if not node.id or not node.cluster:
        report.error(
            field_path,
            "discovery needs a node with id and cluster, in the bootstrap or by --service-node "
            "and --service-cluster",
        )


def _check_api_source(source: Any, field_path: FieldPath, report: Report) -> None:
    if source.transport_api_version == ApiVersion.V2:
        report.error(
            (field_path, "transport_api_version"),
            "transport_api_version V2 is gone, it must be V3",
        )
    if source.api_type in _GRPC:
        _check_grpc_source(source, field_path, report)
    else:
        _check_rest_source(source, field_path, report)


def _check_grpc_source(source: Any, field_path: FieldPath, report: Report) -> None:
    if source.cluster_names:
        report.error(
            (field_path, "cluster_names"),
            "a gRPC source names its cluster in grpc_services, not in cluster_names",
        )
    if len(source.grpc_services) != 1:
        text = (
            f"a gRPC source needs exactly one of grpc_services, it has {len(source.grpc_services)}"
        )
        report.error((field_path, "grpc_services"), text)
    for index, service in enumerate(source.grpc_services):
        if service.HasField("envoy_grpc"):
            here: FieldPath = (
                (((field_path, "grpc_services"), index), "envoy_grpc"),
                "cluster_name",
            )
            _check_static_cluster(service.envoy_grpc.cluster_name, here, report)


def _check_rest_source(source: Any, field_path: FieldPath, report: Report) -> None:
    if len(source.cluster_names) != 1:
        text = (
            f"a REST source needs exactly one of cluster_names, it has {len(source.cluster_names)}"
        )
        report.error((field_path, "cluster_names"), text)
    for index, name in enumerate(source.cluster_names):
        _check_static_cluster(name, ((field_path, "cluster_names"), index), report)
    if not source.HasField("refresh_delay"):
        report.absent(field_path, ["refresh_delay"], "a REST source needs a refresh_delay")


def _check_static_cluster(name: str, field_path: FieldPath, report: Report) -> None:
    clusters = report.bootstrap.static_resources.clusters
    known = {cluster.name for cluster in clusters if cluster.type != Cluster.EDS}
    if name and name not in known:
        text = (
            f"{name!r} is no static cluster of the bootstrap (one that needs no discovery itself)"
        )
        report.error(field_path, text, report.near_cluster(name))


def _check_service(service: Any, field_path: FieldPath, report: Report) -> None:
    for index, each in enumerate(service.initial_metadata):
        here = ((field_path, "initial_metadata"), index)
        if each.key.startswith(":") or each.key.lower() == "host":
            report.error(
                (here, "key"), "a header field that calls have already, and that cannot be another"
            )
        try:
            parse(each.value)
        except FormatError as e:
            report.error((here, "value"), str(e))


def _check_envoy(service: Any, field_path: FieldPath, report: Report) -> None:
    """Envoy takes a cluster that is not there, or that does not speak HTTP/2: then no call comes to
    anything.
    """
    here = (field_path, "cluster_name")
    name = service.cluster_name
    clusters = report.bootstrap.static_resources.clusters if report.bootstrap is not None else ()
    found = [each for each in clusters if each.name == name]
    if not found and not report.has_cluster_discovery:
        report.warning(here, f"there is no cluster {name!r}: every call will fail")
    if found and not has_http2(found[0]):
        report.warning(
            here,
            f"the cluster {name!r} does not say that it speaks HTTP/2: Envoy would call it over "
            f"HTTP/1, and every call would fail; tcpmesh speaks HTTP/2",
            f"set explicit_http_config of {HTTP_OPTIONS}",
        )


def _check_google(service: Any, field_path: FieldPath, report: Report) -> None:
    try:
        place(service.target_uri)
    except WrongTarget as e:
        report.error((field_path, "target_uri"), str(e))


CHECKS = {
    "envoy.config.core.v3.GrpcService": _check_service,
    "envoy.config.core.v3.GrpcService.EnvoyGrpc": _check_envoy,
    "envoy.config.core.v3.GrpcService.GoogleGrpc": _check_google,
    "envoy.config.bootstrap.v3.Bootstrap": _check_bootstrap,
    "envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer": _check_runtime,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig": _check_secret,
    "envoy.config.core.v3.ApiConfigSource": _check_api_source,
}
