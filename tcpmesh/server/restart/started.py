"""How a process knows that the one that it takes over from has started it, and tells that one why
it cannot: also where it does not even come to build a server.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import NamedTuple

from tcpmesh.server.processes.framing import pieces_of
from tcpmesh.server.restart.messages import encode

VARIABLE = "TCPMESH_UPGRADE"
"""Of the environment: a descriptor, whose other end the running process has, the epoch and the base
id."""

PATIENCE = 1.0
"""Seconds that the running process may take to hear."""


class Started(NamedTuple):
    """What the running process has told."""

    fd: int
    epoch: int
    base_id: int

    def __str__(self) -> str:
        return ":".join(map(str, self))

    def tell_failure(self, reason: str) -> None:
        """Tell the running process why it is not taken over from, where it is still there."""
        with suppress(OSError), socket.socket(fileno=os.dup(self.fd)) as sock:
            sock.settimeout(PATIENCE)
            for piece in pieces_of(encode("failed", reason=reason)):
                sock.sendall(piece.data)


def started_by(environ: MutableMapping[str, str]) -> Started | None:
    """How this process was started by another one, if it was.  The variable is taken away, for it
    is not true of processes that this one starts.
    """
    parts = environ.pop(VARIABLE, "").split(":")
    if len(parts) != len(Started._fields) or not all(part.isdecimal() for part in parts):
        return None
    return Started(*map(int, parts))
