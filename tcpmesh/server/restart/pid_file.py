"""The pid file of twistd (`--pidfile`), which follows the main process from one to the next.

twistd writes it before anything is served, and will not start where another process is named there.
One that takes over writes it once it serves, and lets twistd remove it in the end; the one before
leaves it alone from then on.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from twisted.logger import Logger

from tcpmesh.values.all_or_nothing import all_or_nothing

log = Logger(namespace="main")


class PidFile:
    """The pid file of one process.

    :param twistd: twistd's own options.
    :param path: of the file, where it is another process's yet; empty where twistd has written it,
        or there is none.
    """

    def __init__(self, twistd: MutableMapping[str, Any], path: str = "") -> None:
        self._twistd = twistd
        self._path = path

    def write(self) -> None:
        """This process is the main one."""
        path, self._path = self._path, ""
        if not path:
            return
        try:
            _replace(path)
        except OSError:
            self._overwrite(path)
        self._twistd["pidfile"] = path

    def _overwrite(self, path: str) -> None:
        """The folder may not be written to: perhaps the file may."""
        try:
            _write(path)
        except OSError as e:
            log.warn("cannot write the pid file '{path}': {reason}", path=path, reason=e.strerror)

    def give_up(self) -> None:
        """Another process is the main one."""
        if "pidfile" in self._twistd:
            self._twistd["pidfile"] = ""


def _replace(path: str) -> None:
    """Nobody finds it empty."""
    beside = f"{path}.{os.getpid()}"
    with all_or_nothing() as undo:
        undo.callback(_remove, beside)
        _write(beside)
        os.replace(beside, path)


def _write(path: str) -> None:
    with open(path, "w") as f:
        f.write(str(os.getpid()))


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def take_pid_file(twistd: MutableMapping[str, Any]) -> PidFile:
    """That of a process that takes over: twistd is to know nothing of it for now."""
    path = twistd.get("pidfile") or ""
    if path:
        path = os.path.abspath(path)
        twistd["pidfile"] = ""
    return PidFile(twistd, path)
