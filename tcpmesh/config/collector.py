"""The garbage collector, while a large text becomes a tree, and a tree a proxy.

It looks again and again at all that there is, although nothing of what grows is garbage: with
10,000 clusters that takes three times as long as all the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Keep the garbage collector from running; what is there afterwards counts as old, so that it
    is not looked at as soon as the collector runs again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # else what others have frozen would thaw
                gc.freeze()
                gc.unfreeze()
            gc.enable()
