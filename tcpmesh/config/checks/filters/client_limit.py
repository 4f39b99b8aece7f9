"""Limits of each client: fields that are wrong, or of which nothing comes."""

from __future__ import annotations

import ipaddress
from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.schema.own import client_limit_pb2
from tcpmesh.config.text.problems import FieldPath

_QUEUE = client_limit_pb2.ClientLimit.QUEUE
_ADDRESS = client_limit_pb2.ClientLimit.ADDRESS


def _check(message: Any, field_path: FieldPath, report: Report) -> None:
    if not (message.HasField("max_connections") or message.HasField("new_connections")):
        fields = ["max_connections", "new_connections"]
        report.warning(field_path, f"neither {' nor '.join(fields)} is set: nobody is limited")
    if message.HasField("new_connections") and not message.new_connections.max_tokens:
        here: FieldPath = (field_path, "new_connections")
        report.error((here, "max_tokens"), "a client could never connect")
    if message.over_limit != _QUEUE:
        _no_effect(message, ("max_wait", "max_waiting"), "with QUEUE", field_path, report)
    if message.client != _ADDRESS:
        lengths = ("ipv4_prefix_len", "ipv6_prefix_len")
        _no_effect(message, lengths, "where clients are addresses", field_path, report)
    for index, network in enumerate(message.exempt):
        _check_network(network, ((field_path, "exempt"), index), report)


def _no_effect(
    message: Any, fields: tuple[str, ...], when: str, field_path: FieldPath, report: Report
) -> None:
    for field in fields:
        if message.HasField(field):
            report.warning((field_path, field), f"it has an effect {when} only")


def _check_network(network: Any, field_path: FieldPath, report: Report) -> None:
    try:
        ipaddress.ip_address(network.address_prefix)
    except ValueError:
        text = f"malformed IP address: {network.address_prefix!r}"
        report.error((field_path, "address_prefix"), text)


CHECKS = {client_limit_pb2.ClientLimit.DESCRIPTOR.full_name: _check}
