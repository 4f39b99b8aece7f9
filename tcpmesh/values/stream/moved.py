"""A relay on its way to another process: what is to be known of it beside its two descriptors."""

from __future__ import annotations

from dataclasses import dataclass

from tcpmesh.values.address import Address


@dataclass(frozen=True)
class MovedSocket:
    """A connected socket that somebody else goes on with."""

    family: int
    """As `socket.socket.family` has it."""

    peer: Address
    """The other side's address."""

    unread: bytes = b""
    """Bytes that were read, and are to be delivered before all others."""

    unsent: bytes = b""
    """Bytes that were written, and that the kernel has not taken."""

    dropped: int = 0
    """Bytes that were written and are lost."""

    has_ended: bool = False
    """Whether the other side has sent all it will."""

    is_half_closed: bool = False
    """Whether this side has, once `unsent` has left."""

    pauses: bool = False
    """Whether its producer is paused until some of that has left."""


@dataclass(frozen=True)
class MovedDirection:
    """One direction of a relay, and the socket that its bytes come from."""

    source: MovedSocket
    bytes: int = 0
    """Read from the source so far."""

    pauses: int = 0
    resumes: int = 0
    """How often the source was paused and resumed."""

    full: bool = False
    """Whether it is paused now."""


@dataclass(frozen=True)
class MovedRelay:
    """Both directions."""

    from_downstream: MovedDirection
    from_upstream: MovedDirection
    quiet: int = 0
    """How often in a row it was looked at and found idle."""
