"""Clients of a listener with TLS that are slow, silent or strange, in each phase."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

from OpenSSL import SSL, crypto

from tcpmesh.testing.certificates import Authority
from tests.attacks.attack import MIB, TYPES, Attack, Bootstrap, Limits, Target, listener_filter
from tests.attacks.peers import Server, connect, crowd, reset, swallow, together, until
from tests.forged import (
    ALERT,
    DATA,
    HANDSHAKE,
    HELLO,
    KEY_UPDATE_ASKED,
    WARNING,
    Forger,
)

TLS1_2, TLS1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION

Strike = Callable[[Target, float], None]


def tls_socket(side: str, **fields: Any) -> dict[str, Any]:
    """The transport socket of TLS, `Downstream` or `Upstream`."""
    kind = f"{TYPES}.transport_sockets.tls.v3.{side}TlsContext"
    return {"name": "tls", "typed_config": {"@type": kind, **fields}}


def pair(chain: bytes, key: bytes) -> dict[str, Any]:
    """A certificate, inline."""
    return {
        "certificate_chain": {"inline_string": chain.decode()},
        "private_key": {"inline_string": key.decode()},
    }


def first_flight(name: str = "a.test", offered: tuple[str, ...] = ("a",)) -> bytes:
    """What a client says first."""
    context = ssl.create_default_context()
    if offered:
        context.set_alpn_protocols(list(offered))
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def trusting() -> ssl.SSLContext:
    """A client's context that believes whoever answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def forge(port: int, version: int, **more: Any) -> tuple[socket.socket, Forger]:
    """A connection of which the handshake is over."""
    sock, forger = connect(port), Forger(version, **more)
    try:
        forger.shake(sock.sendall, lambda: sock.recv(1 << 16))
    except SSL.Error as e:
        sock.close()
        raise ConnectionError(str(e)) from e
    return sock, forger


def stuck(name: str, data: Callable[[], bytes], size: int = 500) -> Strike:
    """So many clients that say something and then nothing."""

    def strike(target: Target, seconds: float) -> None:
        text = data()
        with crowd(target.ports[name], size) as socks:
            for sock in socks:
                with suppress(OSError):
                    sock.sendall(text)
            time.sleep(seconds)

    return strike


def dripping(name: str, step: int = 1) -> Strike:
    """Clients that send their first flight byte by byte."""

    def strike(target: Target, seconds: float) -> None:
        text = first_flight()
        with crowd(target.ports[name], 100) as socks:
            for number in until(seconds):
                for sock in socks:
                    with suppress(OSError):
                        sock.send(text[step * number : step * (number + 1)])

    return strike


def at_once(target: Target, seconds: float) -> None:
    """Three hundred clients that shake hands at the same moment."""
    text = first_flight()
    for _ in until(seconds):
        with crowd(target.ports["tls"], 300) as socks:
            for sock in socks:
                with suppress(OSError):
                    sock.sendall(text)
            for sock in socks:
                with suppress(OSError):
                    sock.recv(1)


def flood(
    version: int, make: Callable[[Forger], bytes], name: str = "tls", size: int = 4, **more: Any
) -> Strike:
    """Records without end from some clients, of which each begins anew once it is closed."""

    def strike(target: Target, seconds: float) -> None:
        def act() -> None:
            for _ in until(seconds):
                with suppress(OSError):
                    sock, forger = forge(target.ports[name], version, **more)
                    sock.settimeout(1)
                    with suppress(OSError):
                        for _ in until(seconds):
                            sock.sendall(make(forger))
                    reset(sock)

        together(size, act)

    return strike


def again(name: str, make: Callable[[int], bytes]) -> Strike:
    """Client after client that says something, and waits a moment for an answer."""

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


def with_certificates(prepare: Callable[[SSL.Context], object], version: int = TLS1_3) -> Strike:
    """Client after client with such certificates."""

    def strike(target: Target, seconds: float) -> None:
        for _ in until(seconds):
            with suppress(OSError):
                sock, _ = forge(target.ports["mutual"], version, prepare=prepare)
                sock.settimeout(0.2)
                with suppress(OSError):
                    sock.recv(1)
                reset(sock)

    return strike


