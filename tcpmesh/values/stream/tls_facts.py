"""What is known of the TLS of a connection once its handshake is over, or has failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class TlsFacts:
    """See the module's text; all is empty where there is no TLS (`NO_TLS`)."""

    version: str = ""
    """As `TLSv1.3`."""

    cipher: str = ""
    group: str = ""
    """Of the key exchange."""

    session: Callable[[], str] = field(default=str, repr=False, compare=False)
    """Tells what `session_id` is, for that has to be looked for, and few want to know it."""

    application_protocol: str = ""
    """ALPN, as agreed on."""

    server_name: str = ""
    """SNI, as asked for."""

    reused: bool = False
    """Whether a session was resumed."""

    peer_chain: tuple[bytes, ...] = field(default=(), repr=False)
    """The peer's certificates in DER, its own first."""

    local_certificate: bytes = field(default=b"", repr=False)
    """This side's own, in DER."""

    validated: bool = False
    """Whether the peer's certificate was held against an authority, and held."""

    failure: str = ""
    """Why there is no connection, or no more, in Envoy's words."""

    @property
    def session_id(self) -> str:
        """In hexadecimal; empty for a session without a name, as those of TLS 1.3."""
        return self.session()


NO_TLS = TlsFacts()
