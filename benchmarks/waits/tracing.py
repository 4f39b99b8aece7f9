"""The kernel's own record of what some threads did: when they called it, slept, were woken, waited
for a processor and got one.

The kernel has that for whoever mounts tracefs, which root may; there is no other program in it.
Events go into a buffer in memory, which is read when all is over, so that nobody is woken for them
meanwhile.  They stand in an instance of our own, beside whatever else is being traced.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from benchmarks.process import BenchmarkError

EVENTS = (
    "sched/sched_switch",
    "sched/sched_waking",
    "raw_syscalls/sys_enter",
    "raw_syscalls/sys_exit",
)
"""A processor goes from one thread to another; one that sleeps may run again; calls to the
kernel.
"""

BUFFER_KIB = 65536
"""For each processor: a million events, as many as busy polling makes of some thousand requests."""

_MOUNTED = Path("/sys/kernel/tracing")
MOUNT = ("mount", "-t", "tracefs", "tracefs")
"""What puts it at a folder."""


class Tracing:
    """Has an instance of tracefs for as long as the `with` block lasts.

    :ivar instance: its folder.

    :raise BenchmarkError: where there is none to be had; the text says why.
    """

    def __init__(self) -> None:
        self._own_mount: tempfile.TemporaryDirectory[str] | None = None
        root = _MOUNTED
        if not (root / "instances").is_dir():
            root = self._mount()
        self.instance = root / "instances" / f"tcpmesh-bench-{os.getpid()}"

    def _mount(self) -> Path:
        self._own_mount = tempfile.TemporaryDirectory(prefix="tcpmesh-tracefs-")
        command = [*MOUNT, self._own_mount.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            reason = done.stderr.strip()
        except OSError as e:
            reason = str(e)
        root = Path(self._own_mount.name)
        if not (root / "instances").is_dir():
            self._own_mount.cleanup()
            raise BenchmarkError(f"the kernel's events are for root, with tracefs: {reason}")
        return root

    def __enter__(self) -> Tracing:
        try:
            self.instance.mkdir(exist_ok=True)
            self._write("tracing_on", "0")
            # Moments of different processors are to be compared.
            self._write("trace_clock", "mono")
            self._write("buffer_size_kb", str(BUFFER_KIB))
        except OSError as e:
            self.__exit__(None, None, None)
            raise BenchmarkError(f"the kernel's events are for root: {e}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.instance.is_dir():
            self.instance.rmdir()
        if self._own_mount is not None:
            subprocess.run(["umount", self._own_mount.name], check=False)
            self._own_mount.cleanup()

    def _write(self, name: str, text: str) -> None:
        (self.instance / name).write_text(text)

    def start(self, threads: Iterable[int]) -> None:
        """From now on record what these threads do, and what wakes them."""
        self._write("trace", "")
        self._write("set_event_pid", " ".join(map(str, threads)))
        for event in EVENTS:
            self._write(f"events/{event}/enable", "1")
        self._write("tracing_on", "1")

    def stop(self) -> list[str]:
        """What was recorded, a line each, in the order in which it happened.

        :raise BenchmarkError: there was more than has room.
        """
        self._write("tracing_on", "0")
        for event in EVENTS:
            self._write(f"events/{event}/enable", "0")
        for stats in self.instance.glob("per_cpu/cpu*/stats"):
            for line in stats.read_text().splitlines():
                if line.startswith(("overrun:", "dropped events:")) and not line.endswith(" 0"):
                    raise BenchmarkError(f"the kernel recorded more than has room: {line}")
        lines = (self.instance / "trace").read_text(errors="replace").splitlines()
        self._write("trace", "")
        return [line for line in lines if not line.startswith("#")]
