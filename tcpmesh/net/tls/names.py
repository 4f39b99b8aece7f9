"""What versions, curves and signature algorithms are called: in configurations of Envoy, by
OpenSSL, and in statistics and access logs; and what Envoy takes where a configuration says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tcpmesh.facts import dataclass
from tcpmesh.net.tls.ciphers import TLS1_3, CipherList, cipher_list

VERSIONS = {"TLSv1_0": 0x0301, "TLSv1_1": 0x0302, "TLSv1_2": 0x0303, "TLSv1_3": 0x0304}
"""As `TlsProtocol` of Envoy has them, and as records have them."""

CURVES = ("X25519MLKEM768", "X25519", "P-256")
"""Envoy's own."""

SIGNATURE_ALGORITHMS = (
    "ecdsa_secp256r1_sha256",
    "ed25519",
    "rsa_pss_rsae_sha256",
    "rsa_pkcs1_sha256",
    "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384",
    "rsa_pkcs1_sha384",
    "ecdsa_secp521r1_sha512",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha512",
    "rsa_pkcs1_sha1",
)
"""BoringSSL's own, which Envoy leaves as they are, and those with which it signs."""

_CURVES = {
    "P-256": "P-256",
    "prime256v1": "P-256",
    "P-384": "P-384",
    "secp384r1": "P-384",
    "P-521": "P-521",
    "secp521r1": "P-521",
    "X25519": "X25519",
    "x25519": "X25519",
    "X25519MLKEM768": "X25519MLKEM768",
    "MLKEM1024": "MLKEM1024",
}

_ALGORITHMS = {
    **{name: name for name in (*SIGNATURE_ALGORITHMS, "ecdsa_sha1")},
    **{name: name for name in ("mldsa44", "mldsa65", "mldsa87")},
    "RSA+SHA1": "rsa_pkcs1_sha1",
    "RSA+SHA256": "rsa_pkcs1_sha256",
    "RSA+SHA384": "rsa_pkcs1_sha384",
    "RSA+SHA512": "rsa_pkcs1_sha512",
    "ECDSA+SHA1": "ecdsa_sha1",
    "ECDSA+SHA256": "ecdsa_secp256r1_sha256",
    "ECDSA+SHA384": "ecdsa_secp384r1_sha384",
    "ECDSA+SHA512": "ecdsa_secp521r1_sha512",
    **{
        f"{name}+SHA{bits}": f"rsa_pss_rsae_sha{bits}"
        for name in ("RSA-PSS", "PSS")
        for bits in (256, 384, 512)
    },
}

_SHOWN_CURVES = {
    "x25519": "X25519",
    "prime256v1": "P-256",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}


class BadName(ValueError):
    """A name that BoringSSL does not know, or that is there twice; the text says which."""


@dataclass(frozen=True)
class Parameters:
    """What two sides may agree on, in OpenSSL's names, the best first."""

    minimum: int
    maximum: int
    """Versions, as records have them."""

    ciphers: CipherList
    """For TLS 1.2 and below."""

    tls13_ciphers: tuple[str, ...] = TLS1_3
    curves: tuple[str, ...] = CURVES
    signature_algorithms: tuple[str, ...] = SIGNATURE_ALGORITHMS


_FIPS = Parameters(
    VERSIONS["TLSv1_2"],
    VERSIONS["TLSv1_3"],
    CipherList(
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
        )
    ),
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"),
    ("P-256", "P-384"),
    (
        "rsa_pkcs1_sha256",
        "rsa_pkcs1_sha384",
        "rsa_pkcs1_sha512",
        "ecdsa_secp256r1_sha256",
        "ecdsa_secp384r1_sha384",
        "rsa_pss_rsae_sha256",
        "rsa_pss_rsae_sha384",
        "rsa_pss_rsae_sha512",
    ),
)
_CNSA1 = Parameters(
    VERSIONS["TLSv1_2"],
    VERSIONS["TLSv1_3"],
    CipherList(
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "AES256-GCM-SHA384")
    ),
    ("TLS_AES_256_GCM_SHA384",),
    ("MLKEM1024", "P-384"),
    ("ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha384", "rsa_pkcs1_sha384"),
)
_CNSA2 = Parameters(
    VERSIONS["TLSv1_3"],
    VERSIONS["TLSv1_3"],
    CipherList(()),
    ("TLS_AES_256_GCM_SHA384",),
    ("MLKEM1024",),
    ("ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha384"),
)
POLICIES: Mapping[str, Parameters] = {
    "FIPS_202205": _FIPS,
    "CNSA1_202603": _CNSA1,
    "CNSA2_202603": _CNSA2,
}
"""What a compliance policy allows, which takes the place of all that a configuration says."""


def parameters(
    *,
    is_server: bool,
    minimum: str = "",
    maximum: str = "",
    cipher_suites: Sequence[str] = (),
    ecdh_curves: Sequence[str] = (),
    signature_algorithms: Sequence[str] = (),
    policy: str = "",
) -> Parameters:
    """What a `TlsParameters` of Envoy comes to.

    :param minimum: a version as in `VERSIONS`; anything else is Envoy's default, as in `maximum`.
    :raise tcpmesh.net.tls.ciphers.BadCiphers: a cipher suite is unknown.
    :raise BadName: a curve or a signature algorithm is.
    """
    own = Parameters(
        VERSIONS.get(minimum, VERSIONS["TLSv1_2"]),
        VERSIONS.get(maximum, VERSIONS["TLSv1_3" if is_server else "TLSv1_2"]),
        cipher_list(cipher_suites),
        curves=curves(ecdh_curves),
        signature_algorithms=algorithms(signature_algorithms),
    )
    return POLICIES[policy] if policy else own


def curves(names: Sequence[str]) -> tuple[str, ...]:
    """Groups for the key exchange, in OpenSSL's names.

    :raise BadName: one is unknown, or there twice.
    """
    return _known(names, _CURVES, CURVES, "curve")


def algorithms(names: Sequence[str]) -> tuple[str, ...]:
    """Signature algorithms, in OpenSSL's names.

    :raise BadName: one is unknown, or there twice.
    """
    return _known(names, _ALGORITHMS, SIGNATURE_ALGORITHMS, "signature algorithm")


def _known(
    names: Sequence[str], known: Mapping[str, str], default: tuple[str, ...], what: str
) -> tuple[str, ...]:
    text = ":".join(names)
    if not text:
        return default
    found: list[str] = []
    for name in text.split(":"):
        if name not in known:
            raise BadName(f"unknown {what} {name!r}; there are {', '.join(known)}")
        if known[name] in found:
            raise BadName(f"the {what} {name!r} is there twice")
        found.append(known[name])
    return tuple(found)


def shown_curve(name: str) -> str:
    """The group of a handshake, which OpenSSL calls so, in Envoy's statistics and logs."""
    return _SHOWN_CURVES.get(name, name)
