"""The process itself: whether it is ready for traffic, how it was started and what it uses."""

from __future__ import annotations

import platform
import resource
from datetime import datetime, timezone
from hashlib import blake2b
from time import time
from typing import Any

from envoy.admin.v3 import server_info_pb2
from google.protobuf import json_format

from tcpmesh.admin.answers.endpoint import (
    Answer,
    Call,
    Endpoint,
    Parameter,
    help_text,
    json_answer,
    json_list_answer,
)
from tcpmesh.admin.answers.node import own_node, version_text
from tcpmesh.interfaces import IServer
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import CertificateStatus, TlsContextStatus

_DAY = 86400


def _ready(call: Call) -> Answer:
    state = call.server.state
    return Answer(f"{state}\n", status=200 if state == "LIVE" else 503)


def _help(call: Call) -> Answer:
    return Answer(help_text(call.endpoints))


def _server_info(call: Call) -> Answer:
    info = json_format.MessageToDict(
        _server_info_message(call.server),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return json_answer({field: info[field] for field in _INFO_FIELDS if field in info})


_INFO_FIELDS = tuple(server_info_pb2.ServerInfo.DESCRIPTOR.fields_by_name)
"""In the order of the schema, with what people look for first at the top."""


def _server_info_message(server: IServer) -> Any:
    info = server_info_pb2.ServerInfo(
        version=f"{version_text()}/{platform.python_implementation()} {platform.python_version()}",
        state=server.state,
        hot_restart_version=server.restart_facts.version,
        command_line_options=_command_line(server.options),
        node=own_node(server),
    )
    info.uptime_current_epoch.FromSeconds(int(server.uptime))
    info.uptime_all_epochs.FromSeconds(int(server.restart_facts.before + server.uptime))
    return info


def _command_line(options: ServerOptions) -> Any:
    """The options under the names and with the types of `envoy.admin.v3.CommandLineOptions`."""
    line = server_info_pb2.CommandLineOptions(
        mode=options.mode.capitalize(),
        drain_strategy=options.drain_strategy.capitalize(),
        local_address_ip_version="v4",
    )
    for name in _SAME_IN_BOTH:
        setattr(line, name, getattr(options, name))
    line.drain_time.FromSeconds(options.drain_time_s)
    line.parent_shutdown_time.FromSeconds(options.parent_shutdown_time_s)
    line.file_flush_interval.FromMilliseconds(options.file_flush_interval_msec)
    return line


_SAME_IN_BOTH = (
    *("config_path", "config_yaml", "concurrency", "log_level", "component_log_level", "log_path"),
    *("log_format", "log_format_escaped"),
    *(
        "service_cluster",
        "service_node",
        "service_zone",
        "admin_address_path",
        "restart_epoch",
        "base_id",
        "base_id_path",
        "socket_path",
        "socket_mode",
    ),
    *(
        "allow_unknown_static_fields",
        "reject_unknown_dynamic_fields",
        "ignore_unknown_dynamic_fields",
        "disable_hot_restart",
        "use_dynamic_base_id",
        "skip_hot_restart_on_no_parent",
        "skip_hot_restart_parent_stats",
    ),
)


def _memory(call: Call) -> Answer:
    """The fields of `envoy.admin.v3.Memory`, as far as this process can know them."""
    try:
        with open("/proc/self/statm") as f:
            pages = [int(number) for number in f.read().split()]
        resident, heap = pages[1] * resource.getpagesize(), pages[5] * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        resident = heap = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sizes = {
        "allocated": resident,
        "heap_size": heap,
        "pageheap_unmapped": 0,
        "pageheap_free": 0,
        "total_thread_cache": 0,
        "total_physical_bytes": resident,
    }
    return json_answer({name: str(size) for name, size in sizes.items()})


def _certs(call: Call) -> Answer:
    statuses = call.server.tls_statuses()
    return json_list_answer("certificates", map(_context_json, statuses), shown_empty=True)


def _context_json(status: TlsContextStatus) -> dict[str, Any]:
    """As an `envoy.admin.v3.Certificate`."""
    return {
        "ca_cert": [_certificate_json(each) for each in status.ca_cert],
        "cert_chain": [_certificate_json(each) for each in status.cert_chain],
    }


def _certificate_json(status: CertificateStatus) -> dict[str, Any]:
    """As an `envoy.admin.v3.CertificateDetails`."""
    days = max(0, int(status.ends - time()) // _DAY)
    found: dict[str, Any] = {
        "path": status.path,
        "serial_number": status.serial_number,
        "subject_alt_names": [{kind: name} for kind, name in status.subject_alt_names],
        "days_until_expiration": str(days),
        "valid_from": _moment(status.begins),
        "expiration_time": _moment(status.ends),
    }
    if status.ocsp is not None:
        begins, ends = status.ocsp
        found["ocsp_details"] = {"valid_from": _moment(begins), "expiration": _moment(ends)}
    return found


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _init_dump(call: Call) -> Answer:
    """As in Envoy the listeners that are not ready, which here wait for nothing but clusters."""
    mask = call.parameters.get("mask") or "listener"
    if call.server.state != "PRE_INITIALIZING" or mask != "listener":
        return json_answer({})
    names = [status.name for status in call.server.listener_statuses()]
    waiting = [f"init manager Listener-local-init-manager {each} {_number(each)}" for each in names]
    return json_answer({"unready_targets_dumps": [{"name": each} for each in waiting]})


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="replace"), digest_size=8).digest(), "big")


def _hot_restart_version(call: Call) -> Answer:
    return Answer(call.server.restart_facts.version)


ENDPOINTS = (
    Endpoint("/help", "print out list of admin commands", _help),
    Endpoint("/ready", "print server state, return 200 if LIVE, otherwise return 503", _ready),
    Endpoint("/server_info", "print server version/status information", _server_info),
    Endpoint(
        "/init_dump",
        "dump current init manager information (experimental)",
        _init_dump,
        (Parameter("mask", "The component to dump: listener"),),
    ),
    Endpoint("/memory", "print current allocation/heap usage", _memory),
    Endpoint("/certs", "print certs on machine", _certs),
    Endpoint(
        "/hot_restart_version", "print the hot restart compatibility version", _hot_restart_version
    ),
)
