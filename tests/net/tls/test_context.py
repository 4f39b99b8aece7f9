"""What a context answers OpenSSL: OCSP responses, secrets, authorities; and which certificates it
has for whom.
"""

from __future__ import annotations

import datetime
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from OpenSSL._util import ffi, lib

from tcpmesh.net.tls.context import NOTHING_WANTED, TlsContext
from tcpmesh.net.tls.material import Certificate, read_pair, with_staple
from tcpmesh.net.tls.names import CURVES, VERSIONS, parameters
from tcpmesh.net.tls.openssl.callbacks import knows_curve, set_curves
from tcpmesh.net.tls.openssl.library import Buffer
from tcpmesh.net.tls.reasons import failure_text
from tcpmesh.net.tls.settings import KeyLog, StaplePolicy, TlsSettings
from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.tls import authority, certificate, settings
from tcpmesh.wire.client_hello import ClientHelloMessage, ClientHelloReader
from tests.connection.tls.test_transport import End, TlsTestCase, trusting

_DAY = datetime.timedelta(days=1)


def stapled(days: int) -> Certificate:
    """A certificate with an OCSP response that ends in so many days."""
    plain = certificate()
    return with_staple(plain, authority().ocsp_response(plain.x509, days))


class AskingContext(TlsContext):
    """A client's, that asks for an OCSP response."""

    def engine(self, owner: Any, hello: bytes = b"") -> Any:
        """An engine that asks."""
        engine = super().engine(owner, hello)
        lib.SSL_set_tlsext_status_type(engine._ssl, lib.TLSEXT_STATUSTYPE_ocsp)
        return engine


def response_of(end: End) -> bytes:
    """What a client has got."""
    data = ffi.new("const unsigned char **")
    size = lib.SSL_get_tlsext_status_ocsp_resp(end.transport.engine._ssl, data)
    return bytes(ffi.buffer(data[0], size)) if size > 0 else b""


class StapleTests(TlsTestCase):
    """OCSP responses."""

    def test_policies(self) -> None:
        """A client that asks gets a response that is good; else the policy says what it
        gets.
        """
        lenient, strict, must = StaplePolicy
        good, expired, none = stapled(5), stapled(-1), certificate()
        for own, policy, outcome in (
            (good, lenient, "responses"),
            (good, strict, "responses"),
            (good, must, "responses"),
            (expired, lenient, "omitted"),
            (expired, strict, "failed"),
            (expired, must, "failed"),
            (none, lenient, "omitted"),
            (none, strict, "omitted"),
            (none, must, "failed"),
        ):
            client, served = self.connect(
                AskingContext(settings()), TlsContext(settings(own, staple_policy=policy))
            )
            self.assertEqual([outcome], served.watcher.stapled)
            told = ["failed" if outcome == "failed" else "done"]
            self.assertEqual(told, served.observer.told, (policy, outcome))
            if outcome == "failed":
                reason = failure_text(served.watcher.failures[0].errors)
                self.assertIn("CONNECTION_REJECTED", reason)
            if outcome == "responses":
                self.assertEqual(good.staple, response_of(client))

    def test_unasked(self) -> None:
        """A client that does not ask gets none, and is never refused for it."""
        server = TlsContext(settings(certificate(), staple_policy=StaplePolicy.MUST_STAPLE))
        _, served = self.connect(TlsContext(settings()), server)
        self.assertEqual(["done"], served.observer.told)
        self.assertEqual([], served.watcher.stapled)


