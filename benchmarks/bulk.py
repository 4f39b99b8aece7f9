"""Bulk transfers of which every byte is looked at, by both ends.

The stream is a random block of a prime length, repeated.  Whoever receives knows which byte must
stand at which position, so a lost, doubled, swapped or shifted piece is found, at the price of one
`memcmp`: far cheaper than a checksum, and the receiver competes with the proxy for the processor.

Neither end paces what it sends, whatever the system's congestion control: BBR's timers would be
most of what is measured. A proxy's own sockets are its own business.

A client sends a request of 16 bytes: `D` (download) or `U` (upload) and the number of bytes in
decimal.  After an upload the peer answers `OK` or `NO` and the number of bytes that it received in
order, also in 16 bytes.  After a download it sends FIN.  `python -m benchmarks.bulk PORT` is the
peer, and `python -m benchmarks.bulk PORT PEM` one that speaks TLS, with the certificate and the key
in that file.
"""

from __future__ import annotations

import random
import socket
import ssl
import sys
import threading
import time

from benchmarks.process import BenchmarkError

PERIOD = 1_000_003
"""Length of the random block in bytes: prime, so that no buffer size divides it."""

CHUNK = 262_144
"""Bytes asked of one system call, in bytes."""

_FRAME = 16
_UNPACED = b"reno"
_IDLE_SECONDS = 30.0


def pattern() -> bytes:
    """The block, followed by its own beginning, so that any `CHUNK` bytes of the stream are one
    slice of it.
    """
    block = random.Random(20260217).randbytes(PERIOD)
    return block + block[:CHUNK]


def unpaced(sock: socket.socket) -> None:
    """Let a socket send without pacing, once it is connected, and those that it accepts: the kernel
    asks for this before.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _UNPACED)


def send(sock: socket.socket, count: int, block: bytes) -> None:
    """Send the first `count` bytes of the stream."""
    view = memoryview(block)
    sent = 0
    while sent < count:
        start = sent % PERIOD
        sent += sock.send(view[start : start + min(CHUNK, count - sent)])


def receive(sock: socket.socket, count: int, block: bytes, deadline: float) -> None:
    """Receive `count` bytes, all as they must be.

    :param deadline: when to give up, in the seconds of `time.monotonic`.
    :raise BenchmarkError: a wrong byte, an early end or the deadline.
    """
    buffer = memoryview(bytearray(CHUNK))
    received = 0
    while received < count:
        size = sock.recv_into(buffer[: min(CHUNK, count - received)])
        if not size:
            raise BenchmarkError(f"the stream ended after {received} of {count} bytes")
        if not block.startswith(buffer[:size], received % PERIOD):
            raise BenchmarkError(f"wrong bytes between {received} and {received + size}")
        if time.monotonic() > deadline:
            raise BenchmarkError(f"only {received} of {count} bytes in time")
        received += size


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise BenchmarkError(f"the stream ended after {len(data)} of {count} bytes")
        data += piece
    return data


class Transfer:
    """One bulk connection of a client to the `port` of a proxy.

    :param tls: how the client speaks TLS, if it does.
    """

    def __init__(
        self, port: int, block: bytes, seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._block = block
        self._deadline = time.monotonic() + seconds
        self._sock = socket.socket()
        self._sock.settimeout(_IDLE_SECONDS)
        unpaced(self._sock)
        self._sock.connect(("127.0.0.1", port))
        if tls is not None:
            self._sock = tls.wrap_socket(self._sock)

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *error: object) -> None:
        self._sock.close()

    def ask(self, kind: str, count: int) -> None:
        """Send the request."""
        self._sock.sendall(f"{kind}{count:015d}".encode())

    def take(self, count: int) -> None:
        """Receive the answer to a request for a download, and the end of the stream after it.

        :raise BenchmarkError: anything is wrong.
        """
        receive(self._sock, count, self._block, self._deadline)
        if self._sock.recv(1):
            raise BenchmarkError(f"more than the {count} bytes asked for")

    def download(self, count: int) -> None:
        """Ask for `count` bytes and verify them."""
        self.ask("D", count)
        self.take(count)

    def upload(self, count: int) -> None:
        """Send `count` bytes and have the peer verify them."""
        self.ask("U", count)
        send(self._sock, count, self._block)
        verdict = _exactly(self._sock, _FRAME)
        if verdict != f"OK{count:014d}".encode():
            raise BenchmarkError(f"the peer says {verdict!r} after an upload of {count} bytes")


def serve(sock: socket.socket, block: bytes) -> None:
    """Answer one connection; a client that leaves early, or asks for nothing that there is, is its
    own business.
    """
    with sock:
        sock.settimeout(_IDLE_SECONDS)
        try:
            request = _exactly(sock, _FRAME).decode()
            count = int(request[1:])
            if request[0] == "D":
                send(sock, count, block)
            else:
                sock.sendall(_verdict(sock, count, block))
        except (OSError, ValueError, BenchmarkError):
            return


def _verdict(sock: socket.socket, count: int, block: bytes) -> bytes:
    try:
        receive(sock, count, block, time.monotonic() + 120)
    except BenchmarkError:
        return f"NO{0:014d}".encode()
    return f"OK{count:014d}".encode()


def _serve_tls(sock: socket.socket, block: bytes, context: ssl.SSLContext) -> None:
    try:
        served = context.wrap_socket(sock, server_side=True)
    except OSError:  # such as one that only looks whether the port is open
        sock.close()
    else:
        serve(served, block)


def main(port: int, pem: str = "") -> None:
    """Be the peer on `port` until killed, one thread per connection."""
    block = pattern()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if pem:
        context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", port), backlog=512) as listening:
        unpaced(listening)
        while True:
            sock, _ = listening.accept()
            target, more = (_serve_tls, (context,)) if pem else (serve, ())
            threading.Thread(target=target, args=(sock, block, *more), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
