"""Memory that is given back to the system."""

from __future__ import annotations

import ctypes
import gc
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.overload.shrinking import shrink_heap
from tcpmesh.values.link import ShrinkHeap
from tests.overloaded import OverloadedTestCase


class Library:
    """The C library, with or without the function."""

    def __init__(self, **functions: Any) -> None:
        self.__dict__.update(functions)


class ShrinkTests(SynchronousTestCase):
    """In this process."""

    def test_trim(self) -> None:
        """The allocator is asked for it, beside the event loop, and may keep what is allowed."""
        kept: list[int] = []
        trim = Library(malloc_trim=lambda size: kept.append(size.value))
        self.patch(ctypes, "CDLL", lambda name: trim)
        shrink_heap(1 << 33).join()
        shrink_heap().join()
        self.assertEqual([1 << 33, 0], kept)

    def test_other_libraries(self) -> None:
        """A C library that knows nothing of that is left alone."""
        self.patch(ctypes, "CDLL", lambda name: Library())
        failed: list[Any] = []
        self.patch(threading, "excepthook", failed.append)
        shrink_heap().join()
        self.assertEqual([], failed)

    def test_young_garbage(self) -> None:
        """What is young and nobody refers to is freed before."""

        class Circle:
            """Refers to itself."""

            def __init__(self) -> None:
                self.itself = self

        was_enabled = gc.isenabled()
        gc.disable()
        try:
            Circle()
            shrink_heap().join()
            self.assertEqual([], [each for each in gc.get_objects() if type(each) is Circle])
        finally:
            if was_enabled:
                gc.enable()

    def test_for_real(self) -> None:
        """The system's own library does it."""
        shrink_heap(1 << 20).join()


class ToldTests(OverloadedTestCase):
    """What main tells."""

    def test_told(self) -> None:
        """A worker gives memory back when main says so."""
        self.begin()
        kept: list[int] = []
        self.patch(gc, "collect", kept.append)
        self.mesh.main._send(ShrinkHeap(5))
        self.assertEqual([1], kept)
