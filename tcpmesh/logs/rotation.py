"""Files of logs that are opened anew after somebody has moved them away.

Whoever may read a log by its owner, group and mode should not lose it with each rotation, so a file
that is made in the place of another one gets these from it.  One that the program which rotates has
made already (`create` of logrotate) is left as it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress


def opened_anew(path: str, before: int, open_file: Callable[[str], int]) -> int:
    """The descriptor of a file that takes the place of an open one.

    :param before: the descriptor of that one.
    :param open_file: opens the file, or makes it.
    :raise OSError: where it cannot be opened.
    """
    is_there = os.path.lexists(path)
    fd = open_file(path)
    if not is_there:
        with suppress(OSError):
            _take_after(os.fstat(before), fd)
    return fd


def _take_after(before: os.stat_result, fd: int) -> None:
    if not stat.S_ISREG(before.st_mode):
        return
    # Only root may give a file away; any other may still leave it to a group of its own.
    for owner in (before.st_uid, -1):
        with suppress(PermissionError):
            os.fchown(fd, owner, before.st_gid)
            break
    os.fchmod(fd, stat.S_IMODE(before.st_mode))
