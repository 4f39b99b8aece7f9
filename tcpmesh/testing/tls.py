"""TLS for tests: an authority, contexts, and a way to put TLS under all connections."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tcpmesh.connection.tls.transport import TlsTransport
from tcpmesh.connection.wrapped.states import HandshakeObserver
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.material import Certificate, read_pair
from tcpmesh.net.tls.names import parameters
from tcpmesh.net.tls.openssl.engine import CompiledEngine
from tcpmesh.net.tls.openssl.library import TlsError
from tcpmesh.net.tls.settings import TlsSettings
from tcpmesh.testing.certificates import Authority
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS


@cache
def authority() -> Authority:
    """The one that signs what is signed for tests."""
    return Authority()


@cache
def certificate(name: str = "server.test") -> Certificate:
    """One of this name that the authority has signed."""
    return read_pair(*authority().issue(name))


def settings(*certificates: Certificate, version: int = 0, **more: Any) -> TlsSettings:
    """Settings of a server with these certificates, or of a client where there are none.

    :param version: the only one of TLS that is spoken; 0 for all that Envoy's servers do.
    """
    agreed = parameters(is_server=True)
    if version:
        agreed = replace(agreed, minimum=version, maximum=version)
    more.setdefault("is_server", bool(certificates))
    return TlsSettings(certificates=certificates, parameters=agreed, **more)


class RecordingWatcher:
    """Writes down what becomes of handshakes."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        """The transports whose handshake is over."""
        self.failures: list[TlsError] = []
        self.stapled: list[str] = []

    def tls_done(self, transport: Any) -> None:
        """The handshake is over."""
        self.done.append(transport)

    def tls_staple_asked(self) -> None:
        """A client has asked for an OCSP response."""

    def tls_stapled(self, outcome: str) -> None:
        """What it got."""
        self.stapled.append(outcome)

    def tls_failed(self, transport: Any, error: TlsError) -> str:
        """It has failed."""
        self.failures.append(error)
        return str(error)


class TlsMaker:
    """Makes transports of two contexts; see `tcpmesh.testing.wrappers.wrap_harness`."""

    def __init__(self, client: TlsContext, server: TlsContext) -> None:
        self._contexts = {True: client, False: server}
        self.watcher = RecordingWatcher()

    def __call__(
        self, clock: Any, observer: HandshakeObserver, connected: bool = True
    ) -> TlsTransport:
        """One for the side that has connected, or for the other."""
        context = self._contexts[connected]
        transport = TlsTransport(clock, context, observer, self.watcher)
        if connected:
            transport.wanted = context.wanted(NO_OPTIONS)
        return transport


@cache
def maker_of(version: int, engine: type[CompiledEngine] = CompiledEngine) -> TlsMaker:
    """One for both sides, which speak this version of TLS alone.

    :param engine: what moves their records.
    """
    client = settings(version=version, server_name="server.test")
    server = settings(certificate(), version=version)
    return TlsMaker(TlsContext(client, engine), TlsContext(server, engine))