class Lines:
    """A key log that writes nowhere."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.lines: list[bytes] = []

    def is_for(self, transport: Any) -> bool:
        """Whatever the test says."""
        return self.wanted

    def write(self, line: bytes) -> None:
        """Keep it."""
        self.lines.append(line)


class SecretTests(TlsTestCase):
    """The key log."""

    def test_lines(self) -> None:
        """The secrets of a connection that is one for the log are written, and of no other."""
        for version, words in ((0, b"CLIENT_TRAFFIC_SECRET_0"), (0x303, b"CLIENT_RANDOM")):
            server = TlsContext(settings(certificate(), version=version, key_log=KeyLog("/log")))
            for wanted in (True, False):
                log = Lines(wanted)
                make = server.engine

                def engine(owner: Any, hello: bytes, make: Any = make, log: Lines = log) -> Any:
                    owner.key_log = log
                    return make(owner, hello)

                self.patch(server, "engine", engine)
                self.connect(TlsContext(settings()), server)
                self.assertEqual(wanted, any(words in line for line in log.lines))

    def test_settings_say_nothing(self) -> None:
        """No key is in what settings and certificates show of themselves."""
        shown = repr(settings(certificate()))
        self.assertNotIn("PRIVATE", shown)
        self.assertNotIn("key=", shown)


class CertificateTests(TlsTestCase):
    """Which certificates there are for whom."""

    def test_key_types(self) -> None:
        """Of an RSA and an ECDSA certificate of one name a client gets the one that it can use,
        each with its own chain.
        """
        above = Authority("above")
        ecdsa = read_pair(*Authority("one", above).issue("server.test"))
        rsa = read_pair(*Authority("two", above).issue("server.test", is_rsa=True))
        server = TlsContext(settings(rsa, ecdsa))
        for suite, expected in (
            ("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa),
            ("ECDHE-RSA-AES128-GCM-SHA256", rsa),
        ):
            client = TlsContext(settings(version=VERSIONS["TLSv1_2"], server_name="server.test"))
            made = client._context(())
            made.set_cipher_list(suite.encode())
            near, _ = self.connect(client, server)
            self.assertEqual(expected.chain, near.transport.engine.peer_chain)

    def test_clients_without_ecdsa(self) -> None:
        """A client that can use no certificate for its name gets the one of RSA of a wildcard for
        it, of any name in a full scan, or the first of all if it is one.
        """
        first, ecdsa, wild, rsa = (
            read_pair(*authority().issue(name, is_rsa=is_rsa))
            for name, is_rsa in (
                ("first.test", False),
                ("a.wild.test", False),
                ("*.wild.test", True),
                ("rsa.test", True),
            )
        )
        for own, full_scan, expected in (
            ((first, ecdsa, rsa, wild), False, wild),
            ((first, ecdsa, rsa), True, rsa),
            ((first, ecdsa, rsa), False, None),
            ((rsa, ecdsa), False, rsa),
        ):
            server = TlsContext(settings(*own, full_scan=full_scan))
            client = TlsContext(settings(version=VERSIONS["TLSv1_2"], server_name="a.wild.test"))
            client._context(()).set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
            near, served = self.connect(client, server)
            self.assertEqual(["failed" if expected is None else "done"], served.observer.told)
            if expected is not None:
                self.assertEqual(expected.chain, near.transport.engine.peer_chain)

    def test_authorities_are_named(self) -> None:
        """A client that is asked for a certificate hears which authorities are trusted, unless that
        is suppressed.
        """
        server = TlsContext(settings(certificate(), validation=trusting()))
        made = server._context(server._default)
        names = lib.SSL_CTX_get_cert_store(made._context)  # there is a store, and it trusts nobody
        self.assertEqual(0, lib.sk_X509_OBJECT_num(lib.X509_STORE_get0_objects(names)))
        silent = settings(certificate(), validation=trusting(suppress_client_ca_list=True))
        for told, context in ((1, server), (0, TlsContext(silent))):
            client, _ = self.connect(TlsContext(settings()), context)
            found = lib.SSL_get_client_CA_list(client.transport.engine._ssl)
            self.assertEqual(told, max(0, lib.sk_X509_NAME_num(found)))

    def test_equal_settings(self) -> None:
        """Settings that say the same are equal, whoever has read them."""
        pair = authority().issue("a.test")
        one, other = (settings(read_pair(*pair), validation=trusting()) for _ in range(2))
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, settings(read_pair(*pair)))

    def test_made_when_needed(self) -> None:
        """What OpenSSL needs is made for the first connection that needs it."""
        server = TlsContext(settings(certificate(), certificate("b.test")))
        self.assertEqual({}, server._made)
        self.connect(TlsContext(settings(server_name="b.test")), server)
        self.assertEqual(2, len(server._made))
        self.connect(TlsContext(settings(server_name="b.test")), server)
        self.assertEqual(2, len(server._made))


def shares(curves: Sequence[str]) -> list[int]:
    """The curves for which a client that knows these has a key in its first hello."""
    own = replace(parameters(is_server=True), curves=tuple(curves))
    owner = SimpleNamespace(wanted=NOTHING_WANTED)
    engine = TlsContext(TlsSettings(is_server=False, parameters=own)).engine(owner)
    engine.handshake(memoryview(b""))
    buffer = Buffer()
    hello = ClientHelloReader().read(bytes(buffer.view[: engine.take(buffer)]))
    assert isinstance(hello, ClientHelloMessage)
    found, data, at = [], hello.extensions[51], 2
    while at < len(data):
        curve, size = struct.unpack_from("!HH", data, at)
        found.append(curve)
        at += 4 + size
    return found


class CurveTests(TlsTestCase):
    """Curves."""

    def test_unknown_curves(self) -> None:
        """A curve that this OpenSSL does not know is left out, unless nothing is left then."""
        self.assertTrue(knows_curve("X25519"))
        self.assertFalse(knows_curve("NO-SUCH-CURVE"))
        made = TlsContext(TlsSettings(is_server=False))._context(())
        set_curves(made, ["NO-SUCH-CURVE", "P-256"])
        self.assertRaises(ValueError, set_curves, made, ["NO-SUCH-CURVE"])
        self.assertEqual(0, lib.ERR_peek_error())

    def test_first_shares(self) -> None:
        """A hello to a host has a key for the best curve, and one for the best of the other kind,
        post-quantum or not: so hosts that do not know the first need not ask again.
        """
        numbers = {"X25519MLKEM768": 0x11EC, "X25519": 0x1D, "P-256": 0x17, "P-384": 0x18}
        for names, expected in (
            (CURVES, ["X25519MLKEM768", "X25519"]),
            (("P-256", "P-384"), ["P-256"]),
            (("P-256", "X25519", "X25519MLKEM768"), ["P-256", "X25519MLKEM768"]),
            (("X25519MLKEM768",), ["X25519MLKEM768"]),
        ):
            self.assertEqual([numbers[name] for name in expected], shares(names), names)


CONFIGURATION = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = everywhere
[everywhere]
MinProtocol = TLSv1.3
MaxProtocol = TLSv1.3
CipherString = ECDHE-RSA-AES256-GCM-SHA384:@SECLEVEL=4
Ciphersuites = TLS_CHACHA20_POLY1305_SHA256
Groups = P-521
SignatureAlgorithms = RSA+SHA512
"""

