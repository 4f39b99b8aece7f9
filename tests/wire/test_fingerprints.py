"""JA3 and JA4, held against what Envoy has computed of the same hellos."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.client_hello import ClientHelloMessage, ClientHelloReader, parse
from tcpmesh.wire.fingerprints import GREASE, ja3, ja4
from tests.wire.hellos import block, extension, hello, protocols, recorded, server_name, versions


def found(data: bytes) -> ClientHelloMessage:
    """The hello in these bytes."""
    said = ClientHelloReader().read(data)
    assert isinstance(said, ClientHelloMessage), said
    return said


class FingerprintTests(SynchronousTestCase):
    """What a hello comes to."""

    def test_real_clients(self) -> None:
        """Of real clients both are what Envoy shows."""
        for each in recorded():
            message = found(each.hello)
            self.assertEqual((each.ja3, each.ja4), (ja3(message), ja4(message)), each.client)

    def test_head(self) -> None:
        """JA4 begins with the version, whether there is a name, the counts without GREASE, and the
        first protocol.
        """
        grease = extension(0x0A0A)
        for data, head in {
            hello(): "t12i020000",
            hello(version=0x301): "t10i020000",
            hello(version=0x302): "t11i020000",
            hello(version=0x304): "t13i020000",
            hello(version=0x300): "t00i020000",
            hello(server_name(b"a"), grease): "t12d020100",
            hello(suites=b"\x1a\x1a\x13\x01"): "t12i010000",
            hello(suites=b"\x13\x01" * 100): "t12i990000",
            hello(versions(0x304, 0x303)): "t13i020100",
            hello(versions(0x1A1A)): "t12i020100",
            hello(versions(0x300)): "t00i020100",
            hello(versions()): "t12i020100",
            hello(extension(43, b"\4\3\4")): "t00i020100",
            hello(extension(43)): "t00i020100",
            hello(protocols(b"h2")): "t12i0201h2",
            hello(protocols(b"http/1.1", b"h2")): "t12i0201h1",
            hello(protocols(b"a")): "t12i0201aa",
            hello(protocols(b"h-")): "t12i02016d",
            hello(protocols(b"\xff\xfe")): "t12i0201fe",
            hello(protocols(b"")): "t12i020100",
            hello(extension(16, block(b"\5h2"))): "t12i020100",
        }.items():
            self.assertEqual(head, ja4(found(data)).partition("_")[0])

    def test_hashes(self) -> None:
        """The second and third part of JA4 are what Envoy shows: without extensions 0, and with
        signature algorithms in their order.
        """
        none = "t12i020000_c1929292aa6b_000000000000"
        self.assertEqual(none, ja4(found(hello())))
        for listed, last in ((b"\0\x1d\0\x17", "b8a95be4c3eb"), (b"", "06540eb5c95f")):
            data = hello(extension(13, block(listed)))
            self.assertEqual(f"t12i020100_c1929292aa6b_{last}", ja4(found(data)))

    def test_grease(self) -> None:
        """Sixteen values are GREASE."""
        self.assertEqual(16, len(GREASE))
        self.assertLessEqual({0x0A0A, 0x1A1A, 0xEAEA, 0xFAFA}, GREASE)

    @given(
        st.dictionaries(
            st.sampled_from([0, 10, 11, 13, 16, 43, 0x0A0A]), st.binary(max_size=9), max_size=7
        ),
        st.binary(min_size=1, max_size=9),
    )
    def test_anything(self, extensions: dict[int, bytes], suites: bytes) -> None:
        """Both have their length, whatever is in a hello."""
        lists = [extension(*each) for each in extensions.items() if each[0]]
        data = hello(*lists, suites=suites * 2)
        message = parse(data[9:])
        assert isinstance(message, ClientHelloMessage), message
        self.assertEqual((32, 36), (len(ja3(message)), len(ja4(message))))
