"""What a table must say of the machine it was made on."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.namespace import SETTING


def _first(expression: str, path: str) -> str:
    found = re.search(expression, Path(path).read_text(), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def describe() -> dict[str, str]:
    """The processor and kernel of this machine, and how its TCP finds its pace: bulk over loopback
    hangs on that, too.
    """
    flags = _first(r"^flags\s*:(.*)$", "/proc/cpuinfo").split()
    memory = int(_first(r"^MemTotal:\s+(\d+)", "/proc/meminfo")) // 1024
    return {
        "processor": _first(r"^model name\s*:(.*)$", "/proc/cpuinfo"),
        "cores": str(len(os.sched_getaffinity(0))),
        "virtual machine": "yes" if "hypervisor" in flags else "no",
        "memory": f"{memory} MiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "congestion control": SETTING.read_text().strip(),
    }


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds of all cores since boot, and of this program.

    :ivar idle: nobody had anything to do, or waited for a disk.
    :ivar stolen: the hypervisor ran other machines.
    :ivar ours: this program and its children, of which only those that have ended count.
    """

    total: float
    idle: float
    stolen: float
    ours: float


@dataclass(frozen=True)
class Disturbance:
    """What part of the processor time of a run others had, in percent of all cores."""

    programs: float
    hypervisor: float


def processor_time() -> ProcessorTime:
    """The counters of this moment (`/proc/stat` and getrusage)."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    seconds = [int(word) / os.sysconf("SC_CLK_TCK") for word in words]
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    ours = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return ProcessorTime(sum(seconds), seconds[3] + seconds[4], seconds[7], ours)


def disturbance(before: ProcessorTime, after: ProcessorTime) -> Disturbance:
    """How others disturbed a run between two moments at which it had no children."""
    total = max(after.total - before.total, 1e-9)
    stolen = after.stolen - before.stolen
    busy = total - (after.idle - before.idle) - stolen
    programs = max(0.0, busy - (after.ours - before.ours))
    return Disturbance(100 * programs / total, 100 * stolen / total)


class Watch:
    """The machine from the beginning of a run, when this is made, at which it has no children."""

    def __init__(self) -> None:
        self._before, self._start = processor_time(), time.monotonic()
        self._load = os.getloadavg()[0]

    def write_into(self, facts: dict[str, str]) -> Disturbance:
        """At the end of the run: how long it took, and what others did meanwhile."""
        facts["duration"] = (
            f"{time.monotonic() - self._start:.0f} s, from a load average of {self._load:.2f} to "
            f"{os.getloadavg()[0]:.2f}, which is our own"
        )
        others = disturbance(self._before, processor_time())
        facts["processor time that others took"] = (
            f"{others.programs:.1f} % programs, {others.hypervisor:.1f} % hypervisor"
        )
        return others
