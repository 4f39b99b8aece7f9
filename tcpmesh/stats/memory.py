"""How much memory processes use, as the kernel tells it."""

from __future__ import annotations

import resource
from collections.abc import Iterable


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bytes_together(pids: Iterable[int]) -> int:
    """Memory of processes that is in RAM, where what several of them share counts once.

    One that has ended uses none.

    :raise OSError: where the kernel does not tell.
    """
    return sum(map(_proportional, pids))


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0
