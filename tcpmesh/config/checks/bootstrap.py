"""The bootstrap as a whole: names and addresses that must differ, names that must exist, layers of
runtime values.
"""

from __future__ import annotations

import os
from typing import Any

from tcpmesh.config.fields.addresses import address_key, check_bind_address
from tcpmesh.config.fields.runtime_values import is_share
from tcpmesh.config.fields.to_plain import plain_value
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.logs.pattern import json_pattern


def _check_bootstrap(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    static: FieldPath = (field_path, "static_resources")
    _check_cluster_names(bootstrap.static_resources.clusters, (static, "clusters"), report)
    _check_listeners(bootstrap.static_resources.listeners, (static, "listeners"), report)
    if bootstrap.HasField("admin"):
        _check_admin(bootstrap.admin.address, ((field_path, "admin"), "address"), report)
    local = bootstrap.cluster_manager.local_cluster_name
    if local and local not in report.cluster_names:
        report.error(
            ((field_path, "cluster_manager"), "local_cluster_name"),
            f"no static cluster is named {local!r}",
        )
    _check_watchdogs(bootstrap, field_path, report)


def _check_watchdogs(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    if bootstrap.HasField("watchdog") and bootstrap.HasField("watchdogs"):
        report.error((field_path, "watchdogs"), "only one of watchdog and watchdogs can be set")
    if bootstrap.watchdogs.main_thread_watchdog.HasField("kill_timeout"):
        here: FieldPath = ((field_path, "watchdogs"), "main_thread_watchdog")
        report.warning((here, "kill_timeout"), "no effect: nothing ends the main process")


def _check_admin(address: Any, field_path: FieldPath, report: Report) -> None:
    check_bind_address(address, field_path, report)
    if address.socket_address.address in ("0.0.0.0", "::"):
        text = (
            "the admin interface asks nobody who they are, and this address opens it to "
            "every network"
        )
        report.warning(((field_path, "socket_address"), "address"), text)


def _check_cluster_names(clusters: Any, field_path: FieldPath, report: Report) -> None:
    names: dict[str, int] = {}
    for index, cluster in enumerate(clusters):
        first = names.setdefault(cluster.name, index)
        if cluster.name and first != index:
            place = report.places.at("static_resources", "clusters", first, "name")
            report.error(
                ((field_path, index), "name"),
                f"duplicate cluster {cluster.name!r}, the first is at {place}",
            )


def _check_listeners(listeners: Any, field_path: FieldPath, report: Report) -> None:
    """Of two listeners of one name Envoy drops the second without a word; two names on one address
    it refuses.
    """
    names: dict[str, int] = {}
    bound: dict[str, int] = {}
    for index, listener in enumerate(listeners):
        first = names.setdefault(listener.name, index) if listener.name else index
        if first != index:
            place = report.places.at("static_resources", "listeners", first, "name")
            text = (
                f"a listener named {listener.name!r} is already at {place}: this one will be "
                f"ignored"
            )
            report.warning(((field_path, index), "name"), text)
        else:
            _check_bound(listener, (field_path, index), index, bound, report)


def _check_bound(
    listener: Any, field_path: FieldPath, index: int, bound: dict[str, int], report: Report
) -> None:
    own = {address_key(listener.address): (field_path, "address")}
    for number, more in enumerate(listener.additional_addresses):
        own.setdefault(
            address_key(more.address), (((field_path, "additional_addresses"), number), "address")
        )
    for key, here in own.items():
        first = bound.setdefault(key, index) if key else index
        if first != index:
            place = report.places.at("static_resources", "listeners", first, "address")
            report.error(here, f"duplicate address {key}, the listener at {place} has it")


def _check_log_format(log_format: Any, field_path: FieldPath, report: Report) -> None:
    if log_format.WhichOneof("log_format") == "json_format":
        values: Any = plain_value(log_format.json_format)
        try:
            json_pattern(values)
        except ValueError as e:
            report.error((field_path, "json_format"), str(e))


#: Kinds of a `google.protobuf.Value` that no runtime value has.
_NO_VALUES = {"null_value": "null", "list_value": "a list", None: "null"}


def _check_layers(runtime: Any, field_path: FieldPath, report: Report) -> None:
    names: dict[str, int] = {}
    admin: int | None = None
    for index, layer in enumerate(runtime.layers):
        here: FieldPath = ((field_path, "layers"), index)
        first = names.setdefault(layer.name, index)
        if layer.name and first != index:
            place = report.places.at("layered_runtime", "layers", first, "name")
            report.error((here, "name"), f"duplicate layer {layer.name!r}, the first is at {place}")
        if layer.HasField("admin_layer"):
            if admin is not None:
                place = report.places.at("layered_runtime", "layers", admin)
                text = f"a second layer for what operators set: there may be one, it is at {place}"
                report.error((here, "admin_layer"), text)
            admin = index if admin is None else admin


def _check_layer(layer: Any, field_path: FieldPath, report: Report) -> None:
    if layer.HasField("static_layer"):
        _check_values(layer.static_layer, (field_path, "static_layer"), report)


def _check_values(struct: Any, field_path: FieldPath, report: Report) -> None:
    """Of a mapping inside another one, which is no share, each entry is a value of its own."""
    for name, value in struct.fields.items():
        here = (field_path, name)
        if value.WhichOneof("kind") in _NO_VALUES:
            kind = _NO_VALUES[value.WhichOneof("kind")]
            report.error(here, f"no runtime value: {kind}, where a number or a text is due")
        elif not is_share(value.struct_value.fields):
            _check_values(value.struct_value, here, report)


def _check_disk(layer: Any, field_path: FieldPath, report: Report) -> None:
    """Envoy watches the directory that the root is in; the root itself may come later."""
    folder, slash, _ = layer.symlink_root.rpartition("/")
    here = (field_path, "symlink_root")
    if not slash:
        text = f"{layer.symlink_root!r} names no directory that it is in"
        report.error(here, text, f"./{layer.symlink_root}" if layer.symlink_root else "")
    elif not os.path.isdir(folder or "/"):
        text = f"cannot watch {layer.symlink_root!r}: there is no directory {folder!r}"
        report.error(here, text)


CHECKS = {
    "envoy.config.bootstrap.v3.Bootstrap": _check_bootstrap,
    "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat": _check_log_format,
    "envoy.config.bootstrap.v3.LayeredRuntime": _check_layers,
    "envoy.config.bootstrap.v3.RuntimeLayer": _check_layer,
    "envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer": _check_disk,
}
