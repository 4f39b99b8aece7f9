"""What tells one worker from another: its number, and what is named after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

CONNECTION_BITS = 48
"""Bits of CONNECTION_ID below the number of the worker."""

GENERATION_BITS = 8
"""The first of these, in which processes differ that have taken over from each other; a worker
counts with the others.
"""


def only_worker() -> tuple[int, ...]:
    """The workers there are, where there is one."""
    return (0,)


def only_process() -> tuple[int, ...]:
    """The numbers of the processes there are, where this one is the only one."""
    return (os.getpid(),)


def worker_name(index: int) -> str:
    """What Envoy calls a worker in the names of statistics."""
    return f"worker_{index}"


def connection_ids(index: int, generation: int = 1) -> Iterator[int]:
    """Numbers for the downstream connections of a worker, which no other worker gives, neither of
    this process nor of those before it, whose connections may be here.  The one after each is left
    for its upstream connection (`StreamInfo.upstream_id`).

    :param generation: how many processes there were, with this one.
    """
    before = (generation - 1) % (1 << GENERATION_BITS)
    return count((index << CONNECTION_BITS) + (before << CONNECTION_BITS - GENERATION_BITS) + 1, 2)
