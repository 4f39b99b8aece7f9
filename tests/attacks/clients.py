"""Clients of a listener that are slow, silent, many, or say strange things."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from tests.attacks.attack import (
    MIB,
    TYPES,
    Attack,
    Bootstrap,
    Limits,
    Scene,
    Target,
    listener_filter,
)
from tests.attacks.peers import Server, connect, crowd, reset, swallow, together, until

IDLE_KEY = "envoy.tcp_proxy.per_connection_idle_timeout_ms"
CLIENT_LIMIT = "type.googleapis.com/tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(port: int) -> bytes:
    """A PROXY header of version 1, of a client on a port."""
    return b"PROXY TCP4 1.2.3.4 5.6.7.8 %d 9\r\n" % port


def with_tlvs(*tlvs: tuple[int, bytes]) -> bytes:
    """A PROXY header of version 2."""
    more = b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    rest = bytes((1, 2, 3, 4, 5, 6, 7, 8)) + struct.pack("!HH", 1000, 9) + more
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(rest)) + rest


def idle_values(target: Target, seconds: float) -> None:
    """Each client has an idle timeout of its own: its port in milliseconds, behind two digits."""
    numbers = iter(range(1000, 65_000))

    def come() -> None:
        for number in numbers:
            with connect(target.ports["idle"]) as sock:
                sock.sendall(header(number))
                sock.settimeout(1)
                with suppress(OSError):
                    sock.recv(1)
            if time.monotonic() > end:
                return

    end = time.monotonic() + seconds
    come()


def slow_headers(target: Target, seconds: float) -> None:
    """A thousand clients that send a byte of a PROXY header now and then."""
    with crowd(target.ports["proxied"], 1000) as socks:
        for number in until(seconds):
            for sock in socks:
                with suppress(OSError):
                    sock.send(header(1000)[number % 20 : number % 20 + 1])
            time.sleep(0.2)


def headers(make: Callable[[int], bytes]) -> Callable[[Target, float], None]:
    """Client after client with such a header."""

    def strike(target: Target, seconds: float) -> None:
        for number in until(seconds):
            with suppress(OSError):
                sock = connect(target.ports["proxied"])
                sock.sendall(make(number))
                if number % 2:
                    sock.settimeout(0.02)
                    with suppress(TimeoutError):
                        sock.recv(1)
                reset(sock)

    return strike


def _garbage(number: int) -> bytes:
    kinds = (
        b"PROXY " + b"9" * 200,
        SIGNATURE + os.urandom(60),
        SIGNATURE + b"\x21\x11\xff\xff" + os.urandom(65_535),
        SIGNATURE + b"\x20\0\0\0",
        b"PROXY TCP4 999.1.1.1 2 3 4\r\n",
        os.urandom(300),
    )
    return kinds[number % len(kinds)]


def _tlvs(number: int) -> bytes:
    return with_tlvs(*(((number + each) % 256, b"") for each in range(21_000)))


def addresses(target: Target, seconds: float) -> None:
    """Client after client, each from another address, by four threads."""

    def storm() -> None:
        for _ in until(seconds):
            source = ".".join(str(each) for each in os.urandom(4))
            with suppress(OSError), connect(target.ports["limited"]) as sock:
                sock.sendall(b"PROXY TCP4 %b 5.6.7.8 1000 9\r\n" % source.encode())
                sock.settimeout(0.02)
                sock.recv(1)

    together(4, storm)


def come_and_go(name: str) -> Callable[[Target, float], None]:
    """Connections that are reset at once, by four threads."""

    def strike(target: Target, seconds: float) -> None:
        def storm() -> None:
            for _ in until(seconds):
                reset(connect(target.ports[name]))

        together(4, storm)

    return strike


def at_once(end: Callable[[socket.socket], object]) -> Callable[[Target, float], None]:
    """Five hundred clients that begin at once and end at once, time and again."""

    def strike(target: Target, seconds: float) -> None:
        for _ in until(seconds):
            with ExitStack() as stack:
                socks = [stack.enter_context(socket.socket()) for _ in range(500)]
                for sock in socks:
                    sock.setblocking(False)
                    sock.connect_ex(("127.0.0.1", target.ports["sink"]))
                time.sleep(0.2)
                for sock in socks:
                    end(sock)
                time.sleep(0.1)

    return strike


def half_open(target: Target, seconds: float) -> None:
    """Clients that have said all they had to say, and stay."""
    with crowd(target.ports["sink"], 500) as socks:
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        time.sleep(seconds)


def bytes_one_by_one(target: Target, seconds: float) -> None:
    """A hundred clients that send byte after byte."""
    with crowd(target.ports["sink"], 100) as socks:
        for sock in socks:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in until(seconds):
            for sock in socks:
                with suppress(OSError):
                    sock.send(b"a")


def closed_windows(target: Target, seconds: float) -> None:
    """Clients that read nothing of what floods them."""
    with crowd(target.ports["source"], 25, window=2048):
        time.sleep(seconds)


def urgent(target: Target, seconds: float) -> None:
    """Urgent bytes without end."""
    with crowd(target.ports["sink"], 20) as socks:
        for _ in until(seconds):
            for sock in socks:
                with suppress(OSError):
                    sock.send(b"ab", socket.MSG_OOB)


def bulk(target: Target, seconds: float) -> None:
    """Clients that send and get as much as they can."""

    def act() -> None:
        with connect(target.ports["source"]) as sock:
            for _ in until(seconds):
                sock.recv(1 << 20)

    together(8, act)


def exhausted(target: Target, seconds: float) -> str:
    """More clients than there are descriptors; the admin interface answers all the same."""
    with crowd(target.ports["sink"], 700) as socks:
        time.sleep(seconds)
        try:
            with connect(target.ports["admin"]) as sock:
                sock.settimeout(5)
                sock.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = sock.recv(1 << 16)
        except OSError as e:
            return f"no answer of the admin interface with {len(socks)} clients: {e}"
    return "" if b" 200 " in answer else f"the admin interface answered {answer[:40]!r}"


def _flood(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"a" * (1 << 20))


def talkers(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """Listeners before an upstream that takes all, and before one that sends all it can."""
    bootstrap.add_cluster("sink", [Server(stack, swallow).port])
    bootstrap.add_cluster("source", [Server(stack, _flood).port])
    bootstrap.add_listener("sink", "sink")
    bootstrap.add_listener("source", "source")
    # Each may have 1 MiB in its buffers, as Envoy's default lets them.
    full = Limits(peak=96 * MIB, kept=48 * MIB)
    yield Attack("half-open", "Clients that have said all, and stay.", half_open)
    yield Attack("one-byte", "A hundred clients that send byte after byte.", bytes_one_by_one)
    yield Attack("windows", "Clients that read nothing of a flood.", closed_windows, 3, full)
    yield Attack("urgent", "Urgent bytes without end.", urgent)
    yield Attack("bulk", "Clients that get as much as they can.", bulk, limits=full)
    yield Attack(
        "come-and-go", "Thousands of connections that are reset at once.", come_and_go("sink")
    )
    yield Attack("at-once", "500 begin at once, and end at once.", at_once(socket.socket.close), 4)
    yield Attack("reset-at-once", "500 begin at once, and reset at once.", at_once(reset), 4)


def proxied(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """Listeners that read PROXY headers, one of which lets the client choose its idle timeout."""
    bootstrap.add_cluster("sink", [Server(stack, swallow).port])
    bootstrap.add_cluster("closing", [Server(stack, lambda sock: sock.close()).port])
    reads = [listener_filter("proxy_protocol")]
    all_tlvs = {"pass_through_tlvs": {"match_type": "INCLUDE_ALL"}}
    reads_all = {**reads[0], "typed_config": {**reads[0]["typed_config"], **all_tlvs}}
    bootstrap.add_listener("proxied", "sink", listener_filters=[reads_all])
    text = {"text_format_source": {"inline_string": "90%DOWNSTREAM_REMOTE_PORT%"}}
    state = {
        "name": "set_filter_state",
        "typed_config": {
            "@type": f"{TYPES}.filters.network.set_filter_state.v3.Config",
            "on_new_connection": [{"object_key": IDLE_KEY, "format_string": text}],
        },
    }
    bootstrap.add_listener("idle", "closing", listener_filters=reads, filters=[state])
    limit = {
        "name": "client_limit",
        "typed_config": {
            "@type": CLIENT_LIMIT,
            "stat_prefix": "limited",
            "max_connections": 1,
            "new_connections": {"max_tokens": 1, "fill_interval": "1s"},
            "max_entries": 1000,
        },
    }
    bootstrap.add_listener("limited", "closing", listener_filters=reads, filters=[limit])
    few = Limits(kept=3 * MIB)
    yield Attack("idle-values", "Each client has an idle timeout of its own.", idle_values, 8, few)
    yield Attack("addresses", "Each client has an address of its own.", addresses, 4)
    yield Attack("slow-headers", "A thousand headers, byte after byte.", slow_headers)
    yield Attack("garbage", "Headers that are none.", headers(_garbage))
    yield Attack("tlvs", "Headers with 21,000 values.", headers(_tlvs))
    yield Attack("come-and-go", "Connections that are reset at once.", come_and_go("proxied"))


def few_files(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A proxy that may have few files open."""
    bootstrap.open_files = 512
    bootstrap.add_cluster("sink", [Server(stack, swallow).port])
    bootstrap.add_listener("sink", "sink")
    yield Attack("exhausted", "More clients than descriptors.", exhausted, fresh=False)


SCENES: dict[str, Scene] = {"clients": talkers, "proxied": proxied, "files": few_files}
