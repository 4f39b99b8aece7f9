"""How much memory processes use, as the kernel tells it."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Sequence
from contextlib import suppress


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return _resident("self") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def used_bytes(pids: Sequence[int]) -> int:
    """Memory of all processes of a proxy that is in RAM.

    :param pids: all of them, this one the first.
    """
    return bytes_together(pids) if len(pids) > 1 else resident_bytes()


def bytes_together(pids: Iterable[int]) -> int:
    """Memory of processes that is in RAM, where what several of them share counts once; where the
    kernel does not tell that, as of processes that have been another user's, it counts in each.

    One that has ended uses none.
    """
    return sum(map(_used, pids))


def _used(pid: int) -> int:
    try:
        return _proportional(pid)
    except OSError:
        return _resident(str(pid))


def _resident(pid: str) -> int:
    with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()
    return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
