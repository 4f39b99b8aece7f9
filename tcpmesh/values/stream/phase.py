"""Where a connection is in its life: a phase by name, and what leads from one to the next.

Everything that asks where a connection is reads its phase: what is shown of live connections, why
one was closed, what a drain may close, what may be handed over.  Whoever causes a change sets
`StreamInfo.phase`; nothing is checked at that moment, for it happens some six times in each
connection.  `TRANSITIONS` is the whole of what may happen.  The tests hold every connection that
they make to it (`tcpmesh.testing.phases`), and docs/architecture.md has the drawing that `drawing`
makes of it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Phase(Enum):
    """Where a connection is in its life."""

    ACCEPTING = "accepting"
    """It was accepted, and nobody has looked at it yet."""

    PEEKING = "peeking"
    """A listener filter waits for its first bytes."""

    FILTERING = "filtering"
    """It has a filter chain, whose filters decide about it; or a last filter that makes no upstream
    connection serves it.
    """

    CONNECTING = "connecting"
    """tcp_proxy has it: an upstream connection is looked for, dialled or waited for."""

    RELAYING = "relaying"
    """Bytes flow both ways."""

    HALF_CLOSED = "half_closed"
    """One side has sent all it will; bytes of the other still flow."""

    FLUSHING = "flushing"
    """It is being closed: what is buffered leaves, nothing new is passed on."""

    CLOSED = "closed"
    """Both sides are closed."""

    def __repr__(self) -> str:
        return self.name


# An attribute of an Enum costs several times what a name of a module does.
ACCEPTING = Phase.ACCEPTING
PEEKING = Phase.PEEKING
FILTERING = Phase.FILTERING
CONNECTING = Phase.CONNECTING
RELAYING = Phase.RELAYING
HALF_CLOSED = Phase.HALF_CLOSED
FLUSHING = Phase.FLUSHING
CLOSED = Phase.CLOSED


class Transition(NamedTuple):
    """One change of phase, and the event that causes it."""

    before: Phase
    event: str
    after: Phase


TRANSITIONS = (
    Transition(ACCEPTING, "a listener filter waits for bytes", PEEKING),
    Transition(ACCEPTING, "it is given to a filter chain", FILTERING),
    Transition(ACCEPTING, "a listener filter rejects it, or no chain matches", FLUSHING),
    Transition(PEEKING, "the next listener, of its original destination, peeks too", PEEKING),
    Transition(PEEKING, "the listener filters are done", FILTERING),
    Transition(PEEKING, "it is rejected, too late or too short, or no chain matches", FLUSHING),
    Transition(PEEKING, "the client resets it", CLOSED),
    Transition(FILTERING, "tcp_proxy gets it", CONNECTING),
    Transition(FILTERING, "a filter closes it", FLUSHING),
    Transition(FILTERING, "the client leaves", CLOSED),
    Transition(CONNECTING, "the upstream is connected", RELAYING),
    Transition(CONNECTING, "there is no upstream, or a timer or a filter closes it", FLUSHING),
    Transition(CONNECTING, "the client leaves", CLOSED),
    Transition(RELAYING, "one side has sent all", HALF_CLOSED),
    Transition(RELAYING, "one side is lost, or a timer closes both", FLUSHING),
    Transition(HALF_CLOSED, "the other side has sent all, or is lost, or a timer", FLUSHING),
    Transition(FLUSHING, "both sides are closed", CLOSED),
)
"""All that may happen."""

ALLOWED = frozenset((each.before, each.after) for each in TRANSITIONS)
"""The pairs of phases of which the second may follow the first."""


def drawing() -> str:
    """The table as a Mermaid state diagram: what docs/architecture.md shows."""
    lines = ["stateDiagram-v2", f"    [*] --> {ACCEPTING.value}"]
    lines += [
        f"    {each.before.value} --> {each.after.value}: {each.event}" for each in TRANSITIONS
    ]
    return "\n".join([*lines, f"    {CLOSED.value} --> [*]"])
