"""The certificates of the TLS workloads: self-signed, made anew for each run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

NAME = "bench"


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key, in PEM; `both` has one after the other."""

    chain: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Certificates:
    """One of each kind that a listener may have."""

    ecdsa: Pair
    rsa: Pair


def make_certificates(directory: Path) -> Certificates:
    """Certificates for ECDSA on P-256, and for RSA with 2048 bits, in files there."""
    return Certificates(
        _pair(directory, "ecdsa", ec.generate_private_key(ec.SECP256R1())),
        _pair(directory, "rsa", rsa.generate_private_key(65537, 2048)),
    )


def _pair(directory: Path, kind: str, key: CertificateIssuerPrivateKeyTypes) -> Pair:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pair = Pair(*(directory / f"{kind}{suffix}" for suffix in (".crt", ".key", ".pem")))
    pair.chain.write_bytes(chain)
    pair.key.write_bytes(private)
    pair.both.write_bytes(chain + private)
    return pair
