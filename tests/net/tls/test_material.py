"""Certificates and keys out of bytes: what Envoy refuses when it loads them, and what it takes."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis.strategies import binary, data, integers

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.material import (
    Certificate,
    MaterialError,
    days_until,
    has_name,
    read_authorities,
    read_chain,
    read_key,
    read_pair,
    read_pkcs12,
    read_revocation_lists,
    with_staple,
)
from tests.net.tls.pki import DAY, Issued, authority, key_usage, now, rsa_key

TRADITIONAL = PrivateFormat.TraditionalOpenSSL
PASSWORD = b"a secret word"


def broken(pem: str) -> str:
    """The same in PEM with something else in DER."""
    lines = pem.splitlines()
    return "\n".join([lines[0], "AAAA" + lines[1][4:], *lines[2:], ""])


def staple(
    of: Issued, issuer: Issued, *, begins: int = -1, ends: int | None = 3
) -> ocsp.OCSPResponse:
    """An OCSP response that says that a certificate is good."""
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=of.cert,
        issuer=issuer.cert,
        algorithm=hashes.SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=now() + begins * DAY,
        next_update=None if ends is None else now() + ends * DAY,
        revocation_time=None,
        revocation_reason=None,
    )
    return builder.responder_id(ocsp.OCSPResponderEncoding.NAME, issuer.cert).sign(
        issuer.key, hashes.SHA256()
    )


class MaterialTestCase(SynchronousTestCase):
    """Has an authority and one certificate of it."""

    def setUp(self) -> None:
        self.root = authority()
        self.leaf = self.root.issue("leaf", names=["dns:a.test"])

    def pair(self, issued: Issued, **fields: Any) -> Certificate:
        """A certificate with its key, out of PEM."""
        return read_pair(issued.pem.encode(), issued.key_pem(**fields).encode())

    def refused(self, pattern: str, read: Callable[..., object], *arguments: Any) -> None:
        """Reading raises an error of these words, and says nothing of the material."""
        with self.assertRaises(MaterialError) as caught:
            read(*arguments)
        self.assertRegex(str(caught.exception), pattern)
        secret = re.sub(r"-----.*-----\n", "", self.leaf.key_pem()).splitlines()[0]
        self.assertNotIn(secret[:10], repr(caught.exception))


class ChainTests(MaterialTestCase):
    """The file of a certificate and its chain."""

    def read(self, *parts: str) -> int:
        """How many certificates are found."""
        return len(read_chain("".join(parts).encode()))

    def test_chain(self) -> None:
        """All certificates of the file are the chain, whatever stands between them."""
        key = self.leaf.key_pem()
        for parts in (
            (self.leaf.pem, self.root.pem),
            ("remarks\n\n", self.leaf.pem, "more\n", self.root.pem, "the end"),
            (key, self.leaf.pem, self.root.pem),
            (self.leaf.pem, key, self.root.pem),
            (self.leaf.pem.replace("\n", "\r\n"), self.root.pem),
            (self.leaf.pem.replace("CERTIFICATE", "X509 CERTIFICATE"), self.root.pem),
        ):
            self.assertEqual(self.read(*parts), 2)

    def test_no_certificate(self) -> None:
        """A file without a certificate, or with one that is not whole, is refused."""
        self.refused("it is empty", self.read, "")
        self.refused("no certificate in PEM form", self.read, "hello")
        self.refused("no certificate in PEM form", self.read, self.leaf.key_pem())
        self.refused("has no end", self.read, self.leaf.pem[:200])
        self.refused("has no end", self.read, self.leaf.pem, self.leaf.pem[:200])
        self.refused("no base64", self.read, self.leaf.pem.replace("M", "!", 1))
        self.refused("cannot be read", self.read, broken(self.leaf.pem))
        self.refused("cannot be read", self.read, self.leaf.pem, broken(self.leaf.pem))

    def test_time_and_issuer(self) -> None:
        """A certificate that has expired is used, as is a chain of strangers."""
        expired = self.root.issue(begins=-9, ends=-1)
        self.assertEqual(self.read(expired.pem, authority("other").pem), 2)

    def test_keys(self) -> None:
        """RSA keys of 2048 bits and more, three curves and Ed25519 can be used; others cannot."""
        generate = ec.generate_private_key
        good = [rsa_key(2048), rsa_key(4096), ed25519.Ed25519PrivateKey.generate()]
        good += [generate(each()) for each in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)]
        types = []
        for key in good:
            types.append(self.pair(self.root.issue(key=key)).key_type)
        self.assertEqual(types, ["rsa", "rsa", "ed25519", "ecdsa", "ecdsa", "ecdsa"])
        for key, pattern in (
            (rsa_key(1024), "2048 bits, it has 1024"),
            (rsa_key(2047), "2048 bits, it has 2047"),
            (generate(ec.SECP224R1()), "not secp224r1"),
            (generate(ec.SECP256K1()), "not secp256k1"),
            (dsa.generate_private_key(1024), "only RSA, ECDSA and Ed25519"),
            (ed448.Ed448PrivateKey.generate(), "only RSA, ECDSA and Ed25519"),
        ):
            self.refused(pattern, self.read, self.root.issue(key=key).pem)

    def test_usage(self) -> None:
        """An EC key that may not sign cannot be used; an RSA key that only enciphers can."""
        agrees = self.root.issue(usage=key_usage("key_agreement"))
        self.refused("may not be used for signatures", self.read, agrees.pem)
        self.read(self.root.issue(key=rsa_key(), usage=key_usage("key_encipherment")).pem)

    @given(data())
    def test_mutated(self, draw: Any) -> None:
        """Whatever bytes stand in a file, they are read or refused."""
        text = bytearray((self.leaf.pem + self.leaf.key_pem()).encode())
        for _ in range(draw.draw(integers(1, 3))):
            start = draw.draw(integers(0, len(text)))
            text[start : start + draw.draw(integers(0, 3))] = draw.draw(binary(max_size=3))
        for read in (read_chain, read_key, read_authorities, read_revocation_lists):
            with contextlib.suppress(MaterialError):
                read(bytes(text))

    @given(data())
    def test_mutated_certificate(self, draw: Any) -> None:
        """A certificate of whatever bytes has facts, or is refused."""
        der = bytearray(self.leaf.der)
        for _ in range(draw.draw(integers(1, 3))):
            der[draw.draw(integers(0, len(der) - 1))] = draw.draw(integers(0, 255))
        certificate = Certificate((bytes(der),), self.leaf.key)
        try:
            found = certificate.x509
        except ValueError:
            return
        self.assertIsInstance(certificate.names, tuple)
        self.assertIsInstance(certificate.must_staple, bool)
        self.assertIsInstance(has_name(found), bool)


class KeyTests(MaterialTestCase):
    """The file of a private key."""

    def test_forms(self) -> None:
        """A key may be in either form, encrypted or not, with other things before it."""
        pem = self.leaf.pem
        for text, password in (
            (self.leaf.key_pem(), None),
            (self.leaf.key_pem(), PASSWORD),
            (self.leaf.key_pem(form=TRADITIONAL), None),
            (self.leaf.key_pem(PASSWORD), PASSWORD),
            (self.leaf.key_pem(PASSWORD, TRADITIONAL), PASSWORD),
            ("remarks\n" + pem + self.leaf.key_pem(), None),
            (
                "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
                + self.leaf.key_pem(form=TRADITIONAL),
                None,
            ),
        ):
            certificate = read_pair(pem.encode(), text.encode(), password)
            self.assertEqual(certificate.chain, (self.leaf.der,))

    def test_no_key(self) -> None:
        """What is no key, or cannot be opened, is refused."""
        self.refused("it is empty", read_key, b"")
        self.refused("no private key in PEM form", read_key, b"hello")
        self.refused("no private key in PEM form", read_key, self.leaf.pem.encode())
        self.refused("cannot be read", read_key, broken(self.leaf.key_pem()).encode())
        for form in (PrivateFormat.PKCS8, TRADITIONAL):
            encrypted = self.leaf.key_pem(PASSWORD, form).encode()
            self.refused("does not open", read_key, encrypted, PASSWORD + b"\n")
            self.refused("there is no password", read_key, encrypted)
            self.refused("there is no password", read_key, encrypted, b"")

    def test_another_key(self) -> None:
        """A key of another certificate is refused, of whatever kind it is."""
        for key in (None, rsa_key()):
            other = self.root.issue(key=key)
            with self.assertRaises(MaterialError) as caught:
                read_pair(self.leaf.pem.encode(), other.key_pem().encode())
            self.assertEqual(caught.exception.part, "private_key")

    def test_same(self) -> None:
        """Who reads the same certificate again has the same object; with another password, it is
        read anew.
        """
        one = self.pair(self.leaf)
        self.assertIs(self.pair(self.leaf), one)
        encrypted = self.leaf.key_pem(PASSWORD).encode()
        read_pair(self.leaf.pem.encode(), encrypted, PASSWORD)
        self.refused("does not open", read_pair, self.leaf.pem.encode(), encrypted, b"no")

    def test_secrecy(self) -> None:
        """The key is in no text about a certificate."""
        certificate = self.pair(self.leaf)
        self.assertNotIn("PrivateKey", repr(certificate))


class Pkcs12Tests(MaterialTestCase):
    """Archives of PKCS#12."""

    def archive(self, password: bytes | None = PASSWORD, *, has_key: bool = True) -> bytes:
        """One with the certificate and its issuer."""
        encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
        key, cert = (self.leaf.key, self.leaf.cert) if has_key else (None, None)
        return pkcs12.serialize_key_and_certificates(b"n", key, cert, [self.root.cert], encryption)

    def test_archive(self) -> None:
        """It has the certificate, its key and the chain, be it encrypted or not."""
        for password in (None, PASSWORD):
            found = read_pkcs12(self.archive(password), password)
            self.assertEqual(found, Certificate((self.leaf.der, self.root.der), None))  # type: ignore[arg-type]

    def test_no_archive(self) -> None:
        """What is none, is encrypted otherwise, or lacks the key, is refused."""
        self.refused("no PKCS#12 archive", read_pkcs12, b"junk")
        self.refused("does not open", read_pkcs12, self.archive(), b"no")
        self.refused("does not open", read_pkcs12, self.archive())
        self.refused("does not open", read_pkcs12, self.archive(None), PASSWORD)
        self.refused("no certificate", read_pkcs12, self.archive(None, has_key=False))


