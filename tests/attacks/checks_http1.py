"""A host that answers HTTP and TCP health checks with whatever takes long to read."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.attacks.attack import Attack, Bootstrap, Scene, Target
from tests.attacks.peers import Serve, Server, until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def asked(*pieces: bytes) -> Serve:
    """Wait for the question and send these; the last of them time and again."""

    def serve(sock: socket.socket) -> None:
        if sock.recv(1 << 16):
            flood(*pieces)(sock)

    return serve


def flood(*pieces: bytes) -> Serve:
    """Send these at once, the last of them time and again."""

    def serve(sock: socket.socket) -> None:
        for piece in pieces[:-1]:
            sock.sendall(piece)
        while True:
            sock.sendall(pieces[-1])

    return serve


def drip(pieces: Callable[[], Iterable[bytes]]) -> Serve:
    """Send byte after byte, each in a segment of its own."""

    def serve(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        for piece in pieces():
            for byte in piece:
                sock.sendall(bytes((byte,)))

    return serve


def silent(sock: socket.socket) -> None:
    """Take the question, and answer nothing."""
    time.sleep(30)


def answered(sock: socket.socket) -> None:
    """What a host that is well does."""
    while sock.recv(1 << 16):
        sock.sendall(OK + b"Content-Length: 0\r\n\r\n")


def endless(*pieces: bytes) -> Iterator[bytes]:
    """These, the last of them time and again."""
    yield from pieces
    while True:
        yield pieces[-1]


def checked_by(
    check: dict[str, Any], kinds: Iterable[tuple[str, str, Serve]], well: Serve, **cluster: Any
) -> Scene:
    """A scene with a host that is checked ten times a second: an attack for each kind of answer."""

    def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
        server = Server(stack, well)
        often = dict.fromkeys(("interval", "no_traffic_interval", "unhealthy_interval"), "0.1s")
        checks = [
            {"timeout": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1, **often, **check}
        ]
        bootstrap.add_cluster("checked", [server.port], health_checks=checks, **cluster)

        def strike(serve: Serve) -> Callable[[Target, float], str]:
            def played(target: Target, seconds: float) -> str:
                accepted = server.accepted
                server.serve = serve
                server.hang_up()
                time.sleep(seconds)
                server.serve = well
                server.hang_up()
                return "" if server.accepted > accepted else "the host was never asked"

            return played

        for name, what, serve in kinds:
            yield Attack(name, what, strike(serve), 1.2)

    return scene


def payload(sock: socket.socket) -> None:
    """What a host that is well says to a check of bytes."""
    while sock.recv(1 << 16):
        sock.sendall(b"zzz")


def _slow_chunks(sock: socket.socket) -> None:
    """Chunks of a byte as fast as they are taken, but in packets of a few hundred."""
    sock.recv(1 << 16)
    sock.sendall(CHUNKED)
    for _ in until(30):
        sock.sendall(b"1\r\na\r\n" * 100)


_KINDS: tuple[tuple[str, str, Serve], ...] = (
    ("chunks", "The body is chunks of a byte.", asked(CHUNKED, b"1\r\na\r\n" * 50_000)),
    ("chunk-packets", "The same in many small packets.", _slow_chunks),
    ("large-chunks", "... of 64 KiB.", asked(CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n")),
    ("extensions", "A chunk has an extension without end.", asked(CHUNKED + b"1;", b"a" * 65536)),
    ("endless", "A body without length or end.", asked(OK + b"\r\n", b"a" * (1 << 20))),
    (
        "length",
        "A length of petabytes.",
        asked(OK + b"Content-Length: %d\r\n\r\n" % 10**15, b"a" * 65536),
    ),
    ("head", "A head without end.", asked(OK, b"a: " + b"b" * 1000 + b"\r\n")),
    ("small-fields", "A head of the smallest fields.", asked(OK, b"a:\n" * 20_000)),
    ("folds", "A field that is folded time and again.", asked(OK + b"a:", b"\n " * 20_000)),
    ("interim", "Interim responses without end.", flood(b"HTTP/1.1 102 x\r\n\r\n" * 10_000)),
    ("trailers", "A trailer without end.", asked(CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000)),
    ("drip", "Byte after byte of a head.", drip(lambda: endless(OK, b"a: b\r\n"))),
    ("drip-chunks", "Byte after byte of chunks.", drip(lambda: endless(CHUNKED, b"1\r\na\r\n"))),
    ("garbage", "Bytes that are no HTTP.", flood(os.urandom(1 << 16))),
    (
        "pipelined",
        "Whole answers that nobody asked for.",
        flood((OK + b"Content-Length: 0\r\n\r\n") * 2000),
    ),
    ("silent", "No answer.", silent),
    ("leaves", "Nothing but the end of the connection.", lambda sock: sock.close()),
)

_BYTES: tuple[tuple[str, str, Serve], ...] = (
    ("flood", "Other bytes than were expected, without end.", flood(b"ab" * 100_000)),
    (
        "nearly",
        "Bytes that are nearly the expected ones.",
        flood(b"zz" * 8 + b"a", b"zza" * 30_000),
    ),
    ("drip", "Byte after byte.", drip(lambda: endless(b"a"))),
)

SCENES: dict[str, Scene] = {
    "http-check": checked_by(
        {"http_health_check": {"path": "/", "host": "x", "receive": [{"text": "7a7a"}]}},
        _KINDS,
        answered,
    ),
    "bytes-check": checked_by(
        {"tcp_health_check": {"send": {"text": "61"}, "receive": [{"text": "7a7a7a"}]}},
        _BYTES,
        payload,
    ),
}
