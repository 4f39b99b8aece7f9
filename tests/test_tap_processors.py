"""Processors for this process, by what is in a directory that stands for the root of a system."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.tap_processors import VARIABLE, allowed, cpu_quota, processors

SECOND = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
FIRST = "33 32 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct"


class ProcessorsTests(SynchronousTestCase):
    """`processors` and `cpu_quota`."""

    def setUp(self) -> None:
        """A machine with eight processors."""
        self.root = Path(self.mktemp())
        self.environ = {key: value for key, value in os.environ.items() if key != VARIABLE}

    def system(self, groups: str, mounts: str, **files: str) -> None:
        """The groups of this process, what is mounted, and the files of a group."""
        proc = self.root / "proc/self"
        proc.mkdir(parents=True)
        (proc / "cgroup").write_text(groups)
        (proc / "mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda rw\n{mounts}\n")
        for path, text in files.items():
            file = self.root / "sys/fs/cgroup" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    def count(self) -> int:
        """How many there are, of eight."""
        with (
            patch.dict(os.environ, self.environ, clear=True),
            patch("tcpmesh.tap_processors.allowed", lambda: 8),
        ):
            return processors(str(self.root))

    def test_affinity(self) -> None:
        """There are those that the process may be scheduled on."""
        self.assertEqual(allowed(), len(os.sched_getaffinity(0)))
        self.assertLessEqual(processors(), allowed())

    def test_version_2(self) -> None:
        """A quota is rounded down."""
        self.system("0::/a.slice/b\n", SECOND, **{"a.slice/b/cpu.max": "290000 100000"})
        self.assertEqual((self.count(), cpu_quota(str(self.root))), (2, 2.9))

    def test_less_than_one(self) -> None:
        """With less than one processor there is one."""
        self.system("0::/\n", SECOND, **{"cpu.max": "20000 100000"})
        self.assertEqual(self.count(), 1)

    def test_more_than_there_are(self) -> None:
        """A quota makes no processors."""
        self.system("0::/\n", SECOND, **{"cpu.max": "2000000 100000"})
        self.assertEqual(self.count(), 8)

    def test_no_quota(self) -> None:
        """Without a quota, or a file that would have it, all may be used."""
        self.system("0::/a\n", SECOND, **{"a/cpu.max": "max 100000"})
        self.assertEqual(self.count(), 8)
        self.assertIsNone(cpu_quota(str(self.root)))

    def test_version_1(self) -> None:
        """With version 1 the quota is in two files, and without one it is -1."""
        folder = "cpu,cpuacct/box"
        quota = {f"{folder}/cpu.cfs_quota_us": "300000", f"{folder}/cpu.cfs_period_us": "100000"}
        self.system("5:memory:/m\n4:cpu,cpuacct:/box\n0::/x\n", FIRST.format(top="/"), **quota)
        self.assertEqual(self.count(), 3)
        (self.root / "sys/fs/cgroup" / folder / "cpu.cfs_quota_us").write_text("-1\n")
        self.assertEqual(self.count(), 8)

    def test_mounted_group(self) -> None:
        """In a container whose own group is mounted as the top, its path is not gone down again."""
        quota = {
            "cpu,cpuacct/cpu.cfs_quota_us": "400000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        }
        self.system("4:cpu,cpuacct:/docker/1\n", FIRST.format(top="/docker/1"), **quota)
        self.assertEqual(self.count(), 4)

    def test_not_looked_at(self) -> None:
        """Nobody looks at the quota where the environment says so."""
        self.system("0::/\n", SECOND, **{"cpu.max": "100000 100000"})
        self.environ[VARIABLE] = "false"
        self.assertEqual(self.count(), 8)

    def test_nonsense(self) -> None:
        """What nobody can read is no quota."""
        self.system("0::/\nrubbish", SECOND, **{"cpu.max": "much"})
        self.assertEqual(self.count(), 8)
        (self.root / "proc/self/cgroup").write_text("0::/\n")
        self.assertEqual(self.count(), 8)
        (self.root / "proc/self/cgroup").unlink()
        self.assertEqual(self.count(), 8)
