"""What the resource monitors read, and what pressure it comes to."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from envoy.extensions.resource_monitors.cgroup_memory.v3.cgroup_memory_pb2 import (
    CgroupMemoryConfig,
)
from envoy.extensions.resource_monitors.cpu_utilization.v3.cpu_utilization_pb2 import (
    CpuUtilizationConfig,
)
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from envoy.extensions.resource_monitors.injected_resource.v3.injected_resource_pb2 import (
    InjectedResourceConfig,
)
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.resource_monitors import fixed_heap
from tcpmesh.extensions.resource_monitors.cgroup_memory import CgroupMemory
from tcpmesh.extensions.resource_monitors.cpu_utilization import (
    CpuUtilization,
    Times,
    container_times,
    host_times,
    processors,
)
from tcpmesh.extensions.resource_monitors.fixed_heap import FixedHeap
from tcpmesh.extensions.resource_monitors.injected_resource import LONGEST, InjectedResource
from tcpmesh.net.moves import CannotWatch
from tcpmesh.registry import MainContext
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.runtime import Entry
from tests.mesh import parse


def context(**fields: Any) -> MainContext:
    """What a monitor may use."""
    return MainContext(MemoryNetwork(), Store(), **fields)


class FilesTestCase(SynchronousTestCase):
    """Tests with files."""

    def setUp(self) -> None:
        """A folder for them."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, **files: str) -> None:
        """These files, with two underscores for a slash and one for a dot."""
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


class MemoryTests(SynchronousTestCase):
    """fixed_heap."""

    def pressure(self, text: str, used: int = 500, **fields: Any) -> float:
        """The pressure where so many bytes are used."""
        self.patch(fixed_heap, "used_bytes", lambda pids: used * len(pids))
        return FixedHeap(parse(FixedHeapConfig, text), context(**fields)).pressure()

    def test_share(self) -> None:
        """It is the share of the limit that is used, which may be more than all."""
        self.assertEqual(0.5, self.pressure("max_heap_size_bytes: 1000"))
        self.assertEqual(2, self.pressure("max_heap_size_bytes: 250"))

    def test_runtime(self) -> None:
        """The limit may be the runtime's, each time as of then."""
        text = "max_heap_size_bytes_runtime: {default_value: 1000, runtime_key: most}"
        self.assertEqual(0.5, self.pressure(text))
        runtime = Runtime({"most": Entry("2000", 2000.0)})
        self.assertEqual(0.25, self.pressure(text, runtime=runtime))
        nothing = Runtime({"most": Entry("0", 0.0)})
        self.assertEqual(500, self.pressure(text, runtime=nothing))

    def test_processes(self) -> None:
        """All processes of the proxy count."""
        found = self.pressure("max_heap_size_bytes: 1000", processes=lambda: (1, 2, 3))
        self.assertEqual(1.5, found)

    def test_close(self) -> None:
        """Nothing is to be given back."""
        FixedHeap(FixedHeapConfig(max_heap_size_bytes=1), context()).close()


class CgroupMemoryTests(FilesTestCase):
    """cgroup_memory."""

    def pressure(self, most: int = 0) -> float:
        """The pressure that the files tell."""
        message = CgroupMemoryConfig(max_memory_bytes=most) if most else CgroupMemoryConfig()
        monitor = CgroupMemory(message, context(), str(self.folder))
        monitor.close()
        return monitor.pressure()

    def test_version_2(self) -> None:
        """It is the share of the group's limit, or of the one in the configuration."""
        self.write(memory_DOT_current="500\n", memory_DOT_max="1000\n")
        self.assertEqual((0.5, 0.25), (self.pressure(), self.pressure(2000)))
        self.write(memory_DOT_max="max\n")
        self.assertEqual((0, 0.25), (self.pressure(), self.pressure(2000)))

    def test_version_1(self) -> None:
        """So it is of a group of version 1."""
        self.write(
            memory__memory_DOT_usage_in_bytes="500", memory__memory_DOT_limit_in_bytes="1000"
        )
        self.assertEqual(0.5, self.pressure())
        self.write(memory__memory_DOT_limit_in_bytes="-1")
        self.assertEqual(0, self.pressure())

    def test_wrong(self) -> None:
        """Without a group, and with something else than numbers, there is no pressure."""
        self.assertRaises(OSError, self.pressure)
        for used, most in (("", "1000"), ("500", "many")):
            self.write(memory_DOT_current=used, memory_DOT_max=most)
            self.assertRaises(ValueError, self.pressure)


