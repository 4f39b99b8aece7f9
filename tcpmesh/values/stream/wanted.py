"""What records of a connection's end may say and only its sockets know: these are asked while they
are open, and only where somebody wants it, for each is a system call.
"""

from __future__ import annotations

from enum import Flag, auto


class Wanted(Flag):
    """What somebody may ask for once a connection is over."""

    REMOTE_ADDRESS = auto()
    """The client's address."""

    LOCAL_ADDRESS = auto()
    """This side's end of the client's socket."""

    UPSTREAM_ADDRESSES = auto()
    """Both ends of the upstream connection."""

    IDLE = auto()
    """For how long nothing had moved when one side closed."""


NOTHING = Wanted(0)
EVERYTHING = Wanted.REMOTE_ADDRESS | Wanted.LOCAL_ADDRESS | Wanted.UPSTREAM_ADDRESSES | Wanted.IDLE
