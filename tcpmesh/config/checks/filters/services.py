"""Filters that ask a gRPC service."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3.config_source_pb2 import ApiVersion

from tcpmesh.config.fields.formats import check_text
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath


def check_version(message: Any, field_path: FieldPath, report: Report) -> None:
    """Report the version of the transport that is no more."""
    if message.transport_api_version == ApiVersion.V2:
        text = "transport_api_version V2 is gone, it must be V3"
        report.error((field_path, "transport_api_version"), text)


def _check_ext_authz(message: Any, field_path: FieldPath, report: Report) -> None:
    check_version(message, field_path, report)
    if not message.HasField("grpc_service"):
        text = "there is no service to ask, which counts as one that has failed"
        result = "all clients pass" if message.failure_mode_allow else "all clients are closed"
        report.warning((field_path, "grpc_service"), f"{text}: {result}")


def _check_ratelimit(message: Any, field_path: FieldPath, report: Report) -> None:
    check_version(message.rate_limit_service, (field_path, "rate_limit_service"), report)
    for index, descriptor in enumerate(message.descriptors):
        entries: FieldPath = (((field_path, "descriptors"), index), "entries")
        for number, entry in enumerate(descriptor.entries):
            check_text(entry.value, ((entries, number), "value"), report)


CHECKS = {
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz": _check_ext_authz,
    "envoy.extensions.filters.network.ratelimit.v3.RateLimit": _check_ratelimit,
}
