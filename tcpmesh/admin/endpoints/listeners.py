"""Listeners and the addresses they are really bound to: with port 0 in a configuration this page
tells the port.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.admin.answers.address import address_json
from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter, json_list_answer
from tcpmesh.values.statuses import ListenerStatus


def _listeners(call: Call) -> Answer:
    statuses = call.server.listener_statuses()
    if call.parameters.get("format") == "json":
        return json_list_answer("listener_statuses", map(_listener_json, statuses))
    return Answer(
        "".join(
            f"{status.name}::{address}\n" for status in statuses for address in status.addresses
        )
    )


def _listener_json(status: ListenerStatus) -> dict[str, Any]:
    """The listener as an `envoy.admin.v3.ListenerStatus`."""
    addresses = [address_json(address) for address in status.addresses]
    found: dict[str, Any] = {"name": status.name}
    if addresses:
        found["local_address"] = addresses[0]
    if addresses[1:]:
        found["additional_local_addresses"] = addresses[1:]
    return found


ENDPOINTS = (
    Endpoint(
        "/listeners",
        "print listener info",
        _listeners,
        (Parameter("format", "Format to use", choices=("text", "json")),),
    ),
)
