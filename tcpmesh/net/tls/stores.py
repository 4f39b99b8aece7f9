"""Authorities and revocation lists, and whether a chain leads to one of them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from cryptography import x509
from OpenSSL import crypto

from tcpmesh.facts import dataclass
from tcpmesh.net.tls import failures
from tcpmesh.net.tls.openssl.library import set_purpose
from tcpmesh.net.tls.parsing import Unreadable, extension, parse

_NO_CHECK_TIME = 0x200000
"""`X509_V_FLAG_NO_CHECK_TIME`, of certificates and revocation lists alike."""


_INVALID_CA = 79
"""`X509_V_ERR_INVALID_CA` of OpenSSL, which is 24 in BoringSSL."""


class Purpose(enum.Enum):
    """What the peer's certificate is used for: the value is OpenSSL's number."""

    CLIENT = 1
    SERVER = 2


@dataclass(frozen=True)
class Failure:
    """Why a chain leads nowhere: OpenSSL's code, and the place of the certificate at fault.
    `before` is what else BoringSSL would have in its list of errors.
    """

    code: int
    depth: int
    before: str = ""


class TrustStore:
    """Authorities, any of which ends a chain, be it one that signs itself or not.

    :param authorities: in DER, as are the `revocation_lists`.
    :param only_leaf: whether the peer's own certificate alone has to be on no list, where
        `checks_revocation`.
    :raise ValueError: one is none.
    """

    def __init__(
        self,
        authorities: Iterable[bytes],
        revocation_lists: Iterable[bytes] = (),
        *,
        checks_revocation: bool = False,
        only_leaf: bool = False,
        allows_expired: bool = False,
    ) -> None:
        flags = crypto.X509StoreFlags.PARTIAL_CHAIN
        if checks_revocation:
            flags |= crypto.X509StoreFlags.CRL_CHECK
            flags |= 0 if only_leaf else crypto.X509StoreFlags.CRL_CHECK_ALL
        if allows_expired:
            flags |= _NO_CHECK_TIME
        certificates = [_certificate(each) for each in authorities]
        lists = [x509.load_der_x509_crl(each) for each in revocation_lists]
        self._stores = {each: _store(certificates, lists, flags, each) for each in Purpose}

    def failure(
        self, chain: Sequence[bytes], purpose: Purpose, depth: int | None = None
    ) -> Failure | None:
        """Why a chain does not lead to an authority; `None` where it does.

        :param chain: in DER, the peer's own certificate first, the others in any order.
        :param depth: how many of its certificates may stand below the authority; BoringSSL takes 0
            for 1.
        :raise ValueError: a certificate cannot be read.
        :raise OpenSSL.crypto.Error: OpenSSL itself failed.
        """
        leaf, *others = map(_certificate, chain)
        context = crypto.X509StoreContext(self._stores[purpose], leaf, others)
        try:
            if depth is None:
                context.verify_certificate()
                return None
            allowed = max(depth, 1)
            is_short = len(context.get_verified_chain()) <= allowed + 1
            return None if is_short else Failure(20, allowed)
        except crypto.X509StoreContextError as error:
            code, place, _ = error.errors
            if code == _INVALID_CA:
                return _no_authority(error.certificate, place)
            return Failure(code, place, _before(code, error.certificate))


def _no_authority(certificate: crypto.X509, depth: int) -> Failure:
    """A certificate that issues others and may not.  One whose key may not sign them BoringSSL
    does not even take for the issuer.
    """
    try:
        usage = extension(parse(_der(certificate)), x509.KeyUsage)
    except Unreadable:
        usage = None
    may_sign = usage is None or usage.key_cert_sign
    return Failure(24, depth) if may_sign else Failure(20, depth - 1)


def _before(code: int, certificate: crypto.X509) -> str:
    if code not in (7, 8):
        return ""
    try:
        return failures.bad_signature(parse(_der(certificate)).signature_algorithm_oid)
    except Unreadable:
        return ""


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _certificate(der: bytes) -> crypto.X509:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error as error:
        raise ValueError("no certificate in DER") from error


def _store(
    certificates: Iterable[crypto.X509],
    lists: Iterable[x509.CertificateRevocationList],
    flags: int,
    purpose: Purpose,
) -> crypto.X509Store:
    store = crypto.X509Store()
    for certificate in certificates:
        store.add_cert(certificate)
    for each in lists:
        store.add_crl(each)
    store.set_flags(flags)
    set_purpose(store, purpose.value)
    return store
