"""In which states a wrapped transport can be, and who is told of its handshake; see
`tcpmesh.connection.wrapped.transport`.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

RESET = "TLS_error:|33554536:system library:OPENSSL_internal:Connection reset by peer:TLS_error_end"
"""What Envoy says of TLS that ended with a reset."""


class Phase(Enum):
    """Where a wrapped transport is in its life."""

    HANDSHAKE = auto()
    """No plain bytes go through yet."""

    READY = auto()
    """Plain bytes go both ways."""

    CUT_OFF = auto()
    """There is nothing below any more, and what came from there is not delivered yet."""

    ENDING = auto()
    """What is below was told to close, and will say when it has."""

    LOST = auto()
    """It is over, and the protocol above was told."""

    __hash__ = object.__hash__  # enum's own, in Python, takes longer than what it is for


NEXT: dict[Phase, frozenset[Phase]] = {
    Phase.HANDSHAKE: frozenset((Phase.READY, Phase.ENDING, Phase.LOST)),
    Phase.READY: frozenset((Phase.CUT_OFF, Phase.ENDING, Phase.LOST)),
    Phase.CUT_OFF: frozenset((Phase.LOST,)),
    Phase.ENDING: frozenset((Phase.LOST,)),
    Phase.LOST: frozenset(),
}
"""What may follow what."""

CONNECTED = (Phase.READY, Phase.HANDSHAKE)
"""There is a connection, and this side has not ended it."""


class After(IntEnum):
    """What happens once all that was written is passed on; it only ever rises."""

    NOTHING = auto()

    FIN = auto()
    """Goodbye and FIN."""

    LEAVING = auto()
    """Nothing: goodbye was passed on, which is the end of the stream once it has left."""

    FINISHED = auto()
    """Nothing: the end of the stream was passed on."""

    CLOSE = auto()
    """Goodbye, and close."""

    RESET = auto()
    """Close with a reset."""


class Incoming(Enum):
    """What has come of the peer's stream."""

    OPEN = auto()

    ENDED = auto()
    """All of it, and the protocol above is still to be told so."""

    TOLD = auto()


class Turn(Enum):
    """Whether something is being delivered."""

    NONE = auto()

    COMING = auto()
    """It will be: the clock was asked for a turn."""

    NOW = auto()


class TransportSocketError(ConnectionDone):
    """A handshake came to nothing, or the peer broke the rules of its transport socket.

    The connection was closed for that, and not lost: who relays closes the other side in order, as
    Envoy does.
    """

    def __str__(self) -> str:
        return str(self.args[0])


class HandshakeObserver(Protocol):
    """Who has a wrapper made: it bounds the time of the handshake."""

    def handshake_done(self, wrapper: Any) -> None:
        """Plain bytes may come and go from now on.  Called once, if `handshake_failed` is not."""

    def handshake_failed(self, wrapper: Any, reason: Failure) -> None:
        """The connection has ended before that.  Called once."""
