"""How many processors this process may use, as Envoy counts them: those that it may be scheduled
on, but no more than the quota of its control group (cgroup) comes to, rounded down, and one at
least.

A container's quota is that of its group: `cpu.max` where control groups are of version 2, and
`cpu.cfs_quota_us` with version 1.  As for Envoy, it is that of the very group, not of one above,
and with `ENVOY_CGROUP_CPU_DETECTION=false` in the environment nobody looks at it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

VARIABLE = "ENVOY_CGROUP_CPU_DETECTION"


def processors(root: str = "/") -> int:
    """How many there are for this process.

    :param root: the directory below which `proc` is.
    """
    found = allowed()
    if os.environ.get(VARIABLE) != "false":
        with suppress(OSError, ValueError, IndexError):
            quota = cpu_quota(root)
            if quota is not None:
                found = min(found, max(1, int(quota)))
    return found


def allowed() -> int:
    """Those that this process may be scheduled on (`sched_getaffinity`)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: str = "/") -> float | None:
    """How many processors the quota of this process's control group comes to; `None` without one.

    :raise OSError: where that cannot be found out.
    :raise ValueError: where what is written there is no number.
    """
    for folder, is_second in _folders(root):
        if is_second:
            quota, period = _read(os.path.join(folder, "cpu.max")).split()
        else:
            quota = _read(os.path.join(folder, "cpu.cfs_quota_us"))
            period = _read(os.path.join(folder, "cpu.cfs_period_us"))
        if quota not in ("max", "-1") and int(period) > 0:
            return int(quota) / int(period)
    return None


def _folders(root: str) -> Iterator[tuple[str, bool]]:
    """The folders of this process's group that may have a quota of processors, and whether they are
    of version 2.
    """
    paths = {}
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            paths[number == "0"] = path
    for line in _read(os.path.join(root, "proc/self/mountinfo")).splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split()[:3]
        top, point = mount.split()[3:5]
        is_second = kind == "cgroup2"
        if is_second in paths and (is_second or (kind == "cgroup" and _has_cpu(options))):
            inside = paths[is_second].removeprefix(top.rstrip("/"))
            folder = os.path.join(root, point.lstrip("/"), inside.lstrip("/"))
            if os.path.exists(os.path.join(folder, "cpu.max" if is_second else "cpu.cfs_quota_us")):
                yield folder, is_second


def _has_cpu(options: str) -> bool:
    return "cpu" in options.split(",")


def _read(path: str) -> str:
    with open(path) as f:
        return f.read().strip()
