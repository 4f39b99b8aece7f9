"""Clients that are slow or strange where listener filters look at them, and headers to a host."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from tests.attacks.attack import TYPES, Attack, Bootstrap, Scene, Target, listener_filter
from tests.attacks.clients import with_tlvs
from tests.attacks.peers import Server, connect, crowd, reset, swallow, until
from tests.wire.hellos import extension, hello, in_records, record, recorded, server_name

LARGE = hello(server_name(b"a.test"), extension(0x1234, b"x" * 16_000))
SMALL_RECORDS = in_records(hello(extension(0x1234, b"x" * 2_600)), 1)
"""As many records as find room in 16 KiB."""


def slow(data: bytes) -> Callable[[Target, float], None]:
    """A thousand clients that send some bytes of this now and then."""

    def strike(target: Target, seconds: float) -> None:
        with crowd(target.ports["inspected"], 1000) as socks:
            for number in until(seconds):
                for sock in socks:
                    with suppress(OSError):
                        sock.send(data[20 * number : 20 * number + 20])
                time.sleep(0.2)

    return strike


def many(make: Callable[[int], bytes], name: str = "inspected") -> Callable[[Target, float], None]:
    """Client after client that sends such bytes."""

    def strike(target: Target, seconds: float) -> None:
        for number in until(seconds):
            with suppress(OSError):
                sock = connect(target.ports[name])
                sock.sendall(make(number))
                sock.settimeout(0.02)
                with suppress(TimeoutError):
                    sock.recv(1)
                reset(sock)

    return strike


def _strange(number: int) -> bytes:
    data = bytearray(recorded()[number % 17].hello)
    for at in os.urandom(4):
        data[5 + at % (len(data) - 5)] ^= at | 1
    kinds = (bytes(data), record(os.urandom(16_000)), record(b"") * 3000, b"GET /" + b"a" * 65_000)
    return kinds[number // 17 % len(kinds)]


def _tlvs(number: int) -> bytes:
    return with_tlvs(*(((number + each) % 256, b"") for each in range(21_000)))


def inspected(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A listener that looks for TLS and for HTTP, with fingerprints, and one whose hosts get
    headers.
    """
    sink = Server(stack, swallow).port
    bootstrap.add_cluster("sink", [sink])
    prints = {"enable_ja3_fingerprinting": True, "enable_ja4_fingerprinting": True}
    tls, http = listener_filter("tls_inspector"), listener_filter("http_inspector")
    tls = {**tls, "typed_config": {**tls["typed_config"], **prints}}
    bootstrap.add_listener("inspected", "sink", listener_filters=[tls, http])
    everything = {"pass_through_tlvs": {"match_type": "INCLUDE_ALL"}}
    reads = listener_filter("proxy_protocol")
    reads = {**reads, "typed_config": {**reads["typed_config"], **everything}}
    raw = {"@type": f"{TYPES}.transport_sockets.raw_buffer.v3.RawBuffer"}
    header = {
        "@type": f"{TYPES}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "config": {"version": "V2", **everything},
        "transport_socket": {"name": "raw", "typed_config": raw},
    }
    bootstrap.add_cluster("told", [sink], transport_socket={"name": "p", "typed_config": header})
    bootstrap.add_listener("told", "told", listener_filters=[reads])
    yield Attack("slow-hellos", "A thousand large hellos, 20 bytes at a time.", slow(LARGE))
    yield Attack("slow-lines", "A thousand lines of HTTP likewise.", slow(b"GET /" + b"a" * 9999))
    yield Attack("small-records", "Hellos in records of a byte.", many(lambda _: SMALL_RECORDS))
    yield Attack("strange", "Hellos and lines that are none.", many(_strange))
    yield Attack("tlvs", "Headers with 21,000 values, passed on.", many(_tlvs, "told"))


SCENES: dict[str, Scene] = {"inspected": inspected}
