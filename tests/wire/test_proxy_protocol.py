"""The PROXY protocol, read in pieces of every size."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.proxy_protocol import (
    LOCAL_V2,
    UNKNOWN_V1,
    V1_MOST,
    V2_SIGNATURE,
    BadHeader,
    Header,
    block_of,
    header_v1,
    header_v2,
    parse,
)

HTTP = b"GET / HTTP/1.1\r\n\r\n"


def v1(*words: object) -> bytes:
    """A line."""
    return " ".join(map(str, ("PROXY", *words))).encode() + b"\r\n"


def raw(
    version_and_command: int, family_and_protocol: int, body: bytes = b"", length: int | None = None
) -> bytes:
    """A block."""
    size = len(body) if length is None else length
    return V2_SIGNATURE + struct.pack("!BBH", version_and_command, family_and_protocol, size) + body


def v2(source: str, destination: str, *ports: int, tlvs: bytes = b"", protocol: int = 1) -> bytes:
    """A block with addresses."""
    one, two = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    family = 0x10 if one.version == 4 else 0x20
    return raw(0x21, family | protocol, one.packed + two.packed + struct.pack("!HH", *ports) + tlvs)


def tlv(kind: int, value: bytes) -> bytes:
    """An extension."""
    return struct.pack("!BH", kind, len(value)) + value


FOUR = (("1.2.3.4", 11), ("5.6.7.8", 65535))
SIX = (("2001:db8::1", 11), ("::1", 22))

GOOD = {
    v1("TCP4", "1.2.3.4", "5.6.7.8", 11, 65535): (1, *FOUR),
    v1("TCP4", "1.2.3.4", "5.6.7.8", "+011", "65535 "): (1, *FOUR),
    v1("TCP6", "2001:DB8:0::1", "0:0::1", 11, 22): (1, *SIX),
    v1("TCP6", "::ffff:1.2.3.4", "::1", 0, 22): (1, ("::ffff:1.2.3.4", 0), SIX[1]),
    v1("UNKNOWN"): (1, None, None),
    v1("UNKNOWN", "ffff:f...f:ffff", "rubbish"): (1, None, None),
    b"PROXY UNKNOWN ".ljust(V1_MOST - 2, b"1") + b"\r\n": (1, None, None),
    v2("1.2.3.4", "5.6.7.8", 11, 65535): (2, *FOUR),
    v2("1.2.3.4", "5.6.7.8", 11, 65535, protocol=2): (2, *FOUR),
    v2("2001:db8::1", "::1", 11, 22): (2, *SIX),
    v2("1.2.3.4", "5.6.7.8", 11, 65535, tlvs=tlv(1, b"h2") + tlv(0xEA, b"x" * 300) + tlv(4, b"")): (
        2,
        *FOUR,
    ),
    raw(0x20, 0): (2, None, None),
    raw(0x20, 0xFF, b"whatever this is"): (2, None, None),
}

BAD_LINES = (
    v1(),
    v1("TCP4", "1.2.3.4"),
    v1("TCP4", "1.2.3.4", "5.6.7.8", 1),
    v1("TCP4", "1.2.3.4", "5.6.7.8", 1, 2, 3),
    v1("TCP4", "1.2.3.4", "5.6.7.8", 1, " 2"),
    v1("TCP5", "1.2.3.4", "5.6.7.8", 1, 2),
    v1("UNKNOWNX"),
    v1("unknown"),
    v1("TCP4", "1.2.3.400", "5.6.7.8", 1, 2),
    v1("TCP4", "01.2.3.4", "5.6.7.8", 1, 2),
    v1("TCP4", "localhost", "5.6.7.8", 1, 2),
    v1("TCP4", "1.2.3.4", "5.6.7.8", 65536, 2),
    v1("TCP4", "1.2.3.4", "5.6.7.8", -1, 2),
    v1("TCP4", "1.2.3.4", "5.6.7.8", "1_0", 2),
    v1("TCP4", "1.2.3.4", "5.6.7.8", "http", 2),
    v1("TCP4", "1.2.3.4", "5.6.7.8", "\u0661", 2),
    v1("TCP4", "\u0661.2.3.4", "5.6.7.8", 1, 2),
    v1("TCP4", "2001:db8::1", "2001:db8::2", 1, 2),
    v1("TCP6", "1.2.3.4", "5.6.7.8", 1, 2),
    v1("TCP6", "fe80::1%lo", "::1", 1, 2),
    v1("TCP6", "[::1]", "::1", 1, 2),
    v1("TCP4", "224.0.0.1", "5.6.7.8", 1, 2),
    v1("TCP4", "1.2.3.4", "255.255.255.255", 1, 2),
    v1("TCP4", "0.0.0.0", "5.6.7.8", 1, 2),
    v1("TCP6", "::", "::1", 1, 2),
    v1("TCP6", "ff02::1", "::1", 1, 2),
    b"PROXY UNKNOWN ".ljust(V1_MOST - 1, b"1") + b"\r\n",
    b"hello\r\n",
)

BAD_BLOCKS = (
    raw(0x11, 0x11, b"\1" * 12),
    raw(0x31, 0x11, b"\1" * 12),
    raw(0x22, 0x11, b"\1" * 12),
    raw(0x21, 0x00),
    raw(0x21, 0x10, b"\1" * 12),
    raw(0x21, 0x13, b"\1" * 12),
    raw(0x21, 0x31, b"\0" * 216),
    raw(0x21, 0x11, b"\1" * 11),
    raw(0x21, 0x21, b"\1" * 35),
    v2("0.0.0.0", "5.6.7.8", 1, 2),
    v2("1.2.3.4", "224.6.7.8", 1, 2),
    v2("::", "::1", 1, 2),
    v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=b"\xea\x00\x09abc"),
    v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=b"\xea"),
    v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=b"\xea\x00"),
)


def said(data: bytes) -> tuple[object, ...] | int:
    """What a header says, the bytes that are wanted, or the version that is wrong."""
    try:
        found = parse(data)
    except BadHeader as error:
        return ("bad", error.version)
    return found if isinstance(found, int) else (found.version, found.source, found.destination)


class HeaderTests(SynchronousTestCase):
    """Headers of both versions."""

    def test_good(self) -> None:
        """Each good header says its version and addresses, whatever comes after it, and how long it
        is.
        """
        for data, wanted in GOOD.items():
            for more in (b"", b"\r\n", HTTP, data):
                self.assertEqual(wanted, said(data + more), data)
                header = parse(data + more)
                assert isinstance(header, Header)
                self.assertEqual(len(data), header.length)

    def test_in_pieces(self) -> None:
        """Every beginning of a good header asks for more than there is, and for no more than it
        has, or 232 bytes.
        """
        for data in GOOD:
            for end in range(len(data)):
                wanted = said(data[:end])
                assert isinstance(wanted, int), data[:end]
                self.assertGreater(wanted, end)
                self.assertLessEqual(wanted, max(len(data), 232))

    def test_bad(self) -> None:
        """Each bad header is told apart by its version."""
        for version, headers in ((1, BAD_LINES), (2, BAD_BLOCKS)):
            for data in headers:
                self.assertEqual(("bad", version), said(data + b"payload"), data)

    def test_bad_in_pieces(self) -> None:
        """A bad header is found bad at its end at the latest, and never taken for a good one
        before.
        """
        for data in (*BAD_LINES, *BAD_BLOCKS):
            for end in range(len(data)):
                self.assertTrue(
                    isinstance(said(data[:end]), int) or said(data[:end])[0] == "bad",  # type: ignore[index]
                    data[:end],
                )

    def test_none(self) -> None:
        """Bytes that begin no header are found out when there are 16 of them; a line that ends
        before is a bad header.
        """
        for data in (
            HTTP,
            b"PROXYX TCP4 1.2.3.4 5.6.7.8 1 2",
            b"\r\nxxxxxxxxxxxxxxxxxx",
            V2_SIGNATURE[:11] + b"xxxxxxxxx",
        ):
            self.assertIsInstance(said(data[:15]), int)
            self.assertEqual(("bad", 0), said(data[:16]))

    def test_endless_line(self) -> None:
        """A line that does not end is given up after 108 bytes; a line feed alone does not end
        it.
        """
        line = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + b"1" * 100
        self.assertIsInstance(said(line[:V1_MOST]), int)
        self.assertEqual(("bad", 0), said(line[: V1_MOST + 1]))

    def test_extensions(self) -> None:
        """Extensions are given in order, with those of the same type; those of LOCAL are
        skipped.
        """
        pairs = ((0xEA, b"abc"), (4, b""), (0xEA, b"x" * 65000))
        header = parse(
            v2("1.2.3.4", "5.6.7.8", 1, 2, tlvs=b"".join(tlv(*pair) for pair in pairs)) + HTTP
        )
        assert isinstance(header, Header)
        self.assertEqual(pairs, header.tlvs)
        local = parse(raw(0x20, 0, tlv(4, b"x" * 40)))
        assert isinstance(local, Header)
        self.assertEqual((), local.tlvs)

    @given(st.binary(max_size=300), st.sampled_from([b"", *GOOD]), st.data())
    def test_anything(self, noise: bytes, header: bytes, data: st.DataObject) -> None:
        """Whatever comes is a header, a bad one or too short to say, and what was said once holds
        whatever comes after.
        """
        cut = data.draw(st.integers(0, len(header)))
        whole = header[:cut] + noise
        final: object = None
        for end in range(len(whole) + 1):
            now = said(whole[:end])
            if final is not None:
                self.assertEqual(final, now, whole[:end])
            elif not isinstance(now, int):
                final = now
            else:
                self.assertGreater(now, end)


PORTS = st.integers(0, 65535)
TLVS = st.lists(st.tuples(st.integers(0, 255), st.binary()), max_size=5)
HOSTS = st.one_of(
    st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=6, network="2001:db8::/32")
)


class WritingTests(SynchronousTestCase):
    """Headers that are written."""

    def test_text(self) -> None:
        """The line has the addresses and then the ports."""
        self.assertEqual(v1("TCP4", "1.2.3.4", "5.6.7.8", 11, 65535), header_v1(*FOUR))
        self.assertEqual(v1("TCP6", "2001:db8::1", "::1", 11, 22), header_v1(*SIX))

    def test_block(self) -> None:
        """The block has addresses, ports and extensions."""
        tlvs = ((0xEA, b"abc"), (4, b""))
        wanted = v2("1.2.3.4", "5.6.7.8", 11, 65535, tlvs=tlv(*tlvs[0]) + tlv(*tlvs[1]))
        self.assertEqual((wanted, True), header_v2(*FOUR, block_of(tlvs)))
        self.assertEqual((v2("2001:db8::1", "::1", 11, 22), True), header_v2(*SIX))

    def test_without_addresses(self) -> None:
        """Headers that tell no addresses can be read."""
        self.assertEqual(Header(1, len(UNKNOWN_V1)), parse(UNKNOWN_V1))
        self.assertEqual(Header(2, len(LOCAL_V2)), parse(LOCAL_V2))

    def test_two_families(self) -> None:
        """Of an IPv4 and an IPv6 address both are written as IPv6; a zone is left out."""
        mapped = ("::ffff:1.2.3.4", 11)
        for ends in ((FOUR[0], SIX[1]), (mapped, ("::1%lo", 22))):
            self.assertEqual(v1("TCP6", "::ffff:1.2.3.4", "::1", 11, 22), header_v1(*ends))
            self.assertEqual(v2("::ffff:1.2.3.4", "::1", 11, 22), header_v2(*ends)[0])

    def test_too_long(self) -> None:
        """An extension that finds no room is left out, and those after it are not."""
        room = 65535 - 12 - 3
        header, is_whole = header_v2(*FOUR, tlv(1, b"x" * room))
        self.assertEqual((16 + 65535, True), (len(header), is_whole))
        header, is_whole = header_v2(
            *FOUR, tlv(1, b"x" * (room + 1)) + tlv(2, b"y") + tlv(3, b"x" * room)
        )
        self.assertFalse(is_whole)
        self.assertEqual(v2("1.2.3.4", "5.6.7.8", 11, 65535, tlvs=tlv(2, b"y")), header)

    def test_last_room(self) -> None:
        """An extension may fill the room to the last byte, also after one that was left out, and as
        long as a length can say it is one.
        """
        first, room = tlv(1, b"x" * 1000), 65535 - 12 - 1003
        last = tlv(3, b"y" * (room - 3))
        header, is_whole = header_v2(*FOUR, first + tlv(2, b"x" * (room - 2)) + last)
        self.assertFalse(is_whole)
        self.assertEqual(first + last, header[16 + 12 :])
        self.assertEqual(tlv(1, b"x" * 65535), block_of([(1, b"x" * 65535), (2, b"x" * 65536)]))

    @given(HOSTS, HOSTS, PORTS, PORTS, TLVS)
    def test_read(
        self,
        source: object,
        destination: object,
        source_port: int,
        destination_port: int,
        tlvs: list[tuple[int, bytes]],
    ) -> None:
        """What is written is read as it was given, where both addresses are of one family."""
        ends = (str(source), source_port), (str(destination), destination_port)
        one = parse(header_v1(*ends))
        two = parse(header_v2(*ends, block_of(tlvs))[0])
        assert isinstance(one, Header) and isinstance(two, Header)
        self.assertEqual(tuple(tlvs), two.tlvs)
        self.assertEqual((one.source, one.destination), (two.source, two.destination))
        if type(source) is type(destination):
            self.assertEqual(ends, (one.source, one.destination))
