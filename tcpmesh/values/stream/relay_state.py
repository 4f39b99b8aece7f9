"""What a relay is doing at one moment: a value that can be shown, sent and compared."""

from __future__ import annotations

from enum import Enum

from tcpmesh.facts import dataclass
from tcpmesh.values.stream.phase import Phase


class SourceState(Enum):
    """What a side of a relay may still send."""

    OPEN = "open"
    """More may come."""

    ENDED = "ended"
    """It has sent all it will; it may still be written to."""

    LOST = "lost"
    """It is closed."""


# An attribute of an Enum costs several times what a name of a module does.
OPEN = SourceState.OPEN
ENDED = SourceState.ENDED
LOST = SourceState.LOST


@dataclass(frozen=True)
class DirectionState:
    """One direction of a relay: the bytes of its source on their way to its sink."""

    source: SourceState
    paused: bool
    """Whether the source is not read because the sink is full."""

    read: int
    """Bytes read from the source so far."""

    written: int
    """Bytes of them that the kernel has taken for the sink."""

    buffered: int
    """Bytes of them that wait for the sink."""


@dataclass(frozen=True)
class RelayState:
    """Both directions of a relay, and the phase that its connection is in."""

    phase: Phase
    from_downstream: DirectionState
    from_upstream: DirectionState
