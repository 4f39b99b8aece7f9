"""Event logs: why hosts went out and came back, as the JSON lines that Envoy writes.

Events are rare, so that each is one `write` to a file opened for appending: no line is lost or torn
where several processes share the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from time import time
from typing import Any, Protocol

from google.protobuf.json_format import MessageToDict

from twisted.logger import Logger

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.logs.rotation import opened_anew
from tcpmesh.values.address import PATHS, Address
from tcpmesh.values.hosts import HostSpec

log = Logger(namespace="file")

CLOSED = -1


class IEventSink(Protocol):
    """What is told of events."""

    def now(self) -> float:
        """The time for a `timestamp`."""

    def write(self, event: dict[str, Any]) -> None:
        """Something has happened to a host."""


class EventLog:
    """A file of events.

    :raise CannotLog: where it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._fd = self._open(path)
        except OSError as e:
            raise CannotLog(f"cannot open the event log {path!r}: {e.strerror}") from None

    def write(self, event: dict[str, Any]) -> None:
        """Append one line; a disk that takes none costs the line, not the host's health."""
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n"
        try:
            os.write(self._fd, line.encode("utf-8", "replace"))
        except OSError as e:
            log.error("cannot write to {path}: {reason}", path=self._path, reason=e)

    def now(self) -> float:
        """The time for a `timestamp`; that of the day, unlike the times of clocks that timers count
        on.
        """
        return time()

    def reopen(self) -> None:
        """The file was moved away: go on in a new one, or in the old one where no new one can be
        had.
        """
        try:
            fresh = opened_anew(self._path, self._fd, self._open)
        except OSError as e:
            log.error("cannot reopen {path}: {reason}", path=self._path, reason=e)
            return
        self.close()
        self._fd = fresh

    def close(self) -> None:
        """No more events come."""
        fd, self._fd = self._fd, CLOSED
        if fd != CLOSED:
            os.close(fd)

    def _open(self, path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as Envoy's events have them: UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


_ORDER = (
    "health_checker_type",
    "host",
    "cluster_name",
    "eject_unhealthy_event",
    "add_healthy_event",
    "timestamp",
    "health_check_failure_event",
    "degraded_healthy_host",
    "no_longer_degraded_host",
    "metadata",
    "locality",
    "successful_health_check_event",
)


def host_event(
    kind: str, cluster: str, spec: HostSpec, now: float, event: str, details: dict[str, Any]
) -> dict[str, Any]:
    """An `envoy.data.core.v3.HealthCheckEvent`, its fields in the order of that message, as Envoy
    writes them.

    :param kind: the type of the checker, such as TCP.
    :param event: the name of the event's field, with the message in it as `details`.
    """
    place = spec.locality
    fields = {
        "health_checker_type": kind,
        "host": address_event(spec.address),
        "cluster_name": cluster,
        "timestamp": timestamp(now),
        "locality": {"region": place.region, "zone": place.zone, "sub_zone": place.sub_zone},
        event: details,
    }
    if spec.metadata is not None:
        fields["metadata"] = metadata_event(spec.metadata)
    return {name: fields[name] for name in _ORDER if name in fields}


def metadata_event(metadata: Any) -> dict[str, Any]:
    """A `core.v3.Metadata`; of its typed part that which the schema knows."""
    return {
        "filter_metadata": {
            name: _plain(MessageToDict(value)) for name, value in metadata.filter_metadata.items()
        },
        "typed_filter_metadata": dict(_typed(metadata)),
    }


def _typed(metadata: Any) -> Iterator[tuple[str, Any]]:
    for name, value in metadata.typed_filter_metadata.items():
        try:
            yield (
                name,
                MessageToDict(
                    value,
                    preserving_proto_field_name=True,
                    always_print_fields_with_no_presence=True,
                ),
            )
        except TypeError:
            log.debug("the type {type} of {name} is not known", type=value.type_url, name=name)


def _plain(value: Any) -> Any:
    """JSON as Envoy writes it: whole numbers without a fraction."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def ejection_event(
    cluster: str, address: Address, now: float, since: int | None, ejections: int
) -> dict[str, Any]:
    """An `envoy.data.cluster.v3.OutlierDetectionEvent` of an ejection, to which its cause is to be
    added.

    :param since: seconds since the host came back last; `None` where it was never out.
    :param ejections: of this host, up to now.
    """
    return _outlier_event(cluster, address, now, since, "EJECT", ejections)


def return_event(
    cluster: str, address: Address, now: float, since: int | None, ejections: int
) -> dict[str, Any]:
    """The same of a host that comes back, `since` seconds after it went out."""
    return _outlier_event(cluster, address, now, since, "UNEJECT", ejections) | {"enforced": False}


def _outlier_event(
    cluster: str, address: Address, now: float, since: int | None, action: str, ejections: int
) -> dict[str, Any]:
    return {
        "type": "CONSECUTIVE_5XX",
        "timestamp": timestamp(now),
        **({} if since is None else {"secs_since_last_action": str(since)}),
        "cluster_name": cluster,
        "upstream_url": str(address),
        "action": action,
        "num_ejections": ejections,
    }


def address_event(address: Address) -> dict[str, Any]:
    """An `envoy.config.core.v3.Address`."""
    if not address.port and address.host.startswith(PATHS):
        return {"pipe": {"path": address.host, "mode": 0}}
    if address.is_internal:
        name, endpoint = address.listener_and_endpoint
        return {"envoy_internal_address": {"server_listener_name": name, "endpoint_id": endpoint}}
    return {
        "socket_address": {
            "protocol": "TCP",
            "address": address.host,
            "port_value": address.port,
            "resolver_name": "",
            "ipv4_compat": False,
            "network_namespace_filepath": "",
        }
    }
