"""What a configuration says of TLS, as values: equal settings share a context."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from OpenSSL import SSL

from tcpmesh.net.tls.material import Certificate
from tcpmesh.net.tls.verifier import ValidationSettings

TLS1_2 = SSL.TLS1_2_VERSION
TLS1_3 = SSL.TLS1_3_VERSION

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
"""Envoy's own for TLS 1.2 and below; those of AES128 and ChaCha20 are equal there, which
`PRIORITIZE_CHACHA` comes to."""

CURVES = ("X25519MLKEM768", "X25519", "P-256")
"""Envoy's own."""

SIGNATURE_ALGORITHMS = (
    "ecdsa_secp256r1_sha256",
    "rsa_pss_rsae_sha256",
    "rsa_pkcs1_sha256",
    "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384",
    "rsa_pkcs1_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha512",
    "ecdsa_secp521r1_sha512",
    "rsa_pkcs1_sha1",
)
"""BoringSSL's, which Envoy leaves as they are, and what a key on P-521 signs with."""


class StaplePolicy(Enum):
    """What becomes of a client for whose certificate there is no valid OCSP response."""

    LENIENT = auto()
    """It gets none."""

    STRICT = auto()
    """It gets none where none is configured, and is refused where that has expired."""

    MUST_STAPLE = auto()
    """It is refused."""


@dataclass(frozen=True)
class KeyLog:
    """Where the secrets of which connections are written."""

    path: str
    local: tuple[str, ...] = ()
    """Networks of this side's address; none for all."""

    remote: tuple[str, ...] = ()
    """Networks of the other side's."""


@dataclass(frozen=True)
class Resumption:
    """How clients may resume sessions."""

    by_ticket: bool = True
    by_id: bool = True
    timeout: int = 7200
    """Seconds."""


@dataclass(frozen=True)
class TlsSettings:
    """What both sides have."""

    is_server: bool
    certificates: tuple[Certificate, ...] = ()
    minimum: int = TLS1_2
    maximum: int = TLS1_3
    """Versions, as in records."""

    ciphers: tuple[str, ...] = CIPHERS
    """For TLS 1.2 and below, by OpenSSL's names."""

    curves: tuple[str, ...] = CURVES
    signature_algorithms: tuple[str, ...] = SIGNATURE_ALGORITHMS
    application_protocols: tuple[str, ...] = ()
    """ALPN, the best first."""

    validation: ValidationSettings | None = None
    """What the peer's certificate is held against."""

    require_certificate: bool = False
    """Whether a client without a certificate is refused."""

    prefer_client_ciphers: bool = False
    full_scan: bool = False
    """Whether a client that asks for an unknown name gets whatever certificate fits it best, and
    not the first.
    """

    resumption: Resumption = field(default_factory=Resumption)
    staple_policy: StaplePolicy = StaplePolicy.LENIENT
    key_log: KeyLog | None = None
    allow_renegotiation: bool = False
    server_name: str = ""
    """What is asked for of a host (SNI)."""

    host_name_as_server_name: bool = False
    """Whether a host is asked for its own name instead, where it has one."""

    expect_server_name: bool = False
    """Whether a host's certificate has to be for the name that it was asked for."""

    sessions_kept: int = 1
    """How many sessions with hosts are kept to be resumed."""
