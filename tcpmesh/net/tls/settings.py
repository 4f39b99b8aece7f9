"""What a configuration says of TLS, as values: equal settings share a context."""

from __future__ import annotations

from dataclasses import field
from enum import Enum, auto

from tcpmesh.facts import dataclass
from tcpmesh.net.tls.material import Certificate
from tcpmesh.net.tls.names import VERSIONS, Parameters, parameters
from tcpmesh.net.tls.verifier import ValidationSettings

TLS1_2, TLS1_3 = VERSIONS["TLSv1_2"], VERSIONS["TLSv1_3"]


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
    parameters: Parameters = field(default_factory=lambda: parameters(is_server=True))
    """Versions, ciphers, curves and signature algorithms."""

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
