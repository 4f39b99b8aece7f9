"""Certificates and keys, from bytes that were read already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key


@dataclass(frozen=True)
class Certificate:
    """A certificate with its chain and its private key."""

    chain: tuple[bytes, ...]
    """In DER, the certificate itself first."""

    key: Any
    """The private key, of cryptography."""

    staple: bytes | None = None
    """The OCSP response for it, in DER."""


def load_pair(chain: bytes, key: bytes, password: bytes | None = None) -> Certificate:
    """A certificate of what is in two PEM files."""
    found = x509.load_pem_x509_certificates(chain)
    return Certificate(
        tuple(each.public_bytes(Encoding.DER) for each in found),
        load_pem_private_key(key, password),
    )
