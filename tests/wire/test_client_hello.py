"""The ClientHello of TLS, in pieces of every size, well made and not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire import client_hello as wire
from tcpmesh.wire.client_hello import ClientHelloMessage, ClientHelloReader, Refusal
from tests.wire.hellos import (
    alert,
    block,
    extension,
    hello,
    in_records,
    message,
    protocols,
    record,
    recorded,
    server_name,
    versions,
)

ECH = 0xFE0D
OUTER = b"\0\0\1\0\1\5" + block(b"e" * 32) + block(b"p" * 100)

ACCEPTED = {
    "no extensions": hello(),
    "no extension": hello(b""),
    "a session id of 32 bytes": hello(session_id=bytes(32)),
    "compression": hello(compression=b"\1\0"),
    "any version": hello(version=0x500),
    "a version of the record": record(message(), version=0x3FF),
    "no version that is known": hello(versions(0x305)),
    "versions cut short": hello(extension(43, b"\4\3\4")),
    "groups cut short": hello(extension(10, b"\0")),
    "protocols cut short": hello(extension(16, block(b"\5h2"))),
    "an extension nobody knows": hello(extension(0x1234, b"x" * 1000)),
    "a hello within": hello(extension(ECH, b"\1")),
    "an encrypted hello": hello(extension(ECH, OUTER)),
    "empty records": record(b"") * 32 + hello(),
    "warnings": alert(1, 90) * 4 + hello(),
    "a warning within": record(message()[:9]) + alert(1, 90) + record(message()[9:]),
    "empty records within": b"".join(record(b"") + record(bytes((each,))) for each in message()),
}

REFUSED = {
    "text": (b"hello world", wire.NOT_TLS),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", wire.HTTP_REQUEST),
    "another method": (b"PUT x", wire.HTTP_REQUEST),
    "a method that is none": (b"PUTx/", wire.NOT_TLS),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n", wire.PROXY_REQUEST),
    "nearly CONNECT": (b"CONN ", wire.NOT_TLS),
    "SSL 2": (b"\x80\x2e\1\3\1" + bytes(60), wire.NOT_TLS),
    "a later record of no version": (
        record(message()[:9]) + record(message()[9:], version=0x203),
        wire.NOT_TLS,
    ),
    "a long record": (b"\x16\3\1\x41\x41", wire.RECORD_TOO_LONG),
    "application data": (record(b"ab", 23), wire.OTHER_RECORD),
    "change cipher spec": (record(b"\1", 20), wire.OTHER_RECORD),
    "other data within": (record(message()[:9]) + record(b"x", 23), wire.OTHER_RECORD),
    "many empty records": (record(b"") * 33, wire.TOO_MANY_EMPTY),
    "many warnings": (alert(1, 90) * 5, wire.TOO_MANY_WARNINGS),
    "a fatal alert": (alert(2, 40), Refusal(1040, "reason(1040)")),
    "close_notify": (alert(1, 0), wire.GOODBYE),
    "an alert of no level": (alert(3, 0), wire.UNKNOWN_ALERT),
    "a short alert": (record(b"\1", 21), wire.BAD_ALERT),
    "a long message": (record(b"\1\0\x40\1"), wire.MESSAGE_TOO_LONG),
    "a ServerHello": (record(b"\2\0\0\0"), wire.OTHER_MESSAGE),
    "more in the record": (record(message() + b"\1"), wire.MORE_IN_RECORD),
    "nothing": (record(b"\1\0\0\0"), wire.MALFORMED),
    "a byte too many": (hello(b"", trailing=b"x"), wire.MALFORMED),
    "half a length": (hello(trailing=b"x"), wire.MALFORMED),
    "a long session id": (hello(session_id=bytes(33)), wire.MALFORMED),
    "no suites": (hello(suites=b""), wire.MALFORMED),
    "half a suite": (hello(suites=b"abc"), wire.MALFORMED),
    "no compression": (hello(compression=b""), wire.MALFORMED),
    "an extension cut short": (hello(b"\0\1\0\5a"), wire.MALFORMED),
    "an extension twice": (hello(extension(5000), extension(5000)), wire.MALFORMED),
    "no name": (hello(server_name(b"")), wire.BAD_NAME),
    "a name with NUL": (hello(server_name(b"a\0b")), wire.BAD_NAME),
    "a long name": (hello(server_name(b"a" * 256)), wire.BAD_NAME),
    "a name of no host": (hello(server_name(b"a", 1)), wire.BAD_NAME),
    "two names": (hello(extension(0, block(b"\0\0\1a\0\0\1b"))), wire.BAD_NAME),
    "more than a name": (hello(extension(0, block(b"\0\0\1a") + b"x")), wire.BAD_NAME),
    "an empty encrypted hello": (hello(extension(ECH)), wire.DECODE_ERROR),
    "a long encrypted hello": (hello(extension(ECH, OUTER + b"x")), wire.DECODE_ERROR),
    "a short one": (hello(extension(ECH, OUTER[:-1])), wire.DECODE_ERROR),
}

Said = ClientHelloMessage | Refusal | None


def read(data: bytes, *cuts: int) -> tuple[Said, int]:
    """What a reader says that is shown these bytes up to each cut, and then all; and how many bytes
    it has read by then.
    """
    reader = ClientHelloReader()
    for end in (*cuts, len(data)):
        said = reader.read(bytearray(data[:end]))
        if said is not None:
            return said, reader.consumed
    return None, reader.consumed


class ClientHelloTests(SynchronousTestCase):
    """What is a ClientHello, and what it says."""

    def test_real_clients(self) -> None:
        """The server name and the protocols of real clients are found, whether the hello comes at
        once, byte by byte, or in records of any size.
        """
        for each in recorded():
            for data in (each.hello, *(in_records(each.hello, size) for size in (1, 7, 100))):
                for cuts in ((), range(len(data))):
                    said, consumed = read(data, *cuts)
                    assert isinstance(said, ClientHelloMessage), (each.client, said)
                    self.assertEqual(each.server_name, said.server_name.decode().lower())
                    names = tuple(name.decode() for name in said.application_protocols)
                    self.assertEqual(each.protocols, names)
                    self.assertEqual(len(data), consumed)
                    self.assertTrue(said.is_of_known_version)

    def test_incomplete(self) -> None:
        """Nothing is said of a hello before its last byte, and what comes after it is not read."""
        for data in ACCEPTED.values():
            for end in range(len(data)):
                self.assertEqual(None, read(data[:end])[0])
            self.assertEqual(len(data), read(data + b"more")[1])

    def test_accepted(self) -> None:
        """A hello whose structure is right is one, whatever it offers."""
        for name, data in ACCEPTED.items():
            for cuts in ((), range(len(data))):
                self.assertIsInstance(read(data, *cuts)[0], ClientHelloMessage, name)

    def test_refused(self) -> None:
        """What is no hello is told from one, with the reason of Envoy's TLS library, as soon as
        that can be.
        """
        for name, (data, refusal) in REFUSED.items():
            for cuts in ((), range(len(data))):
                self.assertEqual(refusal, read(data, *cuts)[0], name)

    def test_first_bytes(self) -> None:
        """Five bytes are enough to see that plain text is not TLS, and no more are counted; the
        longest record that there may be is no reason to think so.
        """
        self.assertEqual((None, 0), read(b"hell"))
        self.assertEqual((wire.NOT_TLS, 5), read(b"hello, world"))
        self.assertEqual((None, 0), read(b"\x16\3\1\x41\x40"))

    def test_text(self) -> None:
        """A refusal reads as Envoy logs it."""
        self.assertEqual(
            "TLS_error|error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:"
            "TLS_error_end",
            wire.NOT_TLS.text,
        )

    def test_names(self) -> None:
        """A server name is what was sent, whatever its bytes."""
        for name in (b"A.b", b"a" * 255, b"\xff\xe9", b"a b"):
            said, _ = read(hello(server_name(name)))
            assert isinstance(said, ClientHelloMessage)
            self.assertEqual(name, said.server_name)

    def test_protocols(self) -> None:
        """A list of protocols that is not as it should be is none."""
        for data, names in {
            protocols(b"h2", b"a"): (b"h2", b"a"),
            protocols(): (),
            protocols(b""): (),
            protocols(b"h2", b""): (),
            extension(16): (),
            extension(16, block(b"\2h2") + b"x"): (),
            extension(16, block(b"\3h2")): (),
        }.items():
            said, _ = read(hello(data))
            assert isinstance(said, ClientHelloMessage)
            self.assertEqual(names, said.application_protocols)

    def test_known_versions(self) -> None:
        """The version of a hello is one of TLS 1.0 to 1.3, or it is of none that there is."""
        for version in (0x200, 0x300, 0x301, 0x302, 0x303, 0x304, 0x305, 0xFEFF):
            said, _ = read(hello(version=version))
            assert isinstance(said, ClientHelloMessage)
            self.assertEqual(0x301 <= version <= 0x304, said.is_of_known_version)

    def test_linear(self) -> None:
        """A hello in records of one byte each, which come byte by byte, is looked at record by
        record, each once.
        """
        taken = []

        class Counting(ClientHelloReader):
            def _take(self, kind: int, content: bytes | bytearray) -> Said:
                taken.append(bytes(content))
                return super()._take(kind, content)

        data = in_records(hello(extension(0x1234, b"x" * 1000)), 1)
        reader, come = Counting(), bytearray()
        said: Said = None
        for each in data:
            come.append(each)
            said = reader.read(come)
        self.assertIsInstance(said, ClientHelloMessage)
        self.assertEqual(len(data), 6 * len(taken))

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
    def test_anything(self, data: bytes, cuts: list[int]) -> None:
        """No bytes raise an exception, and how they are cut makes no difference."""
        self.assertEqual(read(data), read(data, *sorted(cuts)))

    @given(st.sampled_from(recorded()), st.data())
    def test_nearly(self, of: object, draw: st.DataObject) -> None:
        """Nor does a hello with bytes that were changed, left out or added, in records or not."""
        data = bytearray(of.hello)  # type: ignore[attr-defined]
        for _ in range(draw.draw(st.integers(1, 4))):
            at = draw.draw(st.integers(5, len(data) - 1))
            data[at : at + draw.draw(st.integers(0, 2))] = draw.draw(st.binary(max_size=2))
        whole = bytes(data)
        if draw.draw(st.booleans()):
            whole = record(whole[5:])
        cuts = draw.draw(st.lists(st.integers(0, len(whole)), max_size=5))
        said, consumed = read(whole, *sorted(cuts))
        self.assertEqual((said, consumed), read(whole))
        self.assertLessEqual(consumed, len(whole))
        if isinstance(said, ClientHelloMessage):
            self.assertIsInstance(said.application_protocols, tuple)
