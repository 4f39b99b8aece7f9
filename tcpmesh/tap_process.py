"""What twistd is told about the process: its directory, its pid file and the user it becomes.

twistd looks at these after the configuration was judged, and then fails with a traceback, without a
line, or for no good reason:

- it goes to `--rundir` only once the service is made, so that files named on the command line would
  be looked for in one folder and those that are opened later in another.  Here that is done first:
  all relative paths are those of that folder;
- it takes a pid file that was left behind for that of another server, where it has this very
  process's number, as in a container that was started again, or where it is empty, as after a power
  failure;
- that a process may not become another user it says where nobody sees it.

The options are twistd's own; another program that runs services, such as `twist`, has none of them.
"""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

CAP_SETGID, CAP_SETUID = 6, 7
"""Of linux/capability.h."""


class CannotRun(Exception):
    """twistd could not run the process so; the text says why."""


def enter_directory(twistd: MutableMapping[str, Any]) -> None:
    """Go to `--rundir` now.

    :raise CannotRun: where that is no directory, or may not be entered.
    """
    rundir = twistd.get("rundir")
    if not rundir or twistd.get("chroot"):
        return
    try:
        os.chdir(rundir)
    except OSError as e:
        raise CannotRun(f"cannot run in the directory '{rundir}': {e.strerror}") from None
    twistd["rundir"] = os.getcwd()


def check_pid_file(twistd: MutableMapping[str, Any]) -> None:
    """Remove a pid file that was surely left behind, and see to it that one can be written.

    :raise CannotRun: where it cannot.
    """
    path = twistd.get("pidfile")
    if not path or twistd.get("chroot"):
        return
    with suppress(OSError, ValueError):
        with open(path) as f:
            written = f.read().strip()
        if not written or int(written) == os.getpid():
            os.unlink(path)
    wrong = _why_no_file(path)
    if wrong:
        raise CannotRun(f"cannot write the pid file '{path}': {wrong}")


def _why_no_file(path: str) -> str:
    """Why a file could not be written; empty where it could."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return os.strerror(errno.ENOENT)
    if os.path.isdir(path):
        return os.strerror(errno.EISDIR)
    there = path if os.path.exists(path) else folder
    return "" if os.access(there, os.W_OK) else os.strerror(errno.EACCES)


def check_user(twistd: MutableMapping[str, Any]) -> None:
    """See to it that the process may become the user and the group that it is to become.

    :raise CannotRun: where it may not.
    """
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is not None and gid is None:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:
            raise CannotRun(f"there is no user {uid}: --gid is needed") from None
    own = os.getuid(), os.getgid()
    for option, wanted, is_now, capability in (
        ("--uid", uid, own[0], CAP_SETUID),
        ("--gid", gid, own[1], CAP_SETGID),
    ):
        if wanted is not None and wanted != is_now and not _has_capability(capability):
            given = option if twistd.get(option[2:]) is not None else "--uid"
            raise CannotRun(
                f"cannot change to {option[2:]} {wanted} ({given}): {os.strerror(errno.EPERM)}"
            )


def _has_capability(number: int) -> bool:
    """Whether this process may do what only root may without capabilities."""
    try:
        with open("/proc/self/status") as f:
            masks = [line.split()[1] for line in f if line.startswith("CapEff:")]
    except OSError:
        masks = []
    if not masks:
        return os.geteuid() == 0
    return bool(int(masks[0], 16) >> number & 1)
