"""Whoever reaches the admin interface: requests that are dear to answer, or are never finished."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.attacks.attack import MIB, Attack, Bootstrap, Limits, Scene, Target
from tests.attacks.peers import connect, crowd, reset, swallow, together, until

BODY = 200 * MIB


HOST = "Host: localhost"
"""What a change has to be asked of."""


def get(path: str | bytes) -> bytes:
    """A request for a page."""
    return b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % (
        path if isinstance(path, bytes) else path.encode()
    )


def post(path: str, kind: str, more: str) -> bytes:
    """The head of a request with a body."""
    return f"POST {path} HTTP/1.1\r\n{HOST}\r\nContent-Type: {kind}\r\n{more}\r\n\r\n".encode()


def asks(*requests: bytes, clients: int = 1) -> Callable[[Target, float], None]:
    """So many clients ask for these pages one after the other, and read the answers."""

    def strike(target: Target, seconds: float) -> None:
        end = time.monotonic() + seconds

        def ask() -> None:
            while time.monotonic() < end:
                for request in requests:
                    with connect(target.ports["admin"]) as sock:
                        sock.sendall(request.replace(b"Host: x", b"Host: x\r\nConnection: close"))
                        _swallow_until(sock, end)

        together(clients, ask)

    return strike


def _swallow_until(sock: socket.socket, end: float) -> None:
    while time.monotonic() < end and sock.recv(1 << 20):
        pass


def sends(start: bytes, again: bytes, most: int = 1 << 40) -> Callable[[Target, float], str]:
    """A client sends the first of these, and the other again and again; refused, it comes back."""

    def strike(target: Target, seconds: float) -> str:
        end, written = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            with connect(target.ports["admin"]) as sock, suppress(OSError):
                sock.settimeout(2)
                sock.sendall(start)
                sent = 0
                while time.monotonic() < end:
                    if sent < most:
                        sent += sock.send(again)
                    else:
                        time.sleep(0.01)
                    written = max(written, _spooled(target.pid))
        return f"{written // MIB} MiB are on the disk" if written > 2 * MIB else ""

    return strike


def _spooled(pid: int) -> int:
    """Bytes of files that a process has open and nobody can find any more."""
    size = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if "(deleted)" in os.readlink(descriptor):
                size += descriptor.stat().st_size
    return size


def sleepers(path: str) -> Callable[[Target, float], None]:
    """Clients that ask for much and read nothing of it."""

    def strike(target: Target, seconds: float) -> None:
        with crowd(target.ports["admin"], 100, window=4096) as socks:
            for sock in socks:
                sock.sendall(get(path))
            time.sleep(seconds)

    return strike


def leave(path: str) -> Callable[[Target, float], None]:
    """Clients that reset while they are answered."""

    def strike(target: Target, seconds: float) -> None:
        for number in until(seconds):
            with suppress(OSError):
                sock = connect(target.ports["admin"], 4096)
                sock.sendall(get(path))
                if number % 3:
                    sock.recv(100 * (number % 7) + 1)
                reset(sock)

    return strike


def slow_heads(target: Target, seconds: float) -> None:
    """Clients that send a byte of a head now and then."""
    head = get("/stats?filter=" + "a" * 10_000)
    with crowd(target.ports["admin"], 100) as socks:
        for number in until(seconds):
            for sock in socks:
                with suppress(OSError):
                    sock.send(head[number : number + 1])
            time.sleep(0.02)


def pipelined(target: Target, seconds: float) -> None:
    """Thousands of requests in one piece, whose answers nobody reads."""
    for _ in until(seconds):
        sock = connect(target.ports["admin"], 4096)
        sock.settimeout(0.5)
        with suppress(OSError):
            sock.sendall(get("/ready") * 50_000)
        time.sleep(0.2)
        reset(sock)


def come_and_go(target: Target, seconds: float) -> None:
    """Connections that are reset at once."""
    for _ in until(seconds):
        with suppress(OSError):
            reset(connect(target.ports["admin"]))


def garbage(target: Target, seconds: float) -> None:
    """Bytes that are no HTTP, and urgent ones."""
    for number in until(seconds):
        with suppress(OSError):
            sock = connect(target.ports["admin"])
            sock.sendall(os.urandom(1 << 12) if number % 2 else b"GET / HTTP/1.1\r\n")
            sock.send(b"!", socket.MSG_OOB)
            if number % 3 == 0:
                sock.sendall(b"a: " + b"b" * 20_000)
            sock.settimeout(0.05)
            with suppress(TimeoutError):
                swallow(sock)
            reset(sock)


def _requests() -> Iterator[Attack]:
    """Those that need no more than a few statistics."""
    groups = (b"(" * 1000 + b"a|." + b")" * 1000, b"(" * 2000 + b"a|." + b")" * 2000)
    nested = tuple(get(b"/stats?invert_filter&filter=" + each) for each in groups)
    yield Attack("filter-groups", "Thousands of nested groups in a filter.", asks(*nested), 4)
    large = (
        b"((((a{30}){30}b?){30}))",
        b"(?:(?:[^x]?){500}(?:.*y){90})",
        b"(?i)" + b"(?:.*[a-z].*z)" * 500,
        b"%5Cp{L}{900}",
    )
    dear = tuple(get(b"/stats?filter=" + each) for each in large)
    yield Attack("filter-size", "Filters whose automata are as large as may be.", asks(*dear))
    yield Attack("logging-names", "A logger that nobody has, ever another.", _new_loggers)
    form = "application/x-www-form-urlencoded"
    length = f"Content-Length: {BODY}"
    yield Attack(
        "body", "A body of 200 MiB.", sends(post("/ready", "text/plain", length), b"a" * MIB, BODY)
    )
    yield Attack(
        "form",
        "The same as a form.",
        sends(post("/logging", form, length), b"a=b&" * (MIB // 4), BODY),
        4,
    )
    parts = "multipart/form-data; boundary=a"
    part = b'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\nb\r\n'
    yield Attack(
        "multipart",
        "The same in parts.",
        sends(post("/logging", parts, length), part * 10_000, BODY),
        4,
    )
    chunked = post("/ready", "text/plain", "Transfer-Encoding: chunked")
    yield Attack("chunks", "A body of chunks of a byte.", sends(chunked, b"1\r\na\r\n" * 100_000))
    yield Attack(
        "trailers", "A trailer without end.", sends(chunked + b"0\r\n", b"a: b\r\n" * 100_000)
    )
    many = b"GET /ready HTTP/1.1\r\n" + b"a: b\r\n" * 100_000
    yield Attack("fields", "A head without end.", sends(many, b"a: b\r\n" * 10_000))
    yield Attack("line", "A request line without end.", sends(b"GET /", b"a" * 100_000))
    query = get("/stats?" + "&" * 8000 + "a=%41" * 1000)
    yield Attack("query", "Queries of thousands of parameters.", asks(query))
    yield Attack("slow-heads", "A hundred heads, byte after byte.", slow_heads)
    yield Attack("pipelined", "Fifty thousand requests in one piece.", pipelined)
    yield Attack("come-and-go", "Connections that are reset at once.", come_and_go)
    yield Attack("garbage", "Bytes that are no HTTP, and urgent ones.", garbage)


def _new_loggers(target: Target, seconds: float) -> None:
    for number in until(seconds):
        with connect(target.ports["admin"]) as sock:
            sock.sendall(
                b"POST /logging?n%d=debug HTTP/1.1\r\nHost: [::]\r\nConnection: close\r\n\r\n"
                % number
            )
            swallow(sock)


def requests(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A small proxy."""
    return _requests()


