"""Tells when something has taken the place of a file, a directory or a symbolic link: what
`rename(2)` does, and so how a new state of something is put in place at once.

On Linux the kernel tells (inotify), at once and of nothing else, as in Envoy.  Elsewhere, and where
there is no reactor that watches descriptors, the paths are looked at once a second.
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

MOVED_TO = 0x80
"""inotify: IN_MOVED_TO."""


class CannotWatch(Exception):
    """The directory that a path is in cannot be watched; the text says which, and why."""


def watch_moves(
    clock: Any, paths: Iterable[str], moved: Callable[[], object]
) -> Callable[[], None]:
    """Call `moved` whenever something has been moved to one of these paths; to anything in a
    folder, where that is given with a slash at its end.

    :param clock: the reactor, or a clock in its place.
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
    return _listen(watched, names, moved)


def _inotify(clock: Any) -> Any:
    """A watcher that the kernel tells; `None` where there is none."""
    if not hasattr(clock, "addReader"):
        return None
    try:
        from twisted.internet.inotify import INotify

        return INotify(clock)
    except (ImportError, OSError):
        return None


def _listen(
    watched: Any, names: dict[str, set[bytes]], moved: Callable[[], object]
) -> Callable[[], None]:
    def told(ignored: object, path: Any, mask: int) -> None:
        wanted = names[os.fsdecode(os.path.dirname(path.path))]
        if b"" in wanted or os.path.basename(path.path) in wanted:
            moved()

    def stop() -> None:
        watched.stopReading()
        watched.connectionLost(None)

    with all_or_nothing() as undo:
        undo.callback(stop)
        for folder in names:
            try:
                watched.watch(FilePath(folder), MOVED_TO, callbacks=[told])
            except Exception as e:  # of a private module of Twisted's
                raise CannotWatch(f"cannot watch the directory {folder!r}: {e}") from None
        watched.startReading()
    return stop


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
    """What tells a file from another one at its path, and what is in a directory from what was."""
    try:
        if path.endswith(b"/"):
            with os.scandir(path) as entries:
                return sorted((each.name, each.inode()) for each in entries)
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
