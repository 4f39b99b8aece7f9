"""Who this proxy is, as pages show it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from envoy.config.core.v3 import base_pb2

from tcpmesh.interfaces import IServer


def own_node(server: IServer) -> Any:
    """The node that this proxy is, and what runs it."""
    node = base_pb2.Node()
    node.CopyFrom(server.node)
    node.user_agent_name = "tcpmesh"
    release = [int(part) for part in version_text().split(".")[:3] if part.isdecimal()]
    for field, number in zip(("major_number", "minor_number", "patch"), release, strict=False):
        setattr(node.user_agent_build_version.version, field, number)
    return node


def version_text() -> str:
    """The version of this package."""
    try:
        return version("tcpmesh")
    except PackageNotFoundError:
        return "0.0.0"
