"""A gRPC server that gets access logs, and answers with whatever takes long to read or is never
taken.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

from tests.attacks.attack import TYPES, Attack, Bootstrap, Scene, Target
from tests.attacks.checks_http1 import silent
from tests.attacks.checks_http2 import (
    DATA,
    HEADERS,
    HTTP2,
    KINDS,
    OPTIONS,
    SETTINGS,
    STATUS,
    WINDOW,
    asked,
    frame,
)
from tests.attacks.peers import Serve, Server, connect, swallow

HEAD = SETTINGS + frame(HEADERS, 4, 1, STATUS + b"\x5f\x10application/grpc")
NO_ROOM = frame(4, 0, 0, b"\0\4\0\0\0\0")
"""Settings: each stream has a window of nothing."""


def _no_room(sock: socket.socket) -> None:
    """Take the call, and none of its messages."""
    sock.sendall(NO_ROOM)
    swallow(sock)


def _little_room(sock: socket.socket) -> None:
    """Make room for a byte, time and again."""
    sock.sendall(NO_ROOM)
    while sock.recv(1 << 16):
        sock.sendall((frame(WINDOW, 0, 1, b"\0\0\0\1") + frame(WINDOW, 0, 0, b"\0\0\0\1")) * 1000)


_KINDS: tuple[tuple[str, str, Serve], ...] = (
    *KINDS,
    (
        "messages",
        "Messages without anything in them, thousands in a frame.",
        asked(HEAD, frame(DATA, 0, 1, b"\0" * 16380) * 10),
    ),
    (
        "large-message",
        "A message of four gigabytes.",
        asked(HEAD, frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + b"a" * 16000) * 10),
    ),
    (
        "many-fields",
        "Interim responses with hundreds of fields.",
        asked(
            SETTINGS,
            frame(HEADERS, 4, 1, b"\x08\x03103\x40\x01a\x01b" + b"\xbe" * 450) * 1000,
        ),
    ),
    ("no-room", "The server takes no message.", _no_room),
    ("little-room", "It takes a byte at a time.", _little_room),
    ("silent-from-the-start", "It does not even read.", silent),
)


def _logged(target: Target, seconds: float) -> None:
    """Clients come and go, each of which is logged."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            sock = connect(target.ports["logged"])
            sock.sendall(b"a")
            sock.recv(1)
            sock.close()


def _log(cluster: str) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": cluster}}
    common = {
        "log_name": "l",
        "transport_api_version": "V3",
        "grpc_service": service,
        "buffer_size_bytes": 1,
    }
    kind = f"{TYPES}.access_loggers.grpc.v3.TcpGrpcAccessLogConfig"
    return {"name": "grpc", "typed_config": {"@type": kind, "common_config": common}}


def _scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    server = Server(stack, swallow)
    options = {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **HTTP2}}
    bootstrap.add_cluster("collector", [server.port], typed_extension_protocol_options=options)
    bootstrap.add_listener("logged", "echo", tcp_proxy={"access_log": [_log("collector")]})

    def strike(serve: Serve) -> Callable[[Target, float], str]:
        def played(target: Target, seconds: float) -> str:
            accepted = server.accepted
            server.serve = serve
            server.hang_up()
            _logged(target, seconds)
            server.serve = swallow
            server.hang_up()
            return "" if server.accepted > accepted else "the server was never called"

        return played

    for name, what, serve in _KINDS:
        yield Attack(name, what, strike(serve), 1.5)


SCENES: dict[str, Scene] = {"grpc-log": _scene}
