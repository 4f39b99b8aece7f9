"""Certificates and keys, authorities and revocation lists, out of bytes that were read already.

What Envoy refuses when it loads them is refused here, in one sentence that says what is wrong and
has nothing of the material in it.  What it takes is taken: a certificate that has expired, a chain
that leads nowhere, an authority that is none.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import field
from functools import cached_property, lru_cache
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from tcpmesh.facts import dataclass
from tcpmesh.net.tls.parsing import Unreadable, extension, parse, public_key
from tcpmesh.net.tls.pem import (
    CERTIFICATES,
    PRIVATE_KEYS,
    REVOCATION_LISTS,
    BrokenPem,
    blocks,
)
from tcpmesh.net.tls.staples import BadStaple, Staple
from tcpmesh.net.tls.subject_names import NameKind, subject_names

_SMALLEST_RSA = 2048
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


_known: WeakValueDictionary[bytes, Certificate] = WeakValueDictionary()
"""Pairs that were read, by what they were read from: ten thousand filter chains may have one."""


class MaterialError(ValueError):
    """What is wrong with a certificate, a key or a list, in one sentence that has nothing of it;
    `part` is the field of Envoy's `TlsCertificate` at fault, where it is one.
    """

    def __init__(self, text: str, part: str = "") -> None:
        super().__init__(text)
        self.part = part


@dataclass(frozen=True)
class Certificate:
    """A certificate with what belongs to it: equal where `chain` and `staple` are, since the key
    fits one certificate alone.
    """

    chain: tuple[bytes, ...]
    """In DER, the certificate itself first."""

    key: PrivateKeyTypes = field(repr=False, compare=False)
    """The private key."""

    staple: bytes | None = None
    """An OCSP response for it, in DER."""

    @cached_property
    def x509(self) -> x509.Certificate:
        """The certificate itself."""
        return parse(self.chain[0])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The DNS names for which clients are given it: those of the subject's alternative names;
        without any of these, of whatever kind, its common name.
        """
        found = subject_names(self.x509)
        if found:
            return tuple(each.text for each in found if each.kind is NameKind.DNS)
        return _common_name(self.x509)

    @cached_property
    def key_type(self) -> str:
        """`rsa`, `ecdsa` or `ed25519`."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return "rsa"
        return "ecdsa" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "ed25519"

    @cached_property
    def curve(self) -> str:
        """The curve of an ECDSA key, by OpenSSL's name; empty for other keys."""
        is_ec = isinstance(self.key, ec.EllipticCurvePrivateKey)
        return self.key.curve.name if is_ec else ""  # type: ignore[union-attr]

    @cached_property
    def must_staple(self) -> bool:
        """Whether the certificate itself demands that an OCSP response comes with it."""
        return must_staple(self.x509)

    @cached_property
    def response(self) -> Staple | None:
        """The OCSP response, read."""
        return None if self.staple is None else Staple.read(self.staple)


def read_pair(chain: bytes, key: bytes, password: bytes | None = None) -> Certificate:
    """A certificate and its key, of what is in two PEM files.

    :return: the same object for the same bytes, as long as anybody has it.
    :raise MaterialError: they are none, or do not belong together.
    """
    known = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in (chain, key)))
    known.update(password or b"")
    found = _known.get(known.digest())
    if found is None:
        certificates, public = _read_chain(chain)
        found = _known[known.digest()] = _pair(certificates, public, read_key(key, password))
    return found


