"""Objects that several users in one process need only once, such as the stream to a collector that
many access logs write to: made for the first of them, closed after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar


class Closable(Protocol):
    """What can be shared."""

    def close(self) -> None:
        """Nobody needs it any more."""


Shared = TypeVar("Shared", bound=Closable)


class SharedObjects:
    """Those of one side, main's or a worker's."""

    def __init__(self) -> None:
        self._objects: dict[Hashable, tuple[Any, int]] = {}

    def obtain(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """The object of this key, to be given back with `release`; `make` is called for the first
        user of it.
        """
        known = self._objects.get(key)
        shared: Shared = known[0] if known is not None else make()
        self._objects[key] = shared, (known[1] if known is not None else 0) + 1
        return shared

    def release(self, key: Hashable) -> None:
        """A user needs the object of this key no more.

        :raise KeyError: where nobody has one.
        """
        shared, users = self._objects.pop(key)
        if users > 1:
            self._objects[key] = shared, users - 1
        else:
            shared.close()
