"""cgroup_memory: how much of its memory the control group uses that the proxy runs in.

As in Envoy, the files are those of the group at the root of what a container sees, of version 2
of control groups, or else of version 1; where there is no such group, no update succeeds.
"""

from __future__ import annotations

import os
from typing import Any

from envoy.extensions.resource_monitors.cgroup_memory.v3 import cgroup_memory_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IResourceMonitor
from tcpmesh.registry import MainContext, extension

ROOT = "/sys/fs/cgroup"
VERSIONS = (
    ("memory.current", "memory.max"),
    ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"),
)
"""The files that tell how much is used, and how much may be."""

UNLIMITED = "max"


@extension(cgroup_memory_pb2.CgroupMemoryConfig)
@implementer(IResourceMonitor)
class CgroupMemory:
    """The memory of a control group.

    :param root: where control groups are.
    """

    def __init__(self, message: Any, context: MainContext, root: str = ROOT) -> None:
        self._most: int = message.max_memory_bytes
        self._root = root

    def pressure(self) -> float:
        """The share of its limit that the group uses, or of the one in the configuration; 0 where
        neither has one.

        :raise OSError: where there is no group.
        :raise ValueError: where a file holds something else than a number.
        """
        used, limit = next((each for each in VERSIONS if self._has(each[0])), VERSIONS[-1])
        in_use = int(self._read(used))
        most = self._most or self._limit(limit)
        return in_use / most if most else 0.0

    def _limit(self, name: str) -> int:
        text = self._read(name)
        return 0 if text == UNLIMITED else max(int(text), 0)

    def _has(self, name: str) -> bool:
        return os.path.exists(os.path.join(self._root, name))

    def _read(self, name: str) -> str:
        with open(os.path.join(self._root, name)) as f:
            return f.read(64).strip()

    def close(self) -> None:
        """There is nothing to give back."""