def read_chain(data: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, of which the first is shown to peers as one's own.

    :raise MaterialError: there are none, or the first cannot be used.
    """
    return _read_chain(data)[0]


def _read_chain(data: bytes) -> tuple[tuple[x509.Certificate, ...], object]:
    """The same, and the key of the first."""
    if not data:
        raise MaterialError("it is empty", "certificate_chain")
    try:
        found = tuple(_parsed(each.content) for each in blocks(data, CERTIFICATES))
    except BrokenPem as error:
        raise MaterialError(str(error), "certificate_chain") from None
    if not found:
        raise MaterialError("no certificate in PEM form is in it", "certificate_chain")
    return found, _usable_key(found[0])


def read_key(data: bytes, password: bytes | None = None) -> PrivateKeyTypes:
    """The first private key of a PEM file.

    :raise MaterialError: there is none, or the password does not open it.
    """
    part = "private_key"
    if not data:
        raise MaterialError("it is empty", part)
    try:
        found = blocks(data, PRIVATE_KEYS)
    except BrokenPem as error:
        raise MaterialError(str(error), part) from None
    if not found:
        raise MaterialError("no private key in PEM form is in it", part)
    block = found[0]
    if block.is_encrypted and not password:
        raise MaterialError("the private key is encrypted, and there is no password for it", part)
    try:
        return load_pem_private_key(block.text, password if block.is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass  # Without the error's own text: it may quote from the key.
    if block.is_encrypted:
        raise MaterialError("the password does not open the private key", "password")
    raise MaterialError("the private key cannot be read", part)


def read_pkcs12(data: bytes, password: bytes | None = None) -> Certificate:
    """A certificate, its key and the rest of its chain, of a PKCS#12 archive.

    :raise MaterialError: it is none, or the password does not open it.
    """
    try:
        archive = pkcs12.load_pkcs12(data, password or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        text = "it is no PKCS#12 archive, or the password does not open it"
        raise MaterialError(text, "pkcs12") from None
    if archive.cert is None:
        raise MaterialError("no certificate that belongs to a key is in it", "pkcs12")
    if archive.key is None:
        raise MaterialError("no private key is in it", "pkcs12")
    others = tuple(each.certificate for each in archive.additional_certs)
    try:
        public = _usable_key(archive.cert.certificate)
        return _pair((archive.cert.certificate, *others), public, archive.key)
    except MaterialError as error:
        raise MaterialError(str(error), "pkcs12") from None


def with_staple(certificate: Certificate, data: bytes) -> Certificate:
    """The same with an OCSP response in DER.

    :raise MaterialError: it is none, or not for this certificate.
    """
    try:
        staple = Staple.read(data)
    except BadStaple as error:
        raise MaterialError(str(error), "ocsp_staple") from None
    if staple.serial != certificate.x509.serial_number:
        text = "the OCSP response is for another certificate"
        raise MaterialError(text, "ocsp_staple")
    return Certificate(certificate.chain, certificate.key, data)


@dataclass(frozen=True)
class Authorities:
    """What is in a bundle: certificates and revocation lists in DER."""

    certificates: tuple[bytes, ...]
    revocation_lists: tuple[bytes, ...] = ()


@lru_cache(maxsize=16)
def read_authorities(data: bytes) -> Authorities:
    """The certificates of a PEM file, and the revocation lists that are there too.

    :raise MaterialError: there is no certificate, or one is broken.
    """
    try:
        certificates = [each.content for each in blocks(data, CERTIFICATES)]
    except BrokenPem as error:
        raise MaterialError(str(error)) from None
    if not certificates:
        raise MaterialError("no certificate in PEM form is in it")
    for each in certificates:
        _parsed(each)
    return Authorities(tuple(certificates), read_revocation_lists(data))


def read_revocation_lists(data: bytes) -> tuple[bytes, ...]:
    """The revocation lists of a PEM file, which may be none.

    :raise MaterialError: one is broken.
    """
    try:
        found = tuple(each.content for each in blocks(data, REVOCATION_LISTS))
    except BrokenPem as error:
        raise MaterialError(str(error)) from None
    for each in found:
        try:
            x509.load_der_x509_crl(each)
        except ValueError:
            raise MaterialError("a revocation list in it cannot be read") from None
    return found


def must_staple(certificate: x509.Certificate) -> bool:
    """Whether it has the extension that demands an OCSP response (RFC 7633)."""
    try:
        features = extension(certificate, x509.TLSFeature)
    except Unreadable:
        return False
    return features is not None and x509.TLSFeatureType.status_request in features


def has_name(certificate: x509.Certificate) -> bool:
    """Whether it has a common name, or alternative names of any kind: servers have to show one
    with a name.
    """
    return bool(subject_names(certificate) or _common_name(certificate))


def days_until(moment: datetime.datetime, now: datetime.datetime) -> int:
    """Whole days until then, none after it."""
    return max(0, (moment - now).days)


def _parsed(der: bytes) -> x509.Certificate:
    try:
        return parse(der)
    except Unreadable:
        raise MaterialError("a certificate in it cannot be read", "certificate_chain") from None


def _common_name(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ()
    return tuple(str(each.value) for each in found[:1])


def _usable_key(certificate: x509.Certificate) -> object:
    """The key of a certificate that BoringSSL shows to peers."""
    try:
        key = public_key(certificate)
    except Unreadable:
        raise MaterialError(
            "its certificate has a key of an unknown kind", "certificate_chain"
        ) from None
    _check_key(key)
    if isinstance(key, ec.EllipticCurvePublicKey) and not _may_sign(certificate):
        text = "its certificate has an EC key that may not be used for signatures"
        raise MaterialError(text, "certificate_chain")
    return key


def _check_key(key: object) -> None:
    text = ""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            text = f"an RSA key has to have at least {_SMALLEST_RSA} bits, it has {key.key_size}"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            text = f"only the curves P-256, P-384 and P-521 are supported, not {key.curve.name}"
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        text = "only RSA, ECDSA and Ed25519 keys are supported"
    if text:
        raise MaterialError(text, "certificate_chain")


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        usage = extension(certificate, x509.KeyUsage)
    except Unreadable:
        return False
    return usage is None or usage.digital_signature


def _public_key_of(certificate: x509.Certificate) -> object:
    try:
        return public_key(certificate)
    except ValueError:
        return None


def _pair(
    certificates: Sequence[x509.Certificate], public: object, key: PrivateKeyTypes
) -> Certificate:
    own = key.public_key()
    if public != own:
        text = "the private key is not that of the certificate"
        if any(_public_key_of(each) == own for each in certificates[1:]):
            text += ", but of a later one in the chain: it has to be the first"
        raise MaterialError(text, "private_key")
    return Certificate(tuple(each.public_bytes(Encoding.DER) for each in certificates), key)