PROGRAM = """
from tests.net.tls.test_context import agreed_on
print(*agreed_on())
"""


def agreed_on() -> list[str]:
    """What two sides agree on that leave all to the defaults, in either version."""
    test = TlsTestCase()
    test.setUp()
    found = []
    for version in (VERSIONS["TLSv1_2"], VERSIONS["TLSv1_3"]):
        client = TlsContext(settings(version=version))
        near, _ = test.connect(client, TlsContext(settings(certificate(), version=version)))
        engine = near.transport.engine
        found += [engine.version, engine.cipher, engine.group]
    return found


class MachineTests(TlsTestCase):
    """What the machine's administrator has told OpenSSL."""

    def test_openssl_cnf(self) -> None:
        """Its openssl.cnf decides nothing of versions, ciphers, groups and signatures."""
        path = self.mktemp()
        Path(path).write_text(CONFIGURATION, encoding="ascii")
        environ = {**os.environ, "OPENSSL_CONF": str(Path(path).resolve())}
        root = Path(__file__).resolve().parents[3]
        command = [sys.executable, "-c", PROGRAM]
        told = subprocess.run(
            command, check=True, text=True, stdout=subprocess.PIPE, env=environ, cwd=root
        ).stdout
        self.assertEqual(agreed_on(), told.split())
