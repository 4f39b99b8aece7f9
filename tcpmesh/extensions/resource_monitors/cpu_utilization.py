"""cpu_utilization: how busy the processors are, those of the whole machine or those that the
control group of the proxy may use.

What is told is smoothed as in Envoy: a reading counts for a twentieth, what was before for the
rest, so a load that stays shows as half of it after some 14 readings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from envoy.extensions.resource_monitors.cpu_utilization.v3 import cpu_utilization_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IResourceMonitor
from tcpmesh.registry import MainContext, extension

ALPHA = 0.05
"""How much the last reading counts."""

STAT = "/proc/stat"
ROOT = "/sys/fs/cgroup"

SHARES = 1000
"""`cpu.shares` of a whole processor, as Envoy takes them."""


class Times(NamedTuple):
    """Since some moment: how long processors have worked, and how much time has passed, in the same
    unit.
    """

    worked: float
    passed: float
    processors: float = 1.0
    """How many could have worked all that time."""


def host_times(path: str = STAT) -> Times:
    """Of the whole machine.

    :raise OSError: where the kernel does not tell.
    :raise ValueError: where that is not of the usual form.
    """
    with open(path) as f:
        name, *numbers = f.readline().split()
    if name != "cpu" or len(numbers) < 4:
        raise ValueError(f"{path} does not begin with the times of all processors")
    user, nice, system, idle = map(int, numbers[:4])
    worked = user + nice + system
    return Times(worked, worked + idle)


def container_times(now: float, root: str = ROOT) -> Times:
    """Of a control group, of version 2 or else of version 1.

    :param now: seconds, of any clock that goes on.
    :raise OSError: where there is no such group.
    :raise ValueError: where a file is not of the usual form.
    """
    if not os.path.exists(os.path.join(root, "cpu.stat")):
        worked = int(_read(root, "cpuacct/cpuacct.usage")) / 1e9
        return Times(worked, now, int(_read(root, "cpu/cpu.shares")) / SHARES)
    usage = dict(each.split(maxsplit=1) for each in _read(root, "cpu.stat").splitlines() if each)
    if "usage_usec" not in usage:
        raise ValueError("cpu.stat does not say usage_usec")
    quota, period = _read(root, "cpu.max").split()
    cores: float = processors(_read(root, "cpuset.cpus.effective"))
    if quota != "max":
        cores = min(cores, int(quota) / int(period))
    return Times(int(usage["usage_usec"]) / 1e6, now, cores)


def processors(text: str) -> int:
    """How many a list such as `0-3,8` has.

    :raise ValueError: where it is no such list.
    """
    count = 0
    for each in text.split(","):
        first, dash, last = each.partition("-")
        count += int(last) - int(first) + 1 if dash else len({int(first)})
    return count


def _read(root: str, name: str) -> str:
    with open(os.path.join(root, name)) as f:
        return f.read(4096).strip()


@extension(cpu_utilization_pb2.CpuUtilizationConfig)
@implementer(IResourceMonitor)
class CpuUtilization:
    """How busy processors are, smoothed.

    :param read: tells the times of now, where it is not to be what the message says.
    """

    def __init__(
        self, message: Any, context: MainContext, read: Callable[[], Times] | None = None
    ) -> None:
        clock = context.network.clock
        in_container = message.mode == cpu_utilization_pb2.CpuUtilizationConfig.CONTAINER
        self._read = read or (
            (lambda: container_times(clock.seconds())) if in_container else host_times
        )
        self._before: Times | None = None
        self._smoothed = 0.0
        with suppress(OSError, ValueError):  # which the first update tells
            self._before = self._read()

    def pressure(self) -> float:
        """The share of the time that was worked, of what could be.

        :raise OSError: where the system does not tell.
        :raise ValueError: where it tells nonsense.
        """
        before, self._before = self._before, self._read()
        if before is None:
            return self._smoothed
        now = self._before
        worked, passed = now.worked - before.worked, now.passed - before.passed
        if worked < 0 or passed <= 0 or now.processors <= 0:
            raise ValueError(
                f"{now.processors:g} processors have worked {worked:g} in a time of {passed:g}"
            )
        self._smoothed += ALPHA * (worked / passed / now.processors - self._smoothed)
        return self._smoothed

    def close(self) -> None:
        """There is nothing to give back."""
