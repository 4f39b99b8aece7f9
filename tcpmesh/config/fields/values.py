"""Small messages as plain values: the form in which every room passes addresses and times on."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from tcpmesh.config.text.files import content_of
from tcpmesh.values.address import INTERNAL, relative


def host_and_port(address: Any) -> tuple[str, int]:
    """The numeric host and port of a `socket_address`; the path of a `pipe` and 0; the text of an
    `envoy_internal_address` and 0.  An abstract pipe begins with `@`, a relative one with `./`,
    whether it was written so or not.
    """
    if address.HasField("pipe"):
        return relative(address.pipe.path), 0
    if address.HasField("envoy_internal_address"):
        internal = address.envoy_internal_address
        return f"{INTERNAL}{internal.server_listener_name}/{internal.endpoint_id}", 0
    return usual_form(address.socket_address.address), address.socket_address.port_value


def usual_form(host: str) -> str:
    """A host as Envoy names it wherever it is shown: an IPv6 address in its shortest form; anything
    else as it is.
    """
    if ":" not in host:
        return host
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    except OSError:
        return host


def pipe_mode(address: Any) -> int | None:
    """The permissions asked for a `pipe`, or `None` where the process's umask decides."""
    mode = address.pipe.mode if address.HasField("pipe") else 0
    return int(mode) or None


def socket_options(messages: Any, state: str) -> tuple[tuple[int, int, int | bytes], ...]:
    """Level, name and value of each `core.v3.SocketOption` for a state, such as STATE_PREBIND, and
    not only for datagrams.
    """
    return tuple(
        (
            each.level,
            each.name,
            each.int_value if each.WhichOneof("value") == "int_value" else each.buf_value,
        )
        for each in messages
        if each.SocketState.Name(each.state) == state
        and (each.type.HasField("stream") or not each.type.HasField("datagram"))
    )


def keepalive_settings(message: Any) -> dict[str, int | None]:
    """What a `core.v3.TcpKeepalive` gives, as `tcpmesh.values.socket_options.keepalive` takes
    it.
    """
    names = {
        "probes": "keepalive_probes",
        "time": "keepalive_time",
        "interval": "keepalive_interval",
    }
    return {
        key: getattr(message, name).value if message.HasField(name) else None
        for key, name in names.items()
    }


def seconds(duration: Any) -> float:
    """A `google.protobuf.Duration` in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def source_bytes(source: Any, environ: Mapping[str, str]) -> bytes | None:
    """The bytes of a `core.v3.DataSource`; `None` where its file or environment variable cannot be
    had.
    """
    kind = source.WhichOneof("specifier")
    if kind == "inline_string":
        return bytes(source.inline_string.encode())
    if kind == "inline_bytes":
        return bytes(source.inline_bytes)
    if kind == "environment_variable":
        value = environ.get(source.environment_variable)
        return None if value is None else value.encode("utf-8", "surrogateescape")
    try:
        return content_of(source.filename)
    except (OSError, ValueError):
        return None


def nanoseconds(value: Any) -> int:
    """A Duration or Timestamp in nanoseconds."""
    return int(value.seconds) * 1_000_000_000 + int(value.nanos)


def binds_to_port(listener: Any) -> bool:
    """Whether a `listener.v3.Listener` has a socket of its own: neither the field nor the one of
    old times says no.
    """
    return all(
        each.bind_to_port.value or not each.HasField("bind_to_port")
        for each in (listener, listener.deprecated_v1)
    )
