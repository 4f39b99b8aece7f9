"""Tells when something has taken the place of a file, a directory or a symbolic link: what
`rename(2)` does, and so how a new state of something is put in place at once.  Where that is wanted
it tells of what is written in place, too.

On Linux the kernel tells (inotify), at once and of nothing else, as in Envoy.  Elsewhere, where
there is no reactor that watches descriptors, and where the kernel has no more to give, the paths
are looked at once a second, which finds what was written as well.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.python.filepath import FilePath

from tcpmesh.values.all_or_nothing import all_or_nothing

INTERVAL = 1.0
"""Seconds between looks."""

MODIFY, MOVED_TO = 0x2, 0x80
"""inotify: IN_MODIFY, IN_MOVED_TO."""


class CannotWatch(Exception):
    """The directory that a path is in cannot be watched; the text says which, and why."""


def watch_moves(
    clock: Any, paths: Iterable[str], moved: Callable[[], object], writes: bool = False
) -> Callable[[], None]:
    """Call `moved` whenever something has been moved to one of these paths; to anything in a
    folder, where that is given with a slash at its end.

    :param clock: the reactor, or a clock in its place.
    :param writes: whether what is written there counts too, as often as there is more of it.
    :return: ends it.
    :raise CannotWatch: where a directory is not there.
    """
    names: dict[str, set[bytes]] = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        if not os.path.isdir(folder):
            raise CannotWatch(f"cannot watch {path!r}: there is no directory {folder!r}")
        names[os.path.abspath(folder)].add(os.fsencode(name))
    watched = _inotify(clock)
    if watched is None:
        return _look(clock, names, moved)

    def stop() -> None:
        watched.stopReading()
        watched.connectionLost(None)

    with all_or_nothing() as undo:
        undo.callback(stop)
        _listen(watched, names, moved, MOVED_TO | MODIFY if writes else MOVED_TO)
    return stop


def _inotify(clock: Any) -> Any:
    """A watcher that the kernel tells; `None` where there is none, or no more are to be had: a user
    has so many (`fs.inotify.max_user_instances`).
    """
    if not hasattr(clock, "addReader"):
        return None
    try:
        from twisted.internet.inotify import INotify
    except ImportError:
        return None
    try:
        return INotify(clock)
    except Exception:  # of a private module of Twisted's
        return None


def _listen(
    watched: Any, names: dict[str, set[bytes]], moved: Callable[[], object], events: int
) -> None:
    def told(ignored: object, path: Any, mask: int) -> None:
        wanted = names[os.fsdecode(os.path.dirname(path.path))]
        if b"" in wanted or os.path.basename(path.path) in wanted:
            moved()

    for folder in names:
        try:
            watched.watch(FilePath(folder), events, callbacks=[told])
        except Exception as e:  # of a private module of Twisted's
            raise CannotWatch(f"cannot watch the directory {folder!r}: {e}") from None
    watched.startReading()


def _look(
    clock: Any, names: dict[str, set[bytes]], moved: Callable[[], object]
) -> Callable[[], None]:
    paths = [os.path.join(os.fsencode(folder), each) for folder in names for each in names[folder]]
    seen = [_identity(path) for path in paths]

    def look() -> None:
        nonlocal seen
        before, seen = seen, [_identity(path) for path in paths]
        if any(new and new != old for new, old in zip(seen, before, strict=True)):
            moved()

    looking = LoopingCall(look)
    looking.clock = clock
    looking.start(INTERVAL, now=False)
    return looking.stop


def _identity(path: bytes) -> object:
    """What tells a file from another one at its path, and what is in a directory from what was; a
    file that was written in passes for another one, for numbers of files are used again.
    """
    try:
        if not path.endswith(b"/"):
            return _number(os.lstat(path))
        with os.scandir(path) as entries:
            found = ((each.name, each.stat(follow_symlinks=False)) for each in entries)
            return sorted((name, *_number(status)) for name, status in found)
    except OSError:
        return None


def _number(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_ctime_ns