class HostTimesTests(FilesTestCase):
    """What processors have done, of the whole machine."""

    def times(self, text: str) -> Times:
        """What a file says."""
        self.write(stat=text)
        return host_times(str(self.folder / "stat"))

    def test_read(self) -> None:
        """User, nice and system time are work; these and idle time are all there is."""
        found = self.times("cpu  1 2 30 400 5000 60000\ncpu0 1 1 1 1\n")
        self.assertEqual(Times(33, 433, 1), found)

    def test_wrong(self) -> None:
        """What is of another form is told."""
        for text in ("", "cpu0 1 2 3 4\n", "cpu 1 2 3\n", "cpu 1 2 x 4\n"):
            self.assertRaises(ValueError, self.times, text)
        self.assertGreater(host_times().passed, 0)


class ContainerTimesTests(FilesTestCase):
    """... of a control group."""

    def times(self) -> Times:
        """What the files say, at second 7."""
        return container_times(7, str(self.folder))

    def test_version_2(self) -> None:
        """The processors are those that the group may use, and no more than its quota."""
        self.write(
            cpu_DOT_stat="usage_usec 2500000\nuser_usec 1\n",
            cpu_DOT_max="max 100000\n",
            cpuset_DOT_cpus_DOT_effective="0-3\n",
        )
        self.assertEqual(Times(2.5, 7, 4), self.times())
        self.write(cpu_DOT_max="150000 100000\n")
        self.assertEqual(Times(2.5, 7, 1.5), self.times())
        self.write(cpu_DOT_max="900000 100000\n")
        self.assertEqual(Times(2.5, 7, 4), self.times())

    def test_version_1(self) -> None:
        """Shares count for thousandths of a processor, as in Envoy."""
        self.write(cpuacct__cpuacct_DOT_usage="2500000000\n", cpu__cpu_DOT_shares="2000\n")
        self.assertEqual(Times(2.5, 7, 2), self.times())

    def test_wrong(self) -> None:
        """Without a group, and with files of another form, there is nothing."""
        self.assertRaises(OSError, self.times)
        for stat, most, cpus in (
            ("user_usec 1\n", "max 1", "0"),
            ("usage_usec x\n", "max 1", "0"),
            ("usage_usec 1\n", "max", "0"),
            ("usage_usec 1\n", "1 x", "0"),
            ("usage_usec 1\n", "max 1", "a-b"),
        ):
            self.write(cpu_DOT_stat=stat, cpu_DOT_max=most, cpuset_DOT_cpus_DOT_effective=cpus)
            self.assertRaises(ValueError, self.times)

    def test_processors(self) -> None:
        """A list of processors has single ones and ranges."""
        for text, count in (("0", 1), ("0-3", 4), ("0-1,4,6-7", 5)):
            self.assertEqual(count, processors(text))


class CpuTests(SynchronousTestCase):
    """cpu_utilization."""

    def monitor(self, *times: Times | Exception) -> CpuUtilization:
        """One that reads these, the first one when it is made."""
        waiting = list(times)

        def read() -> Times:
            found = waiting.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return CpuUtilization(CpuUtilizationConfig(), context(), read)

    def test_smoothed(self) -> None:
        """A reading counts for a twentieth, what was before for the rest."""
        monitor = self.monitor(Times(0, 0), Times(10, 10), Times(15, 20), Times(15, 30))
        self.assertEqual([0.05, 0.0725, 0.068875], [round(monitor.pressure(), 9) for _ in range(3)])
        monitor.close()

    def test_processors(self) -> None:
        """Of several processors all count, as many as there are at the time."""
        monitor = self.monitor(Times(0, 0, 2), Times(2, 1, 4))
        self.assertEqual(0.025, monitor.pressure())

    def test_nonsense(self) -> None:
        """Times that go back or stand still, and no processors, are no reading; the next one is
        compared with them.
        """
        monitor = self.monitor(
            Times(5, 5), Times(4, 6), Times(5, 6), Times(6, 7, 0), Times(7, 8), Times(8, 9)
        )
        for _ in range(3):
            self.assertRaises(ValueError, monitor.pressure)
        self.assertEqual([0.05, 0.0975], [monitor.pressure(), round(monitor.pressure(), 9)])

    def test_late(self) -> None:
        """Where the times could not be had at first, they are from then on."""
        monitor = self.monitor(OSError(), OSError(), Times(1, 1), Times(2, 2))
        self.assertRaises(OSError, monitor.pressure)
        self.assertEqual([0, 0.05], [monitor.pressure(), monitor.pressure()])

    def test_modes(self) -> None:
        """The mode says which times are read."""
        found = []
        for mode in (CpuUtilizationConfig.HOST, CpuUtilizationConfig.CONTAINER):
            monitor = CpuUtilization(CpuUtilizationConfig(mode=mode), context())
            found.append(monitor._read is host_times)
        self.assertEqual([True, False], found)


