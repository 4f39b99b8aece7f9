"""injected_resource: a pressure that a file says, for whoever looks at something that no other
monitor knows, and for tests.

The file holds a number from 0 to 1, and is read again when another one has been moved to its place;
what is written into it unmoved is not seen.  A file that holds something else makes each update
fail until there is a better one, while one that is removed changes nothing.
"""

from __future__ import annotations

import os
from typing import Any

from envoy.extensions.resource_monitors.injected_resource.v3 import injected_resource_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IResourceMonitor
from tcpmesh.net.moves import watch_moves
from tcpmesh.registry import MainContext, extension

LONGEST = 256
"""Bytes of a file that are looked at: a number needs fewer."""


@extension(injected_resource_pb2.InjectedResourceConfig)
@implementer(IResourceMonitor)
class InjectedResource:
    """What a file says.

    :raise tcpmesh.net.moves.CannotWatch: where its directory is not there.
    """

    def __init__(self, message: Any, context: MainContext) -> None:
        self._path: str = message.filename
        self._said: float | str | None = None
        """What the file said, or what is wrong with it; `None` where it is to be read."""
        self.close = watch_moves(context.network.clock, [self._path], self._moved)

    def _moved(self) -> None:
        self._said = None

    def pressure(self) -> float:
        """What the file says, read again only where it was replaced.

        :raise ValueError: where it cannot be read, or that is no number from 0 to 1.
        """
        if self._said is None:
            try:
                self._said = self._read()
            except (OSError, ValueError) as e:
                self._said = str(e)
        if isinstance(self._said, str):
            raise ValueError(self._said)
        return self._said

    def _read(self) -> float:
        # Not blocking, for nobody may write to what is no file.
        with open(self._path, "rb", 0, opener=_open_at_once) as f:
            data = f.read(LONGEST + 1) or b""
        said = _number(data.decode("ascii", "replace").strip()) if len(data) <= LONGEST else None
        if said is None or not 0 <= said <= 1:
            raise ValueError(f"{self._path!r} does not hold a number from 0 to 1")
        return said


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _number(text: str) -> float | None:
    """A number as Envoy takes it, also one of C such as `0x1p-1`."""
    try:
        return float.fromhex(text) if "0x" in text.lower() else float(text.replace("_", "?"))
    except (ValueError, OverflowError):
        return None
