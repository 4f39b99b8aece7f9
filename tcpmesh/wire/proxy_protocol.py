"""The PROXY protocol: a header before a connection's own bytes that tells whom a proxy has passed
on, and where they wanted to go.

Version 1 is a line of text, version 2 a block of bytes with room for extensions (TLVs); both are
specified in HAProxy's proxy-protocol.txt.  Reading is strict where the specification is: an address
that is not what the header says it is makes the whole header worthless, for access lists will go by
it.  What is written here can be read here.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator

from tcpmesh.facts import dataclass

V1_SIGNATURE = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

V1_MOST = 108
"""Bytes of a version 1 header, with its CRLF."""

V2_FIXED = 16
"""Bytes of a version 2 header before the addresses; with fewer bytes the two versions need not be
told apart.
"""

FIRST = V2_FIXED + 216
"""Bytes that hold every header without extensions."""

_FAMILIES = {1: (socket.AF_INET, "!4s4sHH"), 2: (socket.AF_INET6, "!16s16sHH")}
_WORDS = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
_TLV = struct.Struct("!BH")
_PORT = re.compile(rb"\+?[0-9]+")

End = tuple[str, int]
"""An address as text, and a port."""

Tlv = tuple[int, bytes]
"""Type and value of an extension."""


class BadHeader(ValueError):
    """These bytes are no PROXY header; the text says why.  `version` is the one they claim to be, 0
    where they do not.
    """

    def __init__(self, version: int, why: str) -> None:
        super().__init__(why)
        self.version = version


UNKNOWN_V1 = b"PROXY UNKNOWN\r\n"
LOCAL_V2 = V2_SIGNATURE + b"\x20\0\0\0"
"""Headers without addresses: the connection is the proxy's own, or has none that can be told."""

LONGEST = 0xFFFF
"""Bytes of addresses and extensions together."""


@dataclass(frozen=True)
class Header:
    """What a header says.  Without addresses (UNKNOWN, LOCAL) the connection is the proxy's own,
    and keeps those that it has.
    """

    version: int
    length: int
    """Bytes of the header, extensions and all."""

    source: End | None = None
    destination: End | None = None
    extensions: bytes = b""
    """The block of extensions, which is whole: see `tlvs_in`."""

    @property
    def tlvs(self) -> tuple[Tlv, ...]:
        """Type and value of each extension, in order."""
        return tuple(tlvs_in(self.extensions))


def version_of(data: bytes | bytearray) -> int | None:
    """The version of the header that these bytes begin; `None` where there are too few to say.

    :raise BadHeader: where they begin none.
    """
    if len(data) >= V2_FIXED:
        if data.startswith(V2_SIGNATURE):
            return 2
        if not data.startswith(V1_SIGNATURE):
            raise BadHeader(0, "neither version begins like this")
    # A line that ends early is taken for one of version 1, whatever it says; what version 2 begins
    # with is no such line.
    end = data.find(b"\r\n") + 2
    if end <= 2:
        if len(data) > V1_MOST:
            raise BadHeader(0, f"there is no line of {V1_MOST} bytes at most")
        return None
    if end > V1_MOST:
        raise BadHeader(1, f"the line is longer than {V1_MOST} bytes")
    return 1


def parse(data: bytes | bytearray) -> Header | int:
    """Read the header at the beginning of these bytes, or tell how many there have to be before it
    is worth trying again.

    :raise BadHeader: where there is none, or none that counts.
    """
    version = version_of(data)
    if version is None:
        return FIRST
    return _parse_v1(bytes(data[: data.find(b"\r\n") + 2])) if version == 1 else _parse_v2(data)


def _parse_v1(line: bytes) -> Header:
    length = len(line)
    parts = line.rstrip().split(b" ")
    if len(parts) < 2 or parts[0] != V1_SIGNATURE.rstrip():
        raise BadHeader(1, "the line does not begin with PROXY and a family")
    if parts[1] == b"UNKNOWN":
        return Header(1, length)
    family = _WORDS.get(parts[1])
    if family is None or len(parts) != 6:
        raise BadHeader(1, "the line has no family with two addresses and two ports")
    source, destination = (
        (_checked(1, family, _packed(family, host)), _port(port))
        for host, port in ((parts[2], parts[4]), (parts[3], parts[5]))
    )
    return Header(1, length, source, destination)


def _packed(family: int, host: bytes) -> bytes:
    try:
        return socket.inet_pton(family, host.decode("ascii"))
    except (OSError, ValueError):
        raise BadHeader(1, f"{host!r} is no address of the family") from None


