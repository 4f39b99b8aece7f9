"""Gives memory back to the system that this process has and does not use.

What Python frees goes back to the allocator of the C library, which keeps what lies between pieces
in use.  It can be told to give back whole pages of that; for 500 MB this takes some 50 ms, so it is
done beside the event loop.
"""

from __future__ import annotations

import ctypes
import gc
from threading import Thread


def shrink_heap(most_unfreed: int = 0) -> Thread:
    """Begin to give back what can be.

    :param most_unfreed: bytes that may be kept for what comes next.
    :return: who does it.
    """
    gc.collect(1)
    thread = Thread(target=_trim, args=(most_unfreed,), name="shrink_heap", daemon=True)
    thread.start()
    return thread


def _trim(kept: int) -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # it is glibc's
        trim(ctypes.c_size_t(kept))