class FactTests(MaterialTestCase):
    """What is known of a certificate."""

    def names(self, common_name: str, *names: str) -> tuple[str, ...]:
        """For which clients are given a certificate."""
        return self.pair(self.root.issue(common_name, names=names)).names

    def test_names(self) -> None:
        """A certificate is for its DNS names; where it has no alternative names at all, for its
        common name.
        """
        self.assertEqual(self.names("c", "dns:a", "uri:x:y", "dns:*.b"), ("a", "*.b"))
        self.assertEqual(self.names("c"), ("c",))
        self.assertEqual(self.names("c", "ip:10.1.2.3"), ())
        self.assertEqual(self.names(""), ())

    def test_has_name(self) -> None:
        """A certificate without any name can be told."""
        self.assertFalse(has_name(self.root.issue("").cert))
        self.assertTrue(has_name(self.root.issue("c").cert))
        self.assertTrue(has_name(self.root.issue("", names=["uri:x:y"]).cert))

    def test_curve(self) -> None:
        """The curve of an ECDSA key is known."""
        self.assertEqual(self.pair(self.leaf).curve, "secp256r1")
        self.assertEqual(self.pair(self.root.issue(key=rsa_key())).curve, "")

    def test_days(self) -> None:
        """Days until something ends are whole ones, and none after it."""
        moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        self.assertEqual(days_until(moment + 2.9 * DAY, moment), 2)
        self.assertEqual(days_until(moment - DAY, moment), 0)


