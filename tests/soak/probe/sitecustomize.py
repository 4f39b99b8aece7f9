"""Imported by each Python of the proxy that is soaked, as this folder is on its path: at a signal
a process writes what it consists of.

It is a process of its own that imports this, so nothing of the tests is imported here.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from collections import Counter
from types import FrameType
from typing import Any

SIGNAL = signal.SIGRTMIN + 5
NAMED = ("stats.metrics.Gauge", "stats.metrics.Counter", "values.address.Address")
"""Objects of which it is told which they are."""

CALLS = "twisted.internet.base"
FOLDER = "TCPMESH_SOAK_CENSUS"


def count(number: int = 0, frame: FrameType | None = None) -> None:
    """Write what there is, once all that nobody can reach is gone."""
    # What there was at the start is frozen, and would not be looked at.
    gc.unfreeze()
    garbage = gc.collect()
    things = gc.get_objects()
    kinds: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    shared: Any = None
    for each in things:
        kind = type(each)
        module = kind.__module__
        if not isinstance(module, str):
            continue
        if module.startswith("tcpmesh."):
            name = f"{module[8:]}.{kind.__qualname__}"
            kinds[name] += 1
            if name in NAMED:
                names.setdefault(name, []).append(str(getattr(each, "name", each)))
            if kind.__name__ == "MainCounts":
                shared = each
        elif kind.__name__ == "DelayedCall" and module == CALLS and each.active():
            calls[getattr(each.func, "__qualname__", "?")] += 1
    if shared is not None:
        shared._reclaim()  # which is done when the next one is wanted
    told = {
        "garbage": garbage,
        "objects": len(things),
        "kinds": kinds,
        "names": names,
        "calls": calls,
        "threads": threading.active_count(),
        "shared blocks": len(shared.blocks()) if shared is not None else 0,
        "shared blocks that are left": len(shared._leaving) if shared is not None else 0,
    }
    del things, shared
    gc.freeze()
    path = f"{os.environ[FOLDER]}/{os.getpid()}"
    with open(f"{path}.new", "w") as file:
        json.dump(told, file)
    os.replace(f"{path}.new", path)


if FOLDER in os.environ:
    signal.signal(SIGNAL, count)
