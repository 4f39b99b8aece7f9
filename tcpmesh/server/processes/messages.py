"""What main and its fork server tell each other, with its byte form.

These frames pass between processes of one release that one program has started, so they may change
with any release.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tcpmesh.facts import dataclass
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.link.codec import (
    FRACTION,
    TEXT,
    TRUTH,
    WHOLE,
    LinkError,
    Record,
    Several,
    Together,
)
from tcpmesh.server.link.frames import Table

# From main to the fork server


@dataclass(frozen=True)
class Import:
    """Import these modules, so that what is forked later need not."""

    modules: tuple[str, ...]


@dataclass(frozen=True)
class Become:
    """Be the user that main is from now on."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True)
class LogSettings:
    """The application log of main, which is that of its workers too."""

    path: str = ""
    """The file that is opened anew when main does so; empty for standard error."""

    pattern: str = ""
    is_escaped: bool = False
    default_level: str = "info"
    levels: tuple[tuple[str, str], ...] = ()
    """The (logger, level) pairs."""


@dataclass(frozen=True)
class Fork:
    """Start a worker.  Its descriptors are the worker's end of its link, that of the shared counts,
    and that of the log, where the log is a file.
    """

    worker: int
    reactor: str
    """The module whose `install` makes the reactor."""

    beat: float
    """Seconds after which the worker is to tell again that its event loop turns."""

    log: LogSettings = LogSettings()


@dataclass(frozen=True)
class Kill:
    """End a worker at once, if it has not ended yet."""

    pid: int


# From the fork server to main


@dataclass(frozen=True)
class Forked:
    """A worker was started."""

    worker: int
    pid: int


@dataclass(frozen=True)
class ForkFailed:
    """A worker could not be started."""

    worker: int
    reason: str


@dataclass(frozen=True)
class Exited:
    """A worker has ended."""

    pid: int
    status: int
    """As `os.waitpid` gives it."""


ToForkServer: TypeAlias = Import | Become | Fork | Kill
FromForkServer: TypeAlias = Forked | ForkFailed | Exited

LOG_SETTINGS = Record(
    LogSettings,
    path=TEXT,
    pattern=TEXT,
    is_escaped=TRUTH,
    default_level=TEXT,
    levels=Several(Together(TEXT, TEXT)),
)

TO_FORK_SERVER = Table(
    (1, Record(Import, modules=Several(TEXT))),
    (2, Record(Fork, worker=WHOLE, reactor=TEXT, beat=FRACTION, log=LOG_SETTINGS)),
    (3, Record(Kill, pid=WHOLE)),
    (4, Record(Become, uid=WHOLE, gid=WHOLE, groups=Several(WHOLE))),
)
FROM_FORK_SERVER = Table(
    (1, Record(Forked, worker=WHOLE, pid=WHOLE)),
    (2, Record(ForkFailed, worker=WHOLE, reason=TEXT)),
    (3, Record(Exited, pid=WHOLE, status=WHOLE)),
)


def decode(table: Table, body: bytes) -> Any:
    """The message of a frame.

    :raise FramingError: where it is none.
    """
    try:
        return table.decode(body)
    except LinkError as e:
        raise FramingError(str(e)) from None
