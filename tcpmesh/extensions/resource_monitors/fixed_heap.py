"""fixed_heap: how much of a number of bytes the proxy uses.

Envoy asks its allocator how much of its heap is in use.  Python's knows only a part of what a
process uses, so here it is the memory of the processes of the proxy that is in RAM, and what
several of them share counts once.  So a proxy with nothing to do starts at some 60 MB, and memory
that was used once is not all given back: the limit has to be the greater for that.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.resource_monitors.fixed_heap.v3 import fixed_heap_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IResourceMonitor
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.memory import used_bytes


@extension(fixed_heap_pb2.FixedHeapConfig)
@implementer(IResourceMonitor)
class FixedHeap:
    """The memory of this proxy."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self._processes = context.processes
        self._runtime = context.runtime
        self._most: int = message.max_heap_size_bytes
        self._key = ""
        if message.HasField("max_heap_size_bytes_runtime"):
            self._key = message.max_heap_size_bytes_runtime.runtime_key
            self._most = message.max_heap_size_bytes_runtime.default_value

    def pressure(self) -> float:
        """The share of the limit that is in use, which may be more than all of it."""
        most = self._runtime.integer(self._key, self._most) if self._key else self._most
        return used_bytes(self._processes()) / max(most, 1)

    def close(self) -> None:
        """There is nothing to give back."""