def large(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A proxy with a hundred thousand statistics, which take a while to show."""
    for number in range(600):
        bootstrap.add_cluster(f"c{number}", [1])
    pages = (
        "/stats?filter=nothing",
        "/stats",
        "/stats/prometheus",
        "/clusters",
        "/config_dump",
        "/stats?format=json&usedonly",
    )
    names = ("filtered", "stats", "prometheus", "clusters", "config-dump", "used")
    for name, page in zip(names, pages, strict=True):
        clients = 50 if name == "config-dump" else 200
        what = f"{clients} clients ask for {page} at once."
        # A page of metrics holds them, one or two megabytes, until it is sent.
        many = Limits(peak=512 * MIB, kept=256 * MIB)
        yield Attack(name, what, asks(get(page), clients=clients), 3, many)
    yield Attack("asleep", "A hundred clients that read nothing of it.", sleepers("/stats"))
    yield Attack("asleep-prometheus", "The same with metrics.", sleepers("/stats/prometheus"))
    yield Attack("leaving", "Clients that leave while they are answered.", leave("/stats"))
    yield Attack("leaving-dump", "The same with the configuration.", leave("/config_dump"))
    reset_all = b"POST /reset_counters HTTP/1.1\r\nHost: [::]\r\n\r\n"
    yield Attack(
        "reset-counters", "All counters are made 0, time and again.", asks(reset_all, clients=20)
    )


SCENES: dict[str, Scene] = {"admin": requests, "admin-large": large}
