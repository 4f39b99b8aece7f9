"""The bootstrap itself: runtime, the admin's access log, tracing, and where configuration comes
from over the network.
"""

from __future__ import annotations

from tcpmesh.config.migrate.clusters import is_null, value_of
from tcpmesh.config.migrate.spot import HOST, Rules, Spot
from tcpmesh.config.migrate.written import (
    Entry,
    Group,
    Scalar,
    entry,
    mapping,
    scalar,
    scalars_of,
    sequence,
)

_BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
_CORE = "envoy.config.core.v3."
_FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
_ZIPKIN = "envoy.config.trace.v3.ZipkinConfig"

#: Messages that say of which version of the protocol they speak, and the field for it.
_VERSIONED = {
    _CORE + "ApiConfigSource": "transport_api_version",
    _CORE + "ConfigSource": "resource_api_version",
    "envoy.config.metrics.v3.MetricsServiceConfig": "transport_api_version",
    "envoy.config.ratelimit.v3.RateLimitServiceConfig": "transport_api_version",
    "envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig": "transport_api_version",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz": "transport_api_version",
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz": "transport_api_version",
}


def _runtime(spot: Spot, each: Entry) -> None:
    """`runtime`: a folder and a base, which became layers, in the order that Envoy gave them."""
    if not is_null(spot.group.get("layered_runtime")) or not isinstance(each.value, Group):
        spot.trouble(each, "'runtime' beside layered_runtime, or without a value", "take it out")
        return
    inner = Spot(spot.walk, each.value, spot.descriptor, spot.path)
    layers = []
    base = each.value.get("base")
    if base is not None and not is_null(base):
        layers.append(mapping(spot.entry("name", "base"), spot.moved("static_layer", base)))
    root = value_of(inner, "symlink_root")
    if root:
        folder = value_of(inner, "subdirectory")
        layers.append(_disk_layer(spot, "root", root, folder))
        override = value_of(inner, "override_subdirectory")
        if override:
            layers.append(_disk_layer(spot, "override", root, override, by_cluster=True))
    layers.append(
        mapping(spot.entry("name", "admin"), spot.entry("admin_layer", mapping())),
    )
    new = spot.entry("layered_runtime", mapping(spot.entry("layers", sequence(*layers))))
    spot.replace(each, new)
    spot.say(each, "'runtime' becomes layered_runtime, with the layers that Envoy made of it")


def _disk_layer(
    spot: Spot, name: str, root: object, folder: object, by_cluster: bool = False
) -> Group:
    disk = spot.fields(symlink_root=str(root))
    if folder:
        disk.entries.append(spot.entry("subdirectory", str(folder)))
    if by_cluster:
        disk.entries.append(spot.entry("append_service_cluster", True))
    return mapping(spot.entry("name", name), spot.entry("disk_layer", disk))


def _access_log_path(spot: Spot) -> None:
    """`access_log_path` of the admin interface, which logs as listeners do now."""
    each = spot.group.get("access_log_path")
    if each is None or is_null(each) or not is_null(spot.group.get("access_log")):
        return
    typed = mapping(entry("@type", HOST + _FILE_LOG), spot.moved("path", each))
    log = mapping(
        spot.entry("name", "envoy.access_loggers.file"), spot.entry("typed_config", typed)
    )
    spot.replace(each, spot.entry("access_log", sequence(log)))
    spot.say(each, "'access_log_path' becomes access_log", is_needed=False)


def _build_version(spot: Spot, each: Entry) -> None:
    spot.rename(each, "user_agent_version")
    spot.say(each, "'build_version' becomes user_agent_version")


def _rate_limit_service(spot: Spot, each: Entry) -> None:
    """`rate_limit_service` for all filters: each of them has its own now."""
    if not isinstance(each.value, Group) or not each.value.is_mapping:
        return
    inner = each.value.get("use_data_plane_proto")
    if inner is not None:
        each.value.remove(inner, spot.walk.style.pad)
    spot.walk.rate_limit_service = each.value
    spot.drop(each)
    spot.say(each, "'rate_limit_service' moves into each filter that limits rates")


def _rate_limit_filter(spot: Spot) -> None:
    service = spot.walk.rate_limit_service
    if service is None or spot.group.get("rate_limit_service") is not None:
        return
    own = spot.add("rate_limit_service", service.copy())
    spot.say(own, "'rate_limit_service' of the bootstrap is here now")


def _old_discovery(spot: Spot, each: Entry) -> None:
    spot.trouble(
        each,
        "Envoy no longer speaks the v1 protocol of discovery",
        "the hosts of EDS clusters come from eds_cluster_config: ask another control plane",
    )


# ---------------------------------------------------------------- control planes