class InjectedTests(FilesTestCase):
    """injected_resource."""

    def setUp(self) -> None:
        """A monitor of a file that is not there yet."""
        super().setUp()
        self.path = self.folder / "pressure"
        self.context = context()
        message = InjectedResourceConfig(filename=str(self.path))
        self.monitor = InjectedResource(message, self.context)
        self.addCleanup(self.monitor.close)

    def put(self, data: bytes) -> None:
        """Move a file with this to its place; it is noticed."""
        other = self.folder / "next"
        other.write_bytes(data)
        other.replace(self.path)
        self.context.network.clock.advance(1)

    def test_numbers(self) -> None:
        """A number from 0 to 1 is the pressure, in any form that Envoy takes."""
        for text, number in (
            ("0.25", 0.25),
            (" 0.5\n", 0.5),
            ("1", 1),
            ("0", 0),
            ("1e-1", 0.1),
            ("0x1p-1", 0.5),
            ("+.25", 0.25),
        ):
            self.put(text.encode())
            self.assertEqual(number, self.monitor.pressure())

    def test_moved(self) -> None:
        """A file is read once, and again where another is moved to its place; one that is removed
        stays the last word.
        """
        self.put(b"0.5")
        self.assertEqual(0.5, self.monitor.pressure())
        self.path.write_text("0.75")
        self.assertEqual(0.5, self.monitor.pressure())
        self.path.unlink()
        self.context.network.clock.advance(5)
        self.assertEqual(0.5, self.monitor.pressure())
        self.put(b"0.25")
        self.assertEqual(0.25, self.monitor.pressure())

    def test_wrong(self) -> None:
        """What is no such number is no pressure, at each time that is asked, until there is a
        better file.
        """
        for data in (
            b"",
            b"x",
            b"1.5",
            b"-0.1",
            b"nan",
            b"inf",
            b"0_1",
            b"0.5 0.5",
            b"\xff",
            b"0x",
        ):
            self.put(data)
            for _ in range(2):
                error = self.assertRaises(ValueError, self.monitor.pressure)
                self.assertIn("does not hold a number from 0 to 1", str(error))
        self.put(b"0.5")
        self.assertEqual(0.5, self.monitor.pressure())

    def test_no_file(self) -> None:
        """As long as there is no file, there is no pressure; one in a directory that is not there
        cannot be watched.
        """
        self.assertRaises(ValueError, self.monitor.pressure)
        self.put(b"0.5")
        self.assertEqual(0.5, self.monitor.pressure())
        message = InjectedResourceConfig(filename=str(self.folder / "no" / "x"))
        self.assertRaises(CannotWatch, InjectedResource, message, self.context)

    def test_huge(self) -> None:
        """Of a huge file, and of one without an end, no more is read than a number has."""
        self.put(b"0" * LONGEST)
        self.assertEqual(0, self.monitor.pressure())
        self.put(b"0" * (LONGEST + 1))
        self.assertRaises(ValueError, self.monitor.pressure)
        endless = self.folder / "endless"
        endless.symlink_to("/dev/zero")
        endless.replace(self.path)
        self.context.network.clock.advance(1)
        self.assertRaises(ValueError, self.monitor.pressure)

    def test_no_regular_file(self) -> None:
        """A FIFO that nobody writes to, and a directory, hold nobody up."""
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        fifo.replace(self.path)
        self.context.network.clock.advance(1)
        self.assertRaises(ValueError, self.monitor.pressure)
        self.path.unlink()
        self.path.mkdir()
        self.monitor._moved()
        self.assertRaises(ValueError, self.monitor.pressure)

    @given(st.binary(max_size=20))
    def test_anything(self, data: bytes) -> None:
        """Whatever a file holds, there is a pressure from 0 to 1 or none."""
        self.path.write_bytes(data)
        self.monitor._moved()
        with contextlib.suppress(ValueError):
            self.assertTrue(0 <= self.monitor.pressure() <= 1)

    def test_directory(self) -> None:
        """A directory in its place makes updates fail, and leaves no descriptor behind."""
        other = self.folder / "next"
        other.mkdir()
        before = len(os.listdir("/proc/self/fd"))
        other.replace(self.path)
        self.context.network.clock.advance(1)
        self.assertRaises(ValueError, self.monitor.pressure)
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))
