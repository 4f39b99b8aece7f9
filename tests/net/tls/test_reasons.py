"""Failures of TLS, in Envoy's words."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.openssl.library import LibraryError, take_errors
from tcpmesh.net.tls.reasons import failure_text
from tests.net.tls.pki import authority

START = "TLS_error:|"
END = ":TLS_error_end"
ROUTINES = "SSL routines:OPENSSL_internal:"
BAD_MAC = (
    "503316581:Cipher functions:OPENSSL_internal:BAD_DECRYPT|"
    f"268435595:{ROUTINES}DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
)


def record(kind: int, body: bytes) -> bytes:
    """A record of TLS."""
    return bytes([kind, 3, 3]) + struct.pack(">H", len(body)) + body


def failure(connection: SSL.Connection, taken: bytes) -> tuple[LibraryError, ...]:
    """The errors that bytes make in a handshake."""
    connection.bio_write(taken)
    take_errors()
    result = lib.SSL_do_handshake(connection._ssl)
    return take_errors() if result < 1 else ()


def server() -> SSL.Connection:
    """A server with a certificate."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    leaf = authority().issue(names=["dns:a.test"])
    context.use_certificate(crypto.X509.from_cryptography(leaf.cert))
    context.use_privatekey(crypto.PKey.from_cryptography_key(leaf.key))
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


def client(adjust: Callable[[SSL.Context], object] = bool) -> SSL.Connection:
    """A client that has said hello."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    adjust(context)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    lib.SSL_do_handshake(connection._ssl)
    return connection


class ReasonsTests(SynchronousTestCase):
    """OpenSSL's errors, and what Envoy says in the same case."""

    def check(self, errors: tuple[LibraryError, ...], expected: str, **fields: bool) -> None:
        """Errors come to a text; `expected` has it without what all have."""
        number, _, name = expected.partition(":")
        wanted = expected if "|" in expected else f"{number}:{ROUTINES}{name}"
        self.assertEqual(failure_text(errors, **fields), START + wanted + END)

    def test_clients(self) -> None:
        """What clients do wrong has Envoy's reason."""
        old = client(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION))
        hello = old.bio_read(9999)
        for sent, expected in (
            (b"GET / HTTP/1.1\r\n\r\n", "268435612:HTTP_REQUEST"),
            (b"CONNECT x:1 HTTP/1.1\r\n", "268435611:HTTPS_PROXY_REQUEST"),
            (b"SSH-2.0-OpenSSH\r\n", "268435703:WRONG_VERSION_NUMBER"),
            (record(22, b"\x01\xff\xff\xff" + bytes(99)), "268435606:EXCESSIVE_MESSAGE_SIZE"),
            (record(22, b"\x02\0\0\x04abcd"), "268435679:UNEXPECTED_MESSAGE"),
            (record(22, b"\x01\0\0\x04abcd"), "268435587:CLIENTHELLO_PARSE_FAILED"),
            (b"\x16\x03\x01\xff\xff" + bytes(70000), "268435602:ENCRYPTED_LENGTH_TOO_LONG"),
            (record(22, b"") * 40, "268435675:TOO_MANY_EMPTY_FRAGMENTS"),
            (hello[:9] + b"\3\1" + hello[11:], "268435696:UNSUPPORTED_PROTOCOL"),
        ):
            self.check(failure(server(), sent), expected)

    def test_nothing_shared(self) -> None:
        """A client with whom nothing is shared has Envoy's reason."""

        def has_group(context: SSL.Context) -> object:
            context.set_min_proto_version(SSL.TLS1_3_VERSION)
            return lib.SSL_CTX_set1_curves_list(context._context, b"brainpoolP256r1tls13:MLKEM512")

        def has_suite(context: SSL.Context) -> None:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(b"AES128-SHA")

        one, other = client(has_group), client(has_suite)
        narrow = server()
        lib.SSL_CTX_set1_curves_list(narrow.get_context()._context, b"P-256")
        restricted = SSL.Connection(narrow.get_context(), None)
        restricted.set_accept_state()
        self.check(failure(restricted, one.bio_read(9999)), "268435722:NO_SHARED_GROUP")
        self.check(failure(server(), other.bio_read(9999)), "268435640:NO_SHARED_CIPHER")

    def test_alerts(self) -> None:
        """An alert of the peer has Envoy's name and number; one that no RFC knows has none."""
        for number, expected in (
            (48, "268436504:TLSV1_ALERT_UNKNOWN_CA"),
            (42, "268436498:SSLV3_ALERT_BAD_CERTIFICATE"),
            (70, "268436526:TLSV1_ALERT_PROTOCOL_VERSION"),
            (116, "268436572:TLSV1_ALERT_CERTIFICATE_REQUIRED"),
            (99, "268436555:unknown error"),
        ):
            errors = failure(client(), record(21, bytes([2, number])))
            self.check(errors, expected, is_unanswered=True)
        refused = failure(client(), record(21, bytes([2, 40])))
        self.check(refused, "268436496:SSLV3_ALERT_HANDSHAKE_FAILURE")
        both = (
            f"268436496:{ROUTINES}SSLV3_ALERT_HANDSHAKE_FAILURE|"
            f"268435610:{ROUTINES}HANDSHAKE_FAILURE_ON_CLIENT_HELLO"
        )
        self.check(refused, both, is_unanswered=True)

    def test_servers(self) -> None:
        """What servers do wrong has Envoy's reason."""
        for sent, expected in (
            (b"220 hello there\r\n", "268435703:WRONG_VERSION_NUMBER"),
            (record(22, b"\x01\0\0\x04abcd"), "268435679:UNEXPECTED_MESSAGE"),
        ):
            self.check(failure(client(), sent), expected, is_unanswered=True)

    def test_broken_record(self) -> None:
        """A record that was changed is named with the failed decryption that goes before it, and
        once; later than the handshake, Envoy says too that the connection was shut down.
        """
        one, other = server(), client()
        for _ in range(3):
            for source, sink in ((other, one), (one, other)):
                with contextlib.suppress(SSL.WantReadError):
                    sink.bio_write(source.bio_read(99999))
                lib.SSL_do_handshake(sink._ssl)
        take_errors()
        one.bio_write(record(23, b"hello, hello, hello, hello"))
        with self.assertRaises(SSL.Error) as caught:
            one.recv(9)
        self.assertIn("bad record mac", str(caught.exception))
        errors = (
            LibraryError(20 << 23 | 281, 281, "decryption failed or bad record mac"),
            LibraryError(20 << 23 | 313, 313, "record layer failure"),
        )
        self.check(errors, BAD_MAC)
        shutdown = f"|268435650:{ROUTINES}PROTOCOL_IS_SHUTDOWN{END}"
        self.assertEqual(failure_text(errors, is_open=True), START + BAD_MAC + END + shutdown)

    def test_other_reasons(self) -> None:
        """A reason that nobody has met yet keeps OpenSSL's own name; one of another library says
        nothing by itself.
        """
        unmet = LibraryError(20 << 23 | 999, 999, "some new reason")
        self.check((unmet,), "268436455:SOME_NEW_REASON")
        provider = LibraryError(57 << 23 | 102, 102, "cipher operation failed")
        self.assertEqual(failure_text((provider,)), "")
        self.assertEqual(failure_text(()), "")
