"""What connections get where TLS waits for a secret that discovery has not brought yet: their end,
as soon as they are there, as in Envoy.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from tcpmesh.connection.wrapped.states import HandshakeObserver
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.values.stream.tls_facts import TlsFacts

WORDS = "TLS error: Secret is not supplied by SDS"
"""Envoy's, for `DOWNSTREAM_TRANSPORT_FAILURE_REASON` and the like."""

FACTS = TlsFacts(failure=WORDS)


class NoSecretTransport(WrappedTransport):
    """See the module's text.

    :param record: the `StreamInfo` of a client; `None` for a connection to a host.
    """

    __slots__ = ("_record",)

    def __init__(
        self, clock: IReactorTime, observer: HandshakeObserver, record: Any = None
    ) -> None:
        super().__init__(clock, observer)
        self._record = record

    @property
    def facts(self) -> TlsFacts:
        """Why there is no connection."""
        return FACTS

    def begin(self) -> None:
        """Not at once: filters get a client first, and count it."""
        if self._record is not None:
            self._record.tls = FACTS
        self.clock.callLater(0, self.fail, WORDS)

    def received(self, data: memoryview) -> None:
        """Nobody hears it."""
