"""Where clients of an internal listener come in: not by a socket, but from this process itself."""

from __future__ import annotations

from typing import Any

from tcpmesh.connection.transport_sockets import HOPS, Hops
from tcpmesh.net.internal.listeners import InternalListeners
from tcpmesh.net.internal.transport import InternalTransport
from tcpmesh.values.address import Address


class InternalPlace:
    """In place of the listen socket of a `listener.v3.Listener` with `internal_listener`.

    :param listeners: where it is to be found; `None` where nobody connects.
    """

    def __init__(self, name: str, listeners: InternalListeners | None) -> None:
        self.address = Address.internal(name)
        self._name = name
        self._listeners = listeners
        self._factory: Any = None

    @property
    def binding(self) -> tuple[Any, ...]:
        """What tells it from others."""
        return (self.address,)

    @property
    def bound(self) -> Address:
        """The address."""
        return self.address

    @property
    def served(self) -> tuple[Address, ...]:
        """The addresses that clients can have wanted."""
        return (self.address,)

    def bind(self, predecessor: Any) -> None:
        """There is nothing to bind."""

    def take(self, sock: Any) -> None:
        """There is no socket."""

    def open(self, factory: Any) -> bool:
        """Let clients in; whether it was not open before."""
        if self._factory is not None or self._listeners is None:
            return False
        self._factory = factory
        self._listeners.listen(self._name, self.accept)
        return True

    def pause(self, pauses: bool) -> None:
        """Who connects here cannot be let wait, as in Envoy."""

    def close(self) -> None:
        """Let nobody in any more."""
        if self._listeners is not None:
            self._listeners.stop_listening(self._name, self.accept)

    def withdraw(self) -> None:
        """As `close`: it leaves nothing behind."""
        self.close()

    def accept(self, transport: InternalTransport) -> None:
        """There is a client: it brings along what it was given on its way."""
        connection = self._factory.buildProtocol(transport.getPeer())
        info, passed = connection.stream_info, transport.passed
        for name, values in passed.metadata.items():
            info.add_metadata(name, values)
        for key, entry in passed.filter_state.entries.items():
            info.set_filter_state(key, entry.value, entry.read_only, entry.sharing)
        info.set_filter_state(HOPS, Hops(passed.hops))
        transport.start(connection)
