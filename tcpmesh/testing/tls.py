"""TLS for tests: a way to put it under all connections of a harness."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tcpmesh.connection.tls.transport import TlsTransport
from tcpmesh.connection.wrapped.states import HandshakeObserver
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.material import read_pair
from tcpmesh.net.tls.names import parameters
from tcpmesh.net.tls.openssl.library import TlsError
from tcpmesh.net.tls.settings import TlsSettings
from tcpmesh.testing.certificates import Authority


class IgnoringWatcher:
    """Counts nothing."""

    def tls_done(self, transport: Any) -> None:
        """The handshake is over."""

    def tls_failed(self, transport: Any, error: TlsError) -> str:
        """It has failed."""
        return str(error)


@cache
def authority() -> Authority:
    """The one that signs what is signed for tests."""
    return Authority()


@cache
def _context(is_server: bool, version: int) -> TlsContext:
    certificates = (read_pair(*authority().issue("server.test")),) if is_server else ()
    agreed = replace(parameters(is_server=True), minimum=version, maximum=version)
    return TlsContext(TlsSettings(is_server, certificates, agreed))


class TlsMaker:
    """Makes transports of one version of TLS; see `tcpmesh.testing.wrappers.wrap_harness`."""

    def __init__(self, version: int) -> None:
        self._version = version

    def __call__(
        self, clock: Any, observer: HandshakeObserver, connected: bool = True
    ) -> TlsTransport:
        """One for the side that has connected, or for the other."""
        context = _context(not connected, self._version)
        return TlsTransport(clock, context, observer, IgnoringWatcher(), "server.test")
