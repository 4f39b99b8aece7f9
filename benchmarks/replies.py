"""The few lines of HTTP/1.1 that a check of replies needs; wrk does the loud part."""

from __future__ import annotations

import re
import socket

from benchmarks.process import BenchmarkError


def ask(sock: socket.socket, path: str) -> None:
    """Send a keep-alive request for `path`."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())


def answer(sock: socket.socket) -> bytes:
    """The body of the next reply.

    :raise BenchmarkError: not a whole reply with status 200, or more than one.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock, data)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise BenchmarkError(f"unexpected reply {head[:100]!r}")
    while len(body) < int(length[1]):
        body += _some(sock, data)
    if len(body) > int(length[1]):
        raise BenchmarkError(f"bytes behind a reply: {body[:100]!r}")
    return body


def _some(sock: socket.socket, so_far: bytes) -> bytes:
    piece = sock.recv(65536)
    if not piece:
        raise BenchmarkError(f"connection closed within a reply, after {so_far[:100]!r}")
    return piece


def get(sock: socket.socket, path: str) -> bytes:
    """Ask for `path` and return the body."""
    ask(sock, path)
    return answer(sock)