def _api_version(spot: Spot) -> None:
    """Say V3 where a version of the protocol is to be said."""
    name = _VERSIONED[spot.descriptor.full_name]
    has_service = any(
        not is_null(spot.group.get(field))
        for field in ("grpc_service", "path", "api_config_source", "ads", "path_config_source")
    )
    each = spot.group.get(name)
    if not has_service and spot.descriptor.full_name != _CORE + "ApiConfigSource":
        return
    if each is None:
        new = spot.add(name, "V3")
        spot.say(new, f"{name} is V3", is_needed=False)
    elif str(value_of(spot, name)).upper() in ("AUTO", "V2"):
        each.value = scalar("V3")
        spot.say(each, f"{name} is V3 now", is_needed=False)


def _cluster_names(spot: Spot) -> None:
    """Clusters of a control plane that is asked by gRPC, which are gRPC services now."""
    each = spot.group.get("cluster_names") or spot.group.get("cluster_name")
    kind = str(value_of(spot, "api_type")).upper()
    if each is not None and kind in ("NONE", "REST_LEGACY", "UNSUPPORTED_REST_LEGACY"):
        _set_rest(spot)
    if each is None or is_null(each) or kind not in ("GRPC", "DELTA_GRPC"):
        return
    if not is_null(spot.group.get("grpc_services")):
        spot.drop(each)
        spot.say(each, f"{each.name!r} is taken out: grpc_services say it")
        return
    services = [
        mapping(spot.entry("envoy_grpc", mapping(Entry(spot.key("cluster_name"), item.value))))
        for item in scalars_of(each.value)
    ]
    spot.replace(each, spot.entry("grpc_services", sequence(*services)))
    spot.say(each, f"{each.name!r} of a gRPC control plane becomes grpc_services")


def _path(spot: Spot) -> None:
    """`path` of a file that xDS reads, which is watched by a message of its own now."""
    each = spot.group.get("path")
    if each is None or is_null(each) or not is_null(spot.group.get("path_config_source")):
        return
    spot.replace(each, spot.entry("path_config_source", mapping(spot.moved("path", each))))
    spot.say(each, "'path' becomes path_config_source", is_needed=False)


def _set_rest(spot: Spot) -> None:
    """Ask by REST where the file says nothing, or what was the protocol of v1."""
    written = spot.group.get("api_type")
    if written is not None:
        written.value = scalar("REST")
    else:
        written = spot.add("api_type", "REST")
    spot.say(written, "api_type is REST: the protocol of v1 is no longer spoken")


def _grpc_cluster(spot: Spot, each: Entry) -> None:
    """`cluster_name` of a service, before there were several kinds of gRPC clients."""
    service = mapping(spot.entry("envoy_grpc", mapping(spot.moved("cluster_name", each))))
    spot.replace(each, spot.entry("grpc_service", service))
    spot.say(each, "'cluster_name' becomes grpc_service")


# ---------------------------------------------------------------- tracing


def _zipkin(spot: Spot) -> None:
    """Zipkin is spoken to in version 2 of its protocol, at another path."""
    each, path = spot.group.get("collector_endpoint_version"), spot.group.get("collector_endpoint")
    value = str(value_of(spot, "collector_endpoint_version")).upper()
    if each is None:
        new = spot.add("collector_endpoint_version", "HTTP_JSON")
        spot.say(new, "Zipkin is spoken to in version 2: collector_endpoint_version is HTTP_JSON")
    elif value in ("HTTP_JSON_V1", "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE", "0"):
        each.value = scalar("HTTP_JSON")
        spot.say(each, "Zipkin is spoken to in version 2: HTTP_JSON_V1 is HTTP_JSON now")
    else:
        return
    if path is not None and isinstance(path.value, Scalar) and path.value.value == "/api/v1/spans":
        path.value = scalar("/api/v2/spans")
        spot.say(path, "version 2 of Zipkin's protocol is at /api/v2/spans")


def add_to(rules: Rules) -> None:
    """Add what this module knows to the rules of a migration."""
    rules.fields |= {
        (_BOOTSTRAP, "runtime"): _runtime,
        (_BOOTSTRAP, "rate_limit_service"): _rate_limit_service,
        (f"{_BOOTSTRAP}.DynamicResources", "deprecated_v1"): _old_discovery,
        (_CORE + "Node", "build_version"): _build_version,
        ("envoy.config.ratelimit.v3.RateLimitServiceConfig", "cluster_name"): _grpc_cluster,
    }
    rules.messages.setdefault("envoy.config.bootstrap.v3.Admin", []).append(_access_log_path)
    rules.messages.setdefault(_CORE + "ApiConfigSource", []).append(_cluster_names)
    rules.messages.setdefault(_ZIPKIN, []).append(_zipkin)
    for layer in ("http", "network"):
        name = f"envoy.extensions.filters.{layer}.ratelimit.v3.RateLimit"
        rules.messages.setdefault(name, []).append(_rate_limit_filter)
    rules.messages.setdefault(_CORE + "ConfigSource", []).append(_path)
    for name in _VERSIONED:
        rules.messages.setdefault(name, []).append(_api_version)
