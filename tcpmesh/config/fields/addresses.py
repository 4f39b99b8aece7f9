"""Addresses as Envoy takes them: numeric, with a numeric port, or the path of a unix socket that
fits.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

#: The longest path of a unix socket, with the zero byte after it.
PIPE_PATH_BYTES = 108


def is_ip(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address, without brackets; its zone (RFC 4007) must be one
    of this machine.
    """
    if _is_ipv4(text):
        return True
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    zone = ip.scope_id if isinstance(ip, ipaddress.IPv6Address) else None
    return zone is None or zone.isdecimal() or (_is_of_a_link(ip) and zone in _interfaces())


def _is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address, for which there is one spelling."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _is_of_a_link(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an IPv6 address is of one link or interface: the C library takes the name of a zone
    for no other.
    """
    return ip.is_link_local or ip.packed[:2] in (b"\xff\x01", b"\xff\x02")


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def check_bind_address(address: Any, field_path: FieldPath, report: Report) -> None:
    """Report an Address that cannot be listened on."""
    if address.HasField("socket_address"):
        check_bind_socket(address.socket_address, (field_path, "socket_address"), report)
    elif address.HasField("pipe"):
        check_pipe(address.pipe, (field_path, "pipe"), report)


def check_bind_socket(address: Any, field_path: FieldPath, report: Report) -> None:
    """Report a SocketAddress that cannot be bound."""
    if address.address and not is_ip(address.address):
        hint = (
            "write it without brackets"
            if address.address.startswith("[")
            else "use 127.0.0.1, 0.0.0.0, ::1 or ::"
        )
        report.error((field_path, "address"), f"malformed IP address: {address.address!r}", hint)
    if address.HasField("named_port"):
        report.error(
            (field_path, "named_port"), "a named port cannot be resolved here", "use port_value"
        )
    if address.resolver_name:
        report.error(
            (field_path, "resolver_name"), f"unknown address resolver {address.resolver_name!r}"
        )


def check_pipe(pipe: Any, field_path: FieldPath, report: Report) -> None:
    """Report the path of a unix socket that the kernel would not take."""
    if len(pipe.path.encode()) >= PIPE_PATH_BYTES:
        text = f"the path of a unix socket must be shorter than {PIPE_PATH_BYTES} bytes"
        report.error((field_path, "path"), text)


def address_key(address: Any) -> str:
    """An Address as text, equal for two spellings of one address; empty for port 0, which is never
    the same twice.
    """
    if address.HasField("pipe"):
        return str(address.pipe.path)
    socket_address = address.socket_address
    host = str(socket_address.address)
    if not is_ip(host) or not socket_address.port_value:
        return ""
    if not _is_ipv4(host):
        host = f"[{ipaddress.ip_address(host)}]"
    namespace = socket_address.network_namespace_filepath
    return f"{host}:{socket_address.port_value}" + (f" in {namespace}" if namespace else "")
