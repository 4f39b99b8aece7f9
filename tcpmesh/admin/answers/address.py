"""Addresses in JSON answers: our text form as an `envoy.config.core.v3.Address`."""

from __future__ import annotations

from typing import Any

from tcpmesh.values.address import INTERNAL, PATHS, Address


def address_json(text: str) -> dict[str, Any]:
    """`127.0.0.1:80` and `[::1]:80` as a socket address, `envoy://name/id` as an internal one,
    anything else without a port as the path of a pipe.
    """
    if text.startswith(INTERNAL):
        name, endpoint = Address(text).listener_and_endpoint
        internal = {"server_listener_name": name, "endpoint_id": endpoint}
        return {"envoy_internal_address": {key: each for key, each in internal.items() if each}}
    host, colon, port = text.rpartition(":")
    if text.startswith(PATHS) or not colon or not port.isdecimal():
        return {"pipe": {"path": text}}
    return {
        "socket_address": {
            "address": host.removeprefix("[").removesuffix("]"),
            "port_value": int(port),
        }
    }
