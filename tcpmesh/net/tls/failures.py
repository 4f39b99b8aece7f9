"""Why a peer's certificate was refused, in Envoy's words, and the alert that the peer gets.

The words are those of BoringSSL, which says "self signed" where OpenSSL says "self-signed", and
which has other alerts for some codes.  OpenSSL makes the alert of a verdict's code; so for each
alert there is a code here that makes it.
"""

from __future__ import annotations

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import SignatureAlgorithmOID as Signed

#: What BoringSSL's `X509_verify_cert_error_string` says of each code.
TEXTS: dict[int, str] = {
    1: "unspecified certificate verification error",
    2: "unable to get issuer certificate",
    3: "unable to get certificate CRL",
    4: "unable to decrypt certificate's signature",
    5: "unable to decrypt CRL's signature",
    6: "unable to decode issuer public key",
    7: "certificate signature failure",
    8: "CRL signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    11: "CRL is not yet valid",
    12: "CRL has expired",
    13: "format error in certificate's notBefore field",
    14: "format error in certificate's notAfter field",
    15: "format error in CRL's lastUpdate field",
    16: "format error in CRL's nextUpdate field",
    17: "out of memory",
    18: "self signed certificate",
    19: "self signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    24: "invalid CA certificate",
    25: "path length constraint exceeded",
    26: "unsupported certificate purpose",
    27: "certificate not trusted",
    28: "certificate rejected",
    29: "subject issuer mismatch",
    30: "authority and subject key identifier mismatch",
    31: "authority and issuer serial number mismatch",
    32: "key usage does not include certificate signing",
    33: "unable to get CRL issuer certificate",
    34: "unhandled critical extension",
    35: "key usage does not include CRL signing",
    36: "unhandled critical CRL extension",
    37: "invalid non-CA certificate (has CA markings)",
    38: "proxy path length constraint exceeded",
    39: "key usage does not include digital signature",
    40: "proxy certificates not allowed, please set the appropriate flag",
    41: "invalid or inconsistent certificate extension",
    42: "invalid or inconsistent certificate policy extension",
    43: "no explicit policy",
    44: "Different CRL scope",
    45: "Unsupported extension feature",
    46: "RFC 3779 resource not subset of parent's resources",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    49: "name constraints minimum and maximum not supported",
    50: "application verification failure",
    51: "unsupported name constraint type",
    52: "unsupported or invalid name constraint syntax",
    53: "unsupported or invalid name syntax",
    54: "CRL path validation error",
}

#: The codes whose words Envoy begins with what it looked at.
_OF_LISTS = frozenset({3, 11, 12, 23})

_ALERTS: dict[str, tuple[int, ...]] = {
    "unknown_ca": (2, 3, 18, 19, 20, 22, 24, 25, 33),
    "certificate_expired": (9, 10, 11, 12),
    "certificate_revoked": (23,),
    "decrypt_error": (7, 8),
    "unsupported_certificate": (26,),
    "bad_certificate": (27, 28, 4, 5, 6, 13, 14, 15, 16, 21),
}
_ALERT_OF = {code: alert for alert, codes in _ALERTS.items() for code in codes}

#: The code of which OpenSSL makes an alert.  For two of them it has no code: these become the
#: nearest one.
_CODE_FOR = {
    "unknown_ca": 20,
    "certificate_expired": 10,
    "certificate_revoked": 23,
    "decrypt_error": 7,
    "unsupported_certificate": 26,
    "bad_certificate": 28,
    "bad_certificate_hash_value": 28,
    "certificate_unknown": 49,
    "illegal_parameter": 49,
}

_BAD_SIGNATURE = "184549382:X.509 certificate routines:OPENSSL_internal:public key routines|"
_BAD_RSA = (
    "67108971:RSA routines:OPENSSL_internal:BLOCK_TYPE_IS_NOT_01|"
    "67109000:RSA routines:OPENSSL_internal:PADDING_CHECK_FAILED|"
)
_BAD_ECDSA = "436207716:ECDSA routines:OPENSSL_internal:BAD_SIGNATURE|"
_BAD_EDDSA = "100663427:public key routines:OPENSSL_internal:INVALID_SIGNATURE|"
_SIGNATURES: dict[ObjectIdentifier, str] = {
    **dict.fromkeys(
        (
            Signed.RSA_WITH_SHA1,
            Signed.RSA_WITH_SHA256,
            Signed.RSA_WITH_SHA384,
            Signed.RSA_WITH_SHA512,
        ),
        _BAD_RSA,
    ),
    **dict.fromkeys(
        (
            Signed.ECDSA_WITH_SHA1,
            Signed.ECDSA_WITH_SHA256,
            Signed.ECDSA_WITH_SHA384,
            Signed.ECDSA_WITH_SHA512,
        ),
        _BAD_ECDSA,
    ),
    Signed.ED25519: _BAD_EDDSA,
}

_REFUSED = "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"


def x509_text(code: int, depth: int) -> str:
    """What Envoy says of a chain that X.509 does not take.

    :param depth: of the certificate at fault; 0 is the peer's own.
    """
    lists = "certificate revocation check against provided CRLs failed: "
    start = lists if code in _OF_LISTS else ""
    text = TEXTS.get(code, "unknown certificate verification error")
    return f"X509_verify_cert: certificate verification error at depth {depth}: {start}{text}"


def x509_alert(code: int) -> str:
    """The alert that BoringSSL has for a code of X.509."""
    return _ALERT_OF.get(code, "certificate_unknown")


def code_for(alert: str) -> int:
    """The code of X.509 of which OpenSSL makes this alert."""
    return _CODE_FOR[alert]


def bad_signature(algorithm: ObjectIdentifier) -> str:
    """What else stands in BoringSSL's queue of errors where a signature was wrong.

    :param algorithm: the object identifier of the signature.
    """
    return _SIGNATURES.get(algorithm, "") + _BAD_SIGNATURE


def refused(text: str = "", before: str = "") -> str:
    """A failure as access logs have it, of a certificate that was refused.

    :param before: other errors of the queue, each with a stroke behind it.
    """
    more = f":verify cert failed: {text}" if text else ""
    return f"TLS_error:|{before}{_REFUSED}{more}:TLS_error_end"


#: A certificate that may not be used to sign a handshake.
WRONG_KEY_USAGE = (
    "TLS_error:|268435758:SSL routines:OPENSSL_internal:KEY_USAGE_BIT_INCORRECT:TLS_error_end"
)

#: No certificate where one is required.
NO_CERTIFICATE = (
    "TLS_error:|268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:"
    "peer did not provide required client certificate:TLS_error_end"
)
