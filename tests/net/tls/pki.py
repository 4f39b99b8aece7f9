"""Authorities, certificates and revocation lists for tests: made anew in each run, so that none
expires, and each is wrong in one way.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

DAY = datetime.timedelta(days=1)
SAN_KINDS: dict[str, Any] = {
    "dns": x509.DNSName,
    "uri": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
    "ip": lambda text: x509.IPAddress(ipaddress.ip_address(text)),
    "dir": lambda text: x509.DirectoryName(distinguished(text)),
    "rid": lambda text: x509.RegisteredID(ObjectIdentifier(text)),
    "other": lambda text: x509.OtherName(
        ObjectIdentifier(text.split("=")[0]), _utf8(text.split("=")[1])
    ),
    "der": lambda text: x509.OtherName(ObjectIdentifier("1.2.3.4"), bytes.fromhex(text)),
}


def _utf8(text: str) -> bytes:
    """A UTF8String in DER, short."""
    data = text.encode()
    return b"\x0c" + bytes([len(data)]) + data


def now() -> datetime.datetime:
    """To the second, as certificates have it."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def distinguished(common_name: str) -> x509.Name:
    """A name of one part, or of none."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    return x509.Name(parts)


def key_usage(*names: str) -> x509.KeyUsage:
    """Those named are set."""
    known = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{each: each in names for each in known})


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """One for each size: making them takes long."""
    return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and who issued it."""

    cert: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.cert.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.cert.public_bytes(serialization.Encoding.DER)

    def key_pem(
        self,
        password: bytes | None = None,
        form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    ) -> str:
        """The key, perhaps encrypted."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password)
        return str(self.key.private_bytes(serialization.Encoding.PEM, form, encryption).decode())

    def issue(
        self,
        common_name: str = "leaf",
        *,
        key: Any = None,
        begins: int = -1,
        ends: int = 30,
        names: Iterable[str] = (),
        is_ca: bool = False,
        path_length: int | None = None,
        usage: x509.KeyUsage | None = None,
        purposes: Sequence[ObjectIdentifier] = (),
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> Issued:
        """A certificate of this authority.

        :param begins: days from now; `ends` as well.
        :param names: subject alternative names, as `dns:a.test`.
        """
        return _issue(self, **{k: v for k, v in locals().items() if k != "self"})

    def crl(
        self, *revoked: Issued, begins: int = -1, ends: int = 9, number: int | None = None
    ) -> str:
        """A revocation list of this authority, in PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.cert.subject)
            .last_update(now() + begins * DAY)
            .next_update(now() + ends * DAY)
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), False)
        for each in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(each.cert.serial_number)
                .revocation_date(now() - DAY)
                .build()
            )
        signed = builder.sign(self.key, _digest(self.key))
        return signed.public_bytes(serialization.Encoding.PEM).decode()


def _issue(
    issuer: Issued | None,
    common_name: str,
    *,
    key: Any,
    begins: int,
    ends: int,
    names: Iterable[str],
    is_ca: bool,
    path_length: int | None,
    usage: x509.KeyUsage | None,
    purposes: Sequence[ObjectIdentifier],
    more: Sequence[tuple[x509.ExtensionType, bool]],
) -> Issued:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished(common_name))
        .issuer_name(issuer.cert.subject if issuer else distinguished(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() + begins * DAY)
        .not_valid_after(now() + ends * DAY)
    )
    alternative = [SAN_KINDS[kind](text) for kind, _, text in (n.partition(":") for n in names)]
    extensions = list(more)
    if alternative:
        extensions.append((x509.SubjectAlternativeName(alternative), False))
    if is_ca:
        extensions.append((x509.BasicConstraints(True, path_length), True))
        usage = usage or key_usage("digital_signature", "key_cert_sign", "crl_sign")
    if usage is not None:
        extensions.append((usage, True))
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    for value, is_critical in extensions:
        builder = builder.add_extension(value, is_critical)
    signer = issuer.key if issuer else key
    return Issued(builder.sign(signer, _digest(signer)), key)


def _digest(key: Any) -> Any:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def authority(common_name: str = "root", **fields: Any) -> Issued:
    """A root that signs itself; `fields` as `Issued.issue` has them."""
    given = {"begins": -9, "ends": 900, "is_ca": True, "path_length": None, "key": None}
    rest = {"names": (), "usage": None, "purposes": (), "more": ()}
    return _issue(None, common_name, **{**given, **rest, **fields})


CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
