"""A DNS server that answers with what takes long to read, or with very much of it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from tests.attacks.attack import MIB, TYPES, Attack, Bootstrap, Limits, Scene, Target, address
from tests.attacks.peers import until

Reply = Callable[[bytes], Iterator[bytes]]
"""From a question to the datagrams that come back."""

RECORD = struct.pack("!HHIH", 1, 1, 0, 4) + b"\x7f\0\0\1"
"""What follows the name in a record: A, IN, a time to live of 0, and 127.0.0.1."""

ALIAS = 5


def header(question: bytes, answers: int, flags: int = 0x8180) -> bytes:
    """The start of an answer, with the question repeated."""
    return question[:2] + struct.pack("!HHHHH", flags, 1, answers, 0, 0) + _asked(question)


def _asked(question: bytes) -> bytes:
    at = 12
    while question[at]:
        at += 1 + question[at]
    return question[12 : at + 5]


def good(question: bytes) -> Iterator[bytes]:
    """One address."""
    yield header(question, 1) + b"\xc0\x0c" + RECORD


def pointers(question: bytes, asked: bytes | None = None) -> Iterator[bytes]:
    """As many records as fit, each named by a pointer to 120 labels."""
    first = b"\x01a" * 120 + b"\0"
    begin = header(question, 3900)
    begin = begin[: len(begin) - len(_asked(question))] + (asked or _asked(question))
    pointer = struct.pack("!H", 0xC000 | len(begin))
    yield begin + first + RECORD + (pointer + RECORD) * 3899


def other_question(question: bytes) -> Iterator[bytes]:
    """The same, time and again, in answers to another question, none of which is an answer."""
    for _ in range(20):
        yield from pointers(question, b"\x01b\x01b\0\0\1\0\1")


def chain(question: bytes) -> Iterator[bytes]:
    """Pointers to pointers: each name is a label before the one before it."""
    out, last = header(question, 0), 12
    count = 0
    while len(out) < 60_000:
        here = len(out)
        out += b"\x01a" + struct.pack("!H", 0xC000 | last) + RECORD
        last = here if here < 0x3F00 and count % 60 else 12
        count += 1
    yield out[:6] + struct.pack("!H", count) + out[8:]


def aliases(question: bytes) -> Iterator[bytes]:
    """Two thousand aliases, each of the one before it."""
    out, name = header(question, 2000), b"\xc0\x0c"
    for number in range(2000):
        target = b"\x05%05d\0" % number
        out += name + struct.pack("!HHIH", ALIAS, 1, 0, len(target)) + target
        name = target
    yield out


def many(question: bytes) -> Iterator[bytes]:
    """Fifteen hundred addresses, ever others."""
    base = int.from_bytes(question[:2], "big") % 200
    body = b"".join(
        b"\xc0\x0c" + RECORD[:10] + bytes((127, base, n >> 8, n & 255)) for n in range(1500)
    )
    yield header(question, 1500) + body


def forged(question: bytes) -> Iterator[bytes]:
    """Five thousand datagrams with other ids."""
    for number in range(5000):
        yield struct.pack("!H", number) + question[2:]


def garbage(question: bytes) -> Iterator[bytes]:
    """The right id and nothing that makes sense after it."""
    for number in range(200):
        yield question[:2] + bytes((number, number * 7 & 255)) * 30_000


def truncated(question: bytes) -> Iterator[bytes]:
    """Ask again over TCP."""
    yield header(question, 0, 0x8380)


class Dns:
    """The server, over UDP and TCP; how it replies may be changed."""

    def __init__(self, stack: ExitStack) -> None:
        self.reply: Reply = good
        self.over_tcp: Reply = good
        self.questions = 0
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        stack.callback(self._close)
        for work in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def _serve_udp(self) -> None:
        while True:
            try:
                question, peer = self._udp.recvfrom(4096)
            except ConnectionRefusedError:
                continue
            except OSError:
                return
            if not question:
                return
            self.questions += 1
            with suppress(OSError):
                for datagram in self.reply(question):
                    self._udp.sendto(datagram, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                sock, _ = self._tcp.accept()
            except OSError:
                return
            with suppress(OSError, IndexError), sock:
                sock.settimeout(2)
                question = sock.recv(4096)[2:]
                self.questions += 1
                for message in self.over_tcp(question):
                    sock.sendall(struct.pack("!H", len(message)) + message)

    def _close(self) -> None:
        for sock in (self._udp, self._tcp):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


_KINDS: tuple[tuple[str, str, Reply, Reply], ...] = (
    ("pointers", "3,900 records, each named by a pointer to 120 labels.", pointers, good),
    ("other-question", "The same in answers to another question.", other_question, good),
    ("chain", "Names that are pointers to pointers.", chain, good),
    ("aliases", "Two thousand aliases.", aliases, good),
    ("many", "Fifteen hundred addresses, ever others.", many, good),
    ("forged", "Thousands of datagrams with other ids.", forged, good),
    ("garbage", "The right id and no answer.", garbage, good),
    ("stream", "Asked again over TCP: 3,900 records by pointers.", truncated, pointers),
    ("stream-other", "... in answers to another question.", truncated, other_question),
)


def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A cluster that asks the server ten times a second."""
    server = Dns(stack)
    resolver = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": f"{TYPES}.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [address(server.port)],
            "query_timeout_seconds": 1,
            "query_tries": 1,
        },
    }
    host = {"endpoint": {"address": address(9, "name.test")}}
    bootstrap.add_cluster(
        "named",
        [],
        type="STRICT_DNS",
        dns_refresh_rate="0.1s",
        dns_failure_refresh_rate={"base_interval": "0.1s", "max_interval": "0.1s"},
        dns_lookup_family="V4_ONLY",
        typed_dns_resolver_config=resolver,
    )
    endpoints = [{"lb_endpoints": [host]}]
    bootstrap.clusters[-1]["load_assignment"]["endpoints"] = endpoints

    def strike(reply: Reply, over_tcp: Reply) -> Callable[[Target, float], str]:
        def played(target: Target, seconds: float) -> str:
            asked = server.questions
            server.reply, server.over_tcp = reply, over_tcp
            time.sleep(seconds)
            server.reply = server.over_tcp = good
            found = server.questions - asked
            for _ in until(10):  # whoever waits for an answer that never comes asks again
                if server.questions > asked + found:
                    break
                time.sleep(0.05)
            return "" if found else "the server was never asked"

        return played

    for name, what, reply, over_tcp in _KINDS:
        yield Attack(name, what, strike(reply, over_tcp), 1.2, Limits(kept=32 * MIB))


SCENES: dict[str, Scene] = {"dns": scene}
