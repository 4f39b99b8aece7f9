"""What filters answer to the events of a connection."""

from __future__ import annotations

from enum import Enum


class FilterStatus(Enum):
    """What a read filter says to an event."""

    CONTINUE = "continue"
    """Go on; what the client sends later is to be shown to this filter too, if it sees data."""

    DONE = "done"
    """Go on; this filter has seen enough of what the client sends."""

    STOP = "stop"
    """Hold everything up until `FilterManager.resume`, or for good where the connection was
    closed.
    """


class InspectResult(Enum):
    """What a filter decides, where it does not simply let the client pass."""

    WAIT = "wait"
    """More bytes have to come."""

    CLOSE = "close"
    """The client is to be closed."""