def _strange(number: int) -> bytes:
    hello = bytearray(first_flight())
    for at in os.urandom(3):
        hello[9 + at % (len(hello) - 9)] ^= at | 1
    kinds = (
        bytes(hello),
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\x16\x03\x01\x40\x00" + os.urandom(16_384),
        b"\x16\x03\x01\x00\x00" * 3000,
        b"\x15\x03\x01\x00\x02\x01\x5a" * 3000,
        os.urandom(300),
        first_flight() + os.urandom(3000),
        first_flight() + first_flight(),
    )
    return kinds[number % len(kinds)]


def _dying(target: Target, seconds: float) -> None:
    """Clients that reset in each phase."""
    hello = first_flight()
    for number in until(seconds):
        with suppress(OSError):
            sock = connect(target.ports[("tls", "inspected")[number % 2]])
            sock.sendall(hello[: number * 37 % (len(hello) + 80)])
            if number % 3:
                sock.settimeout(0.005)
                with suppress(TimeoutError):
                    sock.recv(1)
            if number % 5:
                reset(sock)
            else:
                sock.close()


def _sessions(target: Target, seconds: float) -> None:
    """Sessions of one listener shown to another, and tickets of garbage."""
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    kept = None
    for number in until(seconds):
        with suppress(OSError):
            sock = connect(target.ports[("tls", "other")[number % 2]])
            with context.wrap_socket(sock, session=kept) as tls:
                kept = tls.session if number % 3 else kept
                tls.sendall(b"a")


def _scene(stack: ExitStack, bootstrap: Bootstrap) -> dict[str, Any]:
    authority = Authority()
    own = pair(*authority.issue("server.test", dns=("a.test",)))
    bootstrap.add_cluster("sink", [Server(stack, swallow).port])
    inspector = listener_filter("tls_inspector")
    common = {"tls_certificates": [own], "alpn_protocols": ["a", "b"]}
    mutual = {
        **common,
        "validation_context": {
            "trusted_ca": {"inline_string": authority.pem.decode()},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "good"}}],
        },
    }
    for name, filters, context, required in (
        ("tls", [], common, False),
        ("other", [], {**common, "alpn_protocols": ["c"]}, False),
        ("inspected", [inspector], common, False),
        ("proxied", [listener_filter("proxy_protocol")], common, False),
        ("mutual", [], mutual, True),
    ):
        fields = {"common_tls_context": context, "require_client_certificate": required}
        bootstrap.add_listener(name, "sink", listener_filters=filters)
        chain = bootstrap.listeners[-1]["filter_chains"][0]
        chain["transport_socket"] = tls_socket("Downstream", **fields)
        chain["transport_socket_connect_timeout"] = "1s"
        bootstrap.listeners[-1]["listener_filters_timeout"] = "1s"
    return {"authority": authority}


def _names(authority: Authority) -> Callable[[SSL.Context], object]:
    names = [f"host-{number}.example.test" for number in range(10_000)]
    return _uses(authority.issue("many", dns=names))


def _uses(issued: tuple[bytes, bytes], more: bytes = b"") -> Callable[[SSL.Context], object]:
    chain, key = issued

    def prepare(context: SSL.Context) -> None:
        context.use_certificate(
            crypto.load_certificate(crypto.FILETYPE_PEM, chain).to_cryptography()
        )
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, key))
        found = more.split(b"-----END CERTIFICATE-----\n")
        for each in found[:-1]:
            text = each + b"-----END CERTIFICATE-----\n"
            context.add_extra_chain_cert(
                crypto.load_certificate(crypto.FILETYPE_PEM, text).to_cryptography()
            )

    return prepare


def _long_chain(authority: Authority) -> Callable[[SSL.Context], object]:
    """A chain of 150 authorities below one another, some 60 KB."""
    last = authority
    for number in range(150):
        last = Authority(f"authority {number}", last)
    chain, key = last.issue("good")
    leaf, end, others = chain.partition(b"-----END CERTIFICATE-----\n")
    return _uses((leaf + end, key), others)


