"""JA3 and JA4: numbers by which one sees which program, or which library, a client is, for each
fills in its ClientHello in its own way.

As Envoy computes them, who in places goes beside what was published: JA3 counts the groups with
their GREASE, JA4 the signature algorithms, and what is malformed counts as far as it can be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tcpmesh.wire.client_hello import (
    APPLICATION_PROTOCOLS,
    SERVER_NAME,
    SUPPORTED_VERSIONS,
    ClientHelloMessage,
    numbers,
)

GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS = 10, 11, 13

GREASE = frozenset(0x1010 * n + 0x0A0A for n in range(16))
"""Values that clients put in lists for servers to ignore (RFC 8701)."""

NOTHING = "0" * 12
"""What stands for the hash of an empty list."""

VERSIONS = {0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10"}


def ja3(hello: ClientHelloMessage) -> str:
    """The MD5 of version, cipher suites, extensions, groups and point formats."""
    fields = (
        (hello.version,),
        _without_grease(numbers(hello.cipher_suites)),
        _without_grease(hello.extensions),
        numbers(hello.extensions.get(GROUPS, b"")[2:]),
        hello.extensions.get(POINT_FORMATS, b"")[1:],
    )
    text = ",".join("-".join(map(str, field)) for field in fields)
    return hashlib.md5(text.encode("ascii"), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHelloMessage) -> str:
    """Version, server name or not, how many cipher suites and extensions, the first protocol; and
    hashes of what is in these lists, sorted.
    """
    suites = _without_grease(numbers(hello.cipher_suites))
    extensions = _without_grease(hello.extensions)
    has_name = "d" if SERVER_NAME in hello.extensions else "i"
    head = f"t{_version(hello)}{has_name}{_count(suites)}{_count(extensions)}{_protocol(hello)}"
    told_apart = [each for each in extensions if each not in (SERVER_NAME, APPLICATION_PROTOCOLS)]
    listed = _hex(sorted(told_apart))
    algorithms = numbers(hello.extensions.get(SIGNATURE_ALGORITHMS, b"")[2:])
    if algorithms:
        listed += "_" + _hex(algorithms)
    return f"{head}_{_hash(_hex(sorted(suites)))}_{_hash(listed)}"


def _without_grease(values: Iterable[int]) -> list[int]:
    return [each for each in values if each not in GREASE]


def _count(values: list[int]) -> str:
    return f"{min(len(values), 99):02d}"


def _hex(values: Iterable[int]) -> str:
    return ",".join(f"{each:04x}" for each in values)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12] if text else NOTHING


def _version(hello: ClientHelloMessage) -> str:
    """The highest one that the client offers."""
    data = hello.extensions.get(SUPPORTED_VERSIONS)
    if data is None:
        return VERSIONS.get(hello.version, "00")
    if not data or data[0] >= len(data):
        return "00"
    offered = max(_without_grease(numbers(data[1 : 1 + data[0]])), default=0)
    return VERSIONS.get(offered or hello.version, "00")


def _protocol(hello: ClientHelloMessage) -> str:
    """The first and the last character of the first protocol; where one is no letter nor digit, of
    its hexadecimal form.
    """
    data = hello.extensions.get(APPLICATION_PROTOCOLS, b"")
    first = data[3 : 3 + data[2]] if len(data) > 2 else b""
    if not first or len(first) < data[2]:
        return "00"
    text = bytes((first[0], first[-1]))
    return text.decode() if text.isalnum() else f"{first[0] >> 4:x}{first[-1] & 0xF:x}"
