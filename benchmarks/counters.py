"""What a process spends: nanoseconds of processor time, and instructions where they can be counted.

Time depends on the hour: on what else the machine and its neighbours do, and on how fast it runs
just then.  The number of instructions hardly does.  The processor counts them, and `perf stat`
reads that; in many virtual machines there is no such counter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from benchmarks.process import BenchmarkError, Child, descendants

EVENTS = ("instructions:u", "instructions:k")
"""In the program, and in the kernel on its behalf."""


@dataclass(frozen=True)
class Spent:
    """What a process and its children have spent in a window.

    :ivar cpu: nanoseconds, user and system.
    :ivar counted: how often each of the events was counted; empty where they cannot be.
    """

    cpu: int
    counted: tuple[float, ...] = ()

    def per(self, unit: float) -> dict[str, float]:
        """What the events are for each so much, by the names of their metrics."""
        return {
            key: count / unit for key, count in zip(("user", "kernel"), self.counted, strict=False)
        }


@lru_cache
def why_not(events: tuple[str, ...] = EVENTS) -> str:
    """Why these events cannot be counted here; empty where they can."""
    if shutil.which("perf") is None:
        return "there is no perf here (Debian's package linux-perf)"
    command = ["perf", "stat", "-x,", "-e", ",".join(events), "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        parse(done.stderr, events)
    except BenchmarkError:
        if "not supported" in done.stderr:
            return "this machine has no counter of them, as many virtual ones have not"
        return "perf stat may not count here (kernel.perf_event_paranoid, capabilities)"
    return ""


def parse(text: str, events: Sequence[str]) -> tuple[float, ...]:
    """The counts that `perf stat -x,` printed, in the order of `events`.

    :raise BenchmarkError: one was not counted.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2] in events:
            try:
                found[fields[2]] = float(fields[0])
            except ValueError:
                continue
    try:
        return tuple(found[event] for event in events)
    except KeyError as event:
        raise BenchmarkError(f"perf stat did not count {event}: {text[-300:]}") from None


class Meter:
    """Measures what a child spends from now on until `read`.

    :param events: what perf is to count.
    """

    def __init__(self, child: Child, events: tuple[str, ...] = EVENTS) -> None:
        self._child = child
        self._events = events
        self._perf = _Perf(child, events) if not why_not(events) else None
        self._cpu = child.cpu_ns()

    def read(self) -> Spent:
        """What it was; to be called once."""
        cpu = self._child.cpu_ns() - self._cpu
        return Spent(cpu, self._perf.read() if self._perf is not None else ())

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._perf is not None:
            self._perf.stop()


class _Perf:
    """`perf stat` for the processes of a child; it counts from when it says so."""

    def __init__(self, child: Child, events: tuple[str, ...]) -> None:
        self._events = events
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        command = ["perf", "stat", "-x,", "-e", ",".join(events), "-D", "-1"]
        command += ["--control", f"fd:{orders},{answers}"]
        command += ["-p", ",".join(map(str, descendants(child.pid)))]
        try:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=(orders, answers),
            )
        finally:
            os.close(orders)
            os.close(answers)
        self._say(b"enable\n")

    def _say(self, order: bytes) -> None:
        """Give an order, and wait until it is carried out."""
        os.write(self._orders, order)
        if not os.read(self._answers, 16):
            raise BenchmarkError("perf stat has ended too soon")

    def read(self) -> tuple[float, ...]:
        self._say(b"disable\n")
        self._process.send_signal(2)
        return parse(self._process.communicate(timeout=10)[1], self._events)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        for descriptor in (self._orders, self._answers):
            os.close(descriptor)
