"""Hosts of a cluster with TLS that are slow, silent or strange, in each phase of a connection."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from tcpmesh.testing.certificates import Authority
from tests.attacks.attack import MIB, Attack, Bootstrap, Limits
from tests.attacks.peers import Server, reset
from tests.attacks.tls import TLS1_2, TLS1_3, tls_socket
from tests.attacks.upstreams import again_and_again, clients
from tests.forged import DATA, HANDSHAKE, HELLO_REQUEST, KEY_UPDATE_ASKED, TICKET, Forger

Serve = Callable[[socket.socket], object]
Make = Callable[[Forger], bytes]


def prepared(chain: bytes, key: bytes) -> Callable[[SSL.Context], object]:
    """Gives a context a certificate."""
    loaded: Any = serialization.load_pem_private_key(key, None)

    def prepare(context: SSL.Context) -> None:
        context.use_certificate(x509.load_pem_x509_certificate(chain))
        context.use_privatekey(loaded)

    return prepare


def floods(version: int, prepare: Callable[[SSL.Context], object], make: Make) -> Serve:
    """A host that shakes hands, and then sends this without end."""

    def serve(sock: socket.socket) -> None:
        forger = Forger(version, is_server=True, prepare=prepare)
        try:
            forger.shake(sock.sendall, lambda: sock.recv(1 << 16))
        except SSL.Error:
            return
        while True:
            sock.sendall(make(forger))

    return serve


def shakes(prepare: Callable[[SSL.Context], object]) -> Serve:
    """A host that shakes hands, takes a while, and resets."""

    def serve(sock: socket.socket) -> None:
        forger = Forger(TLS1_3, is_server=True, prepare=prepare)
        try:
            forger.shake(sock.sendall, lambda: sock.recv(1 << 16))
        except SSL.Error:
            return
        time.sleep(0.01)
        reset(sock)

    return serve


def dripping(prepare: Callable[[SSL.Context], object]) -> Serve:
    """A host whose handshake comes byte by byte."""

    def drip(sock: socket.socket, data: bytes) -> None:
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
            time.sleep(0.001)

    def serve(sock: socket.socket) -> None:
        forger = Forger(TLS1_3, is_server=True, prepare=prepare)
        try:
            forger.shake(lambda data: drip(sock, data), lambda: sock.recv(1 << 16))
        except SSL.Error:
            return

    return serve


def _silent(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    time.sleep(30)


def _strange(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    kinds = (
        os.urandom(3000),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x03\x40\x00\x02\x00\xff\xff" + os.urandom(16_380),
        b"\x16\x03\x03\0\0" * 3000,
        b"\x15\x03\x03\0\x02\x01\x5a" * 3000,
        b"\x15\x03\x03\0\x02\x02\x28",
    )
    sock.sendall(kinds[os.urandom(1)[0] % len(kinds)])


def _many(record: Make, number: int) -> Make:
    return lambda forger: b"".join(record(forger) for _ in range(number))


def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A listener before each kind of host; some are asked for their health too."""
    authority = Authority()
    good = prepared(*authority.issue("host.test"))
    other = prepared(*authority.issue("other.test"))
    names = [f"host-{number}.example.test" for number in range(3000)]
    many = prepared(*authority.issue("many", dns=names))
    floods_of: dict[str, tuple[int, Make]] = {
        "key_updates": (TLS1_3, _many(lambda f: f.key_update(KEY_UPDATE_ASKED), 2000)),
        "tickets": (TLS1_3, _many(lambda f: f.record(HANDSHAKE, TICKET), 2000)),
        "one_byte": (TLS1_3, _many(lambda f: f.record(DATA, b"a"), 4000)),
        "hello_requests": (TLS1_2, _many(lambda f: f.record(HANDSHAKE, HELLO_REQUEST), 2000)),
    }
    hosts: dict[str, Serve] = {
        "silent": _silent,
        "strange": _strange,
        "dripping": dripping(good),
        "wrong_name": shakes(other),
        "many_names": shakes(many),
        "resetting": shakes(good),
        **{name: floods(version, good, make) for name, (version, make) in floods_of.items()},
    }
    trusted = {
        "trusted_ca": {"inline_string": authority.pem.decode()},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "host.test"}}],
    }
    context = {
        "validation_context": trusted,
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
    }
    check = {
        "timeout": "0.3s",
        "interval": "0.1s",
        "unhealthy_threshold": 1000,
        "healthy_threshold": 1,
        "tcp_health_check": {"send": {"text": "61"}, "receive": [{"text": "62"}]},
    }
    for name, serve in hosts.items():
        bootstrap.add_cluster(
            name,
            [Server(stack, serve).port],
            connect_timeout="0.3s",
            transport_socket=tls_socket("Upstream", common_tls_context=context, sni="host.test"),
            **({"health_checks": [check]} if name in ("silent", "strange") else {}),
        )
        bootstrap.add_listener(name, name, tcp_proxy={"max_connect_attempts": 2})
    kept = Limits(kept=32 * MIB)  # what OpenSSL gives back comes back to the next connections
    yield Attack("silent", "Nothing after the ClientHello.", clients("silent"), limits=kept)
    yield Attack("strange", "What is no TLS.", again_and_again("strange"))
    yield Attack("dripping", "A handshake byte by byte.", clients("dripping", 20))
    yield Attack("wrong_name", "A certificate for others.", again_and_again("wrong_name"))
    slow = Limits(wait=100, busy_wait=150)  # a handshake by itself takes so long
    yield Attack("many_names", "One for 3,000 names.", again_and_again("many_names"), limits=slow)
    yield Attack("resetting", "Resets after the handshake.", again_and_again("resetting"))
    yield Attack("one_byte", "Records of a byte.", clients("one_byte", 8), limits=kept)
    for name in ("key_updates", "tickets", "hello_requests"):
        yield Attack(name, "Sends these without end.", again_and_again(name))


SCENES = {"tls-upstream": scene}