def _port(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadHeader(1, f"{text!r} is no port")
    return int(text)


def _parse_v2(data: bytes | bytearray) -> Header | int:
    version_and_command, family_and_protocol, size = struct.unpack_from(
        "!BBH", data, len(V2_SIGNATURE)
    )
    length: int = V2_FIXED + size
    if version_and_command >> 4 != 2:
        raise BadHeader(2, "the version is not 2")
    if version_and_command & 0xF == 0:
        return Header(2, length) if len(data) >= length else length
    family, layout = _FAMILIES.get(family_and_protocol >> 4, (0, ""))
    if version_and_command & 0xF != 1 or not family or family_and_protocol & 0xF not in (1, 2):
        raise BadHeader(2, "the command, family or protocol is none that can be used")
    extensions = V2_FIXED + struct.calcsize(layout)
    if length < extensions:
        raise BadHeader(2, "the addresses are cut short")
    if len(data) < length:
        return length
    source, destination, source_port, destination_port = struct.unpack_from(layout, data, V2_FIXED)
    block = bytes(data[extensions:length])
    _judge(block)
    return Header(
        2,
        length,
        (_checked(2, family, source), source_port),
        (_checked(2, family, destination), destination_port),
        block,
    )


def _judge(block: bytes) -> None:
    """See to it that extensions are whole.  There may be 21,000 in one header, so nothing is made
    of them before somebody asks.
    """
    at, end, unpack = 0, len(block), _TLV.unpack_from
    try:
        while at < end:
            at += 3 + unpack(block, at)[1]
    except struct.error:
        at = end + 1
    if at > end:
        raise BadHeader(2, "an extension is cut short")


def tlvs_in(block: bytes) -> Iterator[Tlv]:
    """Type and value of each extension of a block that is whole."""
    at, end = 0, len(block)
    while at < end:
        kind, size = _TLV.unpack_from(block, at)
        begin = at + 3
        at = begin + size
        yield kind, block[begin:at]


def tlvs_of(block: bytes, is_wanted: Callable[[int], bool]) -> bytes:
    """A block of those extensions of another whose types are wanted."""
    return block_of(each for each in tlvs_in(block) if is_wanted(each[0]))


def block_of(tlvs: Iterable[Tlv]) -> bytes:
    """Extensions as a header has them; one that is longer than any header is left out."""
    return b"".join(
        _TLV.pack(kind, len(value)) + value for kind, value in tlvs if len(value) <= LONGEST
    )


def _checked(version: int, family: int, packed: bytes) -> str:
    """The text of an address that one host alone can have."""
    many = (
        packed[0] >> 4 == 0xE or packed == b"\xff" * 4
        if family == socket.AF_INET
        else packed[0] == 0xFF
    )
    text = socket.inet_ntop(family, packed)
    if many or not any(packed):
        raise BadHeader(version, f"{text} is the address of no single host")
    return text


def header_v1(source: End, destination: End) -> bytes:
    """The line that tells of these addresses; of an IPv4 and an IPv6 address, both in the form of
    IPv6.
    """
    family, _, ends = _family((source, destination))
    word = next(word for word, each in _WORDS.items() if each == family).decode("ascii")
    hosts = " ".join(socket.inet_ntop(family, each) for each in ends)
    return f"PROXY {word} {hosts} {source[1]} {destination[1]}\r\n".encode("ascii")


def header_v2(source: End, destination: End, extensions: bytes = b"") -> tuple[bytes, bool]:
    """The block that tells of these addresses, likewise, with a block of extensions.

    :return: the header, and whether all extensions have found room in it; one that has not is left
        out.
    """
    _, kind, ends = _family((source, destination))
    addresses = struct.pack(_FAMILIES[kind][1], *ends, source[1], destination[1])
    room = LONGEST - len(addresses)
    is_whole = len(extensions) <= room
    if not is_whole:
        extensions = _cut(extensions, room)
    head = struct.pack("!BBH", 0x21, kind << 4 | 1, len(addresses) + len(extensions))
    return V2_SIGNATURE + head + addresses + extensions, is_whole


def _cut(block: bytes, room: int) -> bytes:
    """Those of its extensions that find room, one after the other."""
    found = []
    for kind, value in tlvs_in(block):
        if 3 + len(value) <= room:
            room -= 3 + len(value)
            found.append((kind, value))
    return block_of(found)


def _family(ends: tuple[End, End]) -> tuple[int, int, list[bytes]]:
    """A family that both addresses can be of, its number in version 2, and the two packed."""
    hosts = [host.partition("%")[0] for host, _ in ends]
    if not any(":" in host for host in hosts):
        return socket.AF_INET, 1, [socket.inet_pton(socket.AF_INET, host) for host in hosts]
    mapped = [host if ":" in host else f"::ffff:{host}" for host in hosts]
    return socket.AF_INET6, 2, [socket.inet_pton(socket.AF_INET6, host) for host in mapped]
