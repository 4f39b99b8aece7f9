"""The overload manager: names that must differ or must be known, thresholds in order, and what is
accepted and does nothing for TCP.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from envoy.config.overload.v3.overload_pb2 import ScaleTimersOverloadActionConfig

from tcpmesh.config.checks.extensions import check_typed_config
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, unpack
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.values.overload import (
    HTTP_ACTIONS,
    REDUCE_TIMEOUTS,
    RESET_HIGH_MEMORY_STREAM,
    SHRINK_HEAP,
    TCP_ACTIONS,
    TCP_POINTS,
    TRANSPORT_SOCKET_CONNECT,
)

_OVERLOAD = "envoy.config.overload.v3."
_MONITORS = "envoy.extensions.resource_monitors."
_CONNECTIONS = f"{_MONITORS}downstream_connections.v3.DownstreamConnectionsConfig"

LIMIT_NAME = "envoy.resource_monitors.global_downstream_max_connections"
"""The only name that Envoy takes for the resource of all connections."""

SETTINGS = {
    REDUCE_TIMEOUTS: f"{_OVERLOAD}ScaleTimersOverloadActionConfig",
    SHRINK_HEAP: f"{_OVERLOAD}ShrinkHeapConfig",
}
"""The `typed_config` of those actions that may have one."""

_check_monitor_type = check_typed_config("resource monitor", _MONITORS)


def _check_manager(manager: Any, field_path: FieldPath, report: Report) -> None:
    resources = _names(
        manager.resource_monitors, (field_path, "resource_monitors"), "resource monitor", report
    )
    actions = _names(manager.actions, (field_path, "actions"), "overload action", report)
    for index, action in enumerate(manager.actions):
        here: FieldPath = ((field_path, "actions"), index)
        _check_action(action, here, manager, report)
        _check_triggers(action.triggers, here, resources, report)
        _check_settings(action, here, report)
    for index, point in enumerate(manager.loadshed_points):
        here = ((field_path, "loadshed_points"), index)
        if point.name in actions:
            report.error((here, "name"), f"{point.name!r} is the name of an overload action")
        elif point.name not in TCP_POINTS:
            report.warning((here, "name"), f"nothing of TCP is shed at {point.name!r}")
        _check_triggers(point.triggers, here, resources, report, is_point=True)
    _names(manager.loadshed_points, (field_path, "loadshed_points"), "load shed point", report)


def _names(
    messages: Iterable[Any], field_path: FieldPath, kind: str, report: Report
) -> dict[str, Any]:
    """The messages by their names, of which there may be one each."""
    found: dict[str, Any] = {}
    for index, each in enumerate(messages):
        if each.name and found.setdefault(each.name, each) is not each:
            report.error(((field_path, index), "name"), f"duplicate {kind} {each.name!r}")
    return found


def _check_action(action: Any, field_path: FieldPath, manager: Any, report: Report) -> None:
    here: FieldPath = (field_path, "name")
    if action.name in HTTP_ACTIONS:
        report.warning(here, f"{action.name!r} does nothing for TCP")
    elif action.name and action.name not in TCP_ACTIONS:
        report.error(here, f"there is no overload action {action.name!r}")
    if action.name == RESET_HIGH_MEMORY_STREAM and not manager.HasField("buffer_factory_config"):
        report.error(here, f"{action.name!r} requires buffer_factory_config")


def _check_triggers(
    triggers: Any,
    field_path: FieldPath,
    resources: dict[str, Any],
    report: Report,
    is_point: bool = False,
) -> None:
    seen: set[str] = set()
    for index, trigger in enumerate(triggers):
        here: FieldPath = (((field_path, "triggers"), index), "name")
        if trigger.name in seen:
            report.error(here, f"duplicate trigger {trigger.name!r}")
        seen.add(trigger.name)
        resource = resources.get(trigger.name)
        if resource is None:
            if trigger.name:
                report.error(here, f"no resource monitor is named {trigger.name!r}")
        elif extension_type(resource.typed_config) == _CONNECTIONS:
            text = f"{trigger.name!r} acts by itself: it has no pressure for a trigger to go by"
            if is_point:
                report.error(here, text)
            else:
                report.warning(here, text)


def _check_settings(action: Any, field_path: FieldPath, report: Report) -> None:
    """The `typed_config` of an action."""
    here: FieldPath = (field_path, "typed_config")
    if not action.HasField("typed_config"):
        if action.name == REDUCE_TIMEOUTS:
            text = f"{action.name!r} requires a typed_config that says which timeouts"
            report.absent(field_path, ["typed_config"], text)
        return
    wanted = SETTINGS.get(action.name)
    if wanted is None:
        report.error(here, f"{action.name!r} takes no typed_config")
    elif extension_type(action.typed_config) != wanted:
        report.error((here, "@type"), f"the typed_config of {action.name!r} is a {wanted}")
    elif action.name == REDUCE_TIMEOUTS:
        _check_timers(unpack(action.typed_config), here, report)


def _check_timers(settings: Any, field_path: FieldPath, report: Report) -> None:
    seen: set[str] = set()
    names = ScaleTimersOverloadActionConfig.TimerType
    for index, factor in enumerate(settings.timer_scale_factors):
        here: FieldPath = (((field_path, "timer_scale_factors"), index), "timer")
        name = names.Name(factor.timer) if factor.timer in names.values() else ""
        if name in seen:
            report.error(here, f"duplicate timer {name}")
        seen.add(name)
        if name.startswith("HTTP"):
            report.warning(
                here, f"{name} is a timer of HTTP; of TCP there is {TRANSPORT_SOCKET_CONNECT}"
            )


def _check_monitor(monitor: Any, field_path: FieldPath, report: Report) -> None:
    _check_monitor_type(monitor, field_path, report)
    kind = extension_type(monitor.typed_config)
    if kind == _CONNECTIONS and monitor.name not in ("", LIMIT_NAME):
        report.error((field_path, "name"), f"this resource monitor can only be named {LIMIT_NAME}")


def _check_scaled(trigger: Any, field_path: FieldPath, report: Report) -> None:
    if trigger.scaling_threshold >= trigger.saturation_threshold:
        text = "it must be less than saturation_threshold"
        report.error((field_path, "scaling_threshold"), text)


def _check_heap(config: Any, field_path: FieldPath, report: Report) -> None:
    by_runtime = config.HasField("max_heap_size_bytes_runtime")
    if by_runtime and config.max_heap_size_bytes:
        text = "only one of max_heap_size_bytes and max_heap_size_bytes_runtime can be set"
        report.error((field_path, "max_heap_size_bytes_runtime"), text)
    elif by_runtime and not config.max_heap_size_bytes_runtime.default_value:
        here: FieldPath = ((field_path, "max_heap_size_bytes_runtime"), "default_value")
        report.error(here, "it must be greater than 0")
    elif not by_runtime and not config.max_heap_size_bytes:
        text = "it is required, and must be greater than 0"
        report.absent(field_path, ["max_heap_size_bytes"], text)


def _check_injected(config: Any, field_path: FieldPath, report: Report) -> None:
    """Envoy watches the directory that the file is in; the file itself may come later."""
    folder, slash, _ = config.filename.rpartition("/")
    here: FieldPath = (field_path, "filename")
    if config.filename and not slash:
        text = f"{config.filename!r} names no directory that it is in"
        report.error(here, text, f"./{config.filename}")
    elif slash and not os.path.isdir(folder or "/"):
        text = f"cannot watch {config.filename!r}: there is no directory {folder!r}"
        report.error(here, text)


CHECKS = {
    f"{_OVERLOAD}OverloadManager": _check_manager,
    f"{_OVERLOAD}ResourceMonitor": _check_monitor,
    f"{_OVERLOAD}ScaledTrigger": _check_scaled,
    f"{_MONITORS}fixed_heap.v3.FixedHeapConfig": _check_heap,
    f"{_MONITORS}injected_resource.v3.InjectedResourceConfig": _check_injected,
}
