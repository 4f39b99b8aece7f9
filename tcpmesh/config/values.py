"""Small messages as plain values: the form in which every room passes addresses and times on."""

from __future__ import annotations

from typing import Any


def host_and_port(address: Any) -> tuple[str, int]:
    """The numeric host and port of a `socket_address`, or the path of a `pipe` and 0.  An abstract pipe begins with `@`."""
    if address.HasField("pipe"):
        return address.pipe.path, 0
    return address.socket_address.address, address.socket_address.port_value


def pipe_mode(address: Any) -> int | None:
    """The permissions asked for a `pipe`, or `None` where the process's umask decides."""
    mode = address.pipe.mode if address.HasField("pipe") else 0
    return int(mode) or None


def socket_options(messages: Any, state: str) -> tuple[tuple[int, int, int | bytes], ...]:
    """Level, name and value of each `core.v3.SocketOption` that is for a state, such as STATE_PREBIND."""
    return tuple(
        (each.level, each.name, each.int_value if each.WhichOneof("value") == "int_value" else each.buf_value)
        for each in messages
        if each.SocketState.Name(each.state) == state
    )


def seconds(duration: Any) -> float:
    """A `google.protobuf.Duration` in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)
