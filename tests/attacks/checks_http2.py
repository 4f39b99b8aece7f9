"""A host that answers health checks over HTTP/2 with frames that take long to read."""

from __future__ import annotations

import socket

from tests.attacks.attack import Scene
from tests.attacks.checks_http1 import checked_by, flood, silent
from tests.attacks.peers import Serve

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
STATUS = b"\x88"
"""`:status: 200`, as HPACK has it in its static table."""


OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2: dict[str, object] = {"explicit_http_config": {"http2_protocol_options": {}}}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9113, 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


HEAD = SETTINGS + frame(1, 4, 1, STATUS)
DATA, HEADERS, RST, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 6, 7, 8, 9


def asked(first: bytes, again: bytes) -> Serve:
    """Wait for the question, send the first of these, and the other time and again."""

    def serve(sock: socket.socket) -> None:
        if sock.recv(1 << 16):
            flood(first, again)(sock)

    return serve


def well(sock: socket.socket) -> None:
    """A host that ends each connection after an answer."""
    sock.recv(1 << 16)
    sock.sendall(SETTINGS + frame(HEADERS, 5, 1, STATUS))
    sock.recv(1 << 16)


def _drip(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    sock.sendall(HEAD)
    while True:
        for byte in frame(DATA, 0, 1, b"a"):
            sock.sendall(bytes((byte,)))


KINDS: tuple[tuple[str, str, Serve], ...] = (
    ("empty", "Frames of data without data.", asked(HEAD, frame(DATA, 0, 1) * 10_000)),
    ("one", "Frames of one byte of data.", asked(HEAD, frame(DATA, 0, 1, b"a") * 10_000)),
    (
        "padding",
        "Frames of data with nothing but padding.",
        asked(HEAD, frame(DATA, 8, 1, b"\0") * 10_000),
    ),
    ("data", "Frames of data that are full.", asked(HEAD, frame(DATA, 0, 1, b"a" * 16384) * 10)),
    ("settings", "Settings without end.", asked(SETTINGS, SETTINGS * 10_000)),
    (
        "ping",
        "Pings, all of which want to be answered.",
        asked(SETTINGS, frame(PING, 0, 0, b"12345678") * 10_000),
    ),
    ("window", "Windows that grow.", asked(SETTINGS, frame(WINDOW, 0, 0, b"\0\0\0\1") * 10_000)),
    (
        "continued",
        "A head that is continued without end.",
        asked(SETTINGS + frame(HEADERS, 1, 1, STATUS), frame(CONTINUATION, 0, 1, STATUS) * 10_000),
    ),
    (
        "resets",
        "The stream is reset time and again.",
        asked(SETTINGS, frame(RST, 0, 1, b"\0\0\0\1") * 10_000),
    ),
    (
        "goaway",
        "Goodbyes that name the stream as served.",
        asked(SETTINGS, frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0") * 10_000),
    ),
    (
        "interim",
        "Interim responses without end.",
        asked(SETTINGS, frame(HEADERS, 4, 1, b"\x08\x03103") * 10_000),
    ),
    (
        "fields",
        "A head that is small on the wire and large when it is read.",
        asked(
            SETTINGS,
            frame(
                HEADERS, 0, 1, STATUS + b"\x40\x01a\x7f\x81\x1e" + b"b" * 4000 + b"\xbe" * 12_000
            ),
        ),
    ),
    ("unknown", "Frames of a kind that nobody knows.", asked(SETTINGS, frame(99, 0, 0) * 10_000)),
    (
        "length",
        "A frame that says it is larger than any may be.",
        asked(SETTINGS, b"\xff\xff\xff\0\0\0\0\0\1" + b"a" * 65536),
    ),
    ("drip", "Byte after byte.", _drip),
    ("silent", "No answer.", silent),
)

GRPC_KINDS = ("empty", "one", "padding", "data", "interim", "drip", "silent")
"""The frames are read by the same code, the answer is not."""

SCENES: dict[str, Scene] = {
    "http2-check": checked_by(
        {
            "http_health_check": {
                "path": "/",
                "host": "x",
                "codec_client_type": "HTTP2",
                "receive": [{"text": "7a7a"}],
            }
        },
        KINDS,
        well,
    ),
    "grpc-check": checked_by(
        {"grpc_health_check": {}},
        [kind for kind in KINDS if kind[0] in GRPC_KINDS],
        well,
        typed_extension_protocol_options={
            OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **HTTP2},
        },
    ),
}