class StapleTests(MaterialTestCase):
    """OCSP responses."""

    def setUp(self) -> None:
        super().setUp()
        self.certificate = self.pair(self.leaf)
        self.response = staple(self.leaf, self.root).public_bytes(Encoding.DER)

    def test_staple(self) -> None:
        """A response for the certificate comes with it, and is part of what it is."""
        certificate = self.pair(self.leaf)
        response = staple(self.leaf, self.root).public_bytes(Encoding.DER)
        stapled = with_staple(certificate, response)
        self.assertEqual(stapled.staple, response)
        self.assertNotEqual(stapled, certificate)
        assert stapled.response is not None
        self.assertFalse(stapled.response.has_expired(now()))
        self.assertTrue(stapled.response.has_expired(now() + 4 * DAY))
        self.assertIsNone(certificate.response)

    def test_without_end(self) -> None:
        """A response that does not say until when it holds counts as expired."""
        response = staple(self.leaf, self.root, ends=None).public_bytes(Encoding.DER)
        stapled = with_staple(self.pair(self.leaf), response)
        assert stapled.response is not None
        self.assertTrue(stapled.response.has_expired(now()))

    def test_no_staple(self) -> None:
        """What is none, or is about something else, is refused."""
        certificate = self.pair(self.leaf)
        other = staple(self.root.issue(), self.root).public_bytes(Encoding.DER)
        good = staple(self.leaf, self.root).public_bytes(Encoding.DER)
        later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
        self.refused("no OCSP response", with_staple, certificate, b"junk")
        self.refused("no OCSP response", with_staple, certificate, good + b"x")
        self.refused("another certificate", with_staple, certificate, other)
        bytes_of_it = later.public_bytes(Encoding.DER)
        self.refused("an error, TRY_LATER", with_staple, certificate, bytes_of_it)

    @given(data())
    def test_mutated(self, draw: Any) -> None:
        """A response of whatever bytes is taken or refused."""
        der = bytearray(self.response)
        for _ in range(draw.draw(integers(1, 3))):
            der[draw.draw(integers(0, len(der) - 1))] = draw.draw(integers(0, 255))
        with contextlib.suppress(MaterialError):
            with_staple(self.certificate, bytes(der))

    def test_must_staple(self) -> None:
        """A certificate can demand a response itself."""
        demands = [(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)]
        self.assertTrue(self.pair(self.root.issue(more=demands)).must_staple)
        self.assertFalse(self.pair(self.leaf).must_staple)


class AuthorityTests(MaterialTestCase):
    """Bundles of authorities, and revocation lists."""

    def test_authorities(self) -> None:
        """All certificates of a bundle are authorities, and its revocation lists count."""
        text = self.leaf.key_pem() + self.root.pem + "x\n" + self.root.crl() + self.leaf.pem
        found = read_authorities(text.encode())
        self.assertEqual(found.certificates, (self.root.der, self.leaf.der))
        self.assertEqual(len(found.revocation_lists), 1)

    def test_no_authorities(self) -> None:
        """A bundle without certificates, or with a broken one, is refused."""
        self.refused("no certificate in PEM", read_authorities, b"junk")
        self.refused("no certificate in PEM", read_authorities, self.root.crl().encode())
        text = self.root.pem + broken(self.root.pem)
        self.refused("cannot be read", read_authorities, text.encode())

    def test_revocation_lists(self) -> None:
        """A file of revocation lists may have several, and none; one that is broken is refused."""
        text = self.root.crl() + self.root.crl(self.leaf)
        self.assertEqual(len(read_revocation_lists(text.encode())), 2)
        self.assertEqual(read_revocation_lists(self.root.pem.encode()), ())
        self.refused("cannot be read", read_revocation_lists, broken(self.root.crl()).encode())
