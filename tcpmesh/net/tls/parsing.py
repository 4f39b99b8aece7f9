"""Certificates as `cryptography` reads them, with one error for whatever is wrong with one.

It has several of its own, some of which are no `ValueError`; and it reads a certificate's parts
when they are asked for, so each may fail.
"""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_Value = TypeVar("_Value", bound=x509.ExtensionType)

_ERRORS = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Unreadable(ValueError):
    """No certificate, or a part of one that cannot be read."""


def parse(der: bytes) -> x509.Certificate:
    """A certificate in DER.

    :raise Unreadable: it is none.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except _ERRORS:
        raise Unreadable("no certificate in DER") from None


def extension(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    """An extension of a certificate, or `None` where it has none.

    :raise Unreadable: its extensions cannot be read.
    """
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except _ERRORS:
        raise Unreadable("its extensions cannot be read") from None


def public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes:
    """A certificate's key.

    :raise Unreadable: it cannot be read, or is of an unknown kind.
    """
    try:
        return certificate.public_key()
    except _ERRORS:
        raise Unreadable("its key is of an unknown kind") from None