def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """Listeners with TLS: alone, behind the inspector, behind PROXY headers, and with clients'
    certificates.
    """
    authority = _scene(stack, bootstrap)["authority"]
    many = Limits(peak=128 * MIB, kept=32 * MIB)
    for name in ("tls", "inspected"):
        half = stuck(name, lambda: first_flight()[:200])
        yield Attack(f"half-{name}", "Half a ClientHello.", half, limits=many)
        yield Attack(f"drip-{name}", "A ClientHello byte by byte.", dripping(name))
    yield Attack("stalled", "Nothing after the ServerHello.", stuck("tls", first_flight), 3, many)
    yield Attack("at-once", "300 handshakes at once.", at_once, 3, many)
    yield Attack("strange", "What is no hello.", again("tls", _strange))
    yield Attack("strange-inspected", "The same.", again("inspected", _strange))
    yield Attack("dying", "Resets in each phase.", _dying)
    yield Attack("sessions", "Sessions of another listener.", _sessions)
    big = first_flight("a." * 120 + "test", tuple(f"protocol-{n}" for n in range(4000)))
    yield Attack("big-hello", "4,000 protocols.", again("inspected", lambda _: big))
    yield Attack("big-hello-tls", "4,000 protocols.", again("tls", lambda _: big))
    header = b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"
    yield Attack(
        "proxied", "Headers, and no TLS.", again("proxied", lambda n: header + _strange(n))
    )

    def keys(f: Forger) -> bytes:
        return b"".join(f.key_update() for _ in range(2000))

    def asked(f: Forger) -> bytes:
        return b"".join(f.key_update(KEY_UPDATE_ASKED) for _ in range(2000))

    def keys_with_bytes(f: Forger) -> bytes:
        return b"".join(f.key_update(KEY_UPDATE_ASKED) + f.record(DATA, b"a") for _ in range(20))

    def one_byte(f: Forger) -> bytes:
        return b"".join(f.record(DATA, b"a") for _ in range(8000))

    def empty(f: Forger) -> bytes:
        return b"".join(f.record(DATA, b"a" * (n % 20 == 0)) for n in range(4000))

    def warnings(f: Forger) -> bytes:
        return b"".join(f.record(ALERT, WARNING) for n in range(3))

    def hellos(f: Forger) -> bytes:
        return b"".join(f.record(HANDSHAKE, HELLO) for n in range(3000))

    def hellos_bytes(f: Forger) -> bytes:
        return f.record(HANDSHAKE, HELLO) + f.record(DATA, b"a")

    yield Attack("key-updates", "Changes of keys without end.", flood(TLS1_3, keys))
    yield Attack("key-updates-asked", "The same, to be answered.", flood(TLS1_3, asked))
    yield Attack("key-updates-bytes", "And a byte after each.", flood(TLS1_3, keys_with_bytes))
    for name, version in (("1.2", TLS1_2), ("1.3", TLS1_3)):
        yield Attack(f"one-byte-{name}", "Records of a byte.", flood(version, one_byte))
        yield Attack(f"empty-{name}", "Empty records, mostly.", flood(version, empty))
        yield Attack(f"warnings-{name}", "Warnings without end.", flood(version, warnings))
    yield Attack("hellos", "Renegotiation without end.", flood(TLS1_2, hellos))
    yield Attack("hellos-bytes", "The same, and a byte after each.", flood(TLS1_2, hellos_bytes))
    slow = Limits(wait=100, busy_wait=150)
    names, chain = _names(authority), _long_chain(authority)
    for version, word in ((TLS1_3, "1.3"), (TLS1_2, "1.2")):
        yield Attack(
            f"names-{word}",
            "A certificate of 10,000 names.",
            with_certificates(names, version),
            limits=slow,
        )
        yield Attack(
            f"chain-{word}", "150 authorities.", with_certificates(chain, version), limits=slow
        )


SCENES = {"tls": scene}
