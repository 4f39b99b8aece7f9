"""The link between main and a worker: all that either knows of the other.

With both in one process a `DirectLink` hands the messages over as they are.  A `BytesLink` writes
each as bytes and reads it again, as it would be between processes: what works over it shares no
object with the other side.  The tests run over both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from tcpmesh.server.link.frames import TO_MAIN, TO_WORKER
from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.values.link import Begin

VARIABLE = "TCPMESH_LINK"


class ILink(Protocol):
    """Carries messages both ways, in order."""

    @property
    def joins_processes(self) -> bool:
        """Whether the other side may be another process, which has a store of its own."""

    def begin(self, message: Begin) -> Begin:
        """The first message, with which a worker is made."""

    def join(self, main: Callable[..., object], worker: Callable[..., object]) -> None:
        """Both are there: these take what the other one sends, and descriptors that it lends."""

    def to_worker(self, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Main says something.

        :param descriptors: are lent for the time of the call.
        """

    def to_main(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """The worker says something.

        :param descriptors: are lent for the time of the call.
        """


class DirectLink:
    """Hands messages over as they are, at once."""

    joins_processes = False
    _main: Callable[..., object]
    _worker: Callable[..., object]

    def begin(self, message: Begin) -> Begin:
        """The message itself."""
        return message

    def join(self, main: Callable[..., object], worker: Callable[..., object]) -> None:
        """Both are there."""
        self._main, self._worker = main, worker

    def to_worker(self, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Hand it over."""
        self._worker(message, descriptors)

    def to_main(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """Hand it over."""
        self._main(message, descriptors)


class BytesLink(DirectLink):
    """Hands over what is read from the bytes of each message."""

    joins_processes = True

    def begin(self, message: Begin) -> Begin:
        """Another message that is equal."""
        made: Begin = TO_WORKER.decode(TO_WORKER.encode(message))
        return made

    def to_worker(self, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Write and read it."""
        self._worker(TO_WORKER.decode(TO_WORKER.encode(message)), descriptors)

    def to_main(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """Write and read it."""
        self._main(TO_MAIN.decode(TO_MAIN.encode(message)), descriptors)


LINKS: dict[str, type[DirectLink]] = {"direct": DirectLink, "bytes": BytesLink}


class NoSuchLink(Exception):
    """The environment asks for a link that is not there; the text says which there are."""


def default_link() -> ILink:
    """The link that the environment variable TCPMESH_LINK names (`direct` or `bytes`), else the
    direct one.

    :raise NoSuchLink: where it names another.
    """
    chosen = os.environ.get(VARIABLE) or "direct"
    if chosen not in LINKS:
        raise NoSuchLink(
            f"the environment variable {VARIABLE} is '{chosen}'; there are {' and '.join(LINKS)}"
        )
    return LINKS[chosen]()
