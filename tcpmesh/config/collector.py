"""The garbage collector, while a large text becomes a tree, and a tree a proxy, and while that
serves.

It looks again and again at all that there is, although nothing of what grows is garbage: with
10,000 clusters that takes three times as long as all the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (2_000, 10, 5_000)
"""How many objects more there are when the garbage collector looks at those, how many such looks
there are until it looks at all of them once more, and how many of those until it looks at all there
is.  Connections leave no cycles, so it should look rarely, but each look is a pause for everybody:
a tenth of a microsecond and more for each object and for each element of a list.  So the first two
looks are at few objects, and the last one, whose pause nothing bounds, is very rare.
"""


def set_thresholds() -> None:
    """Let the garbage collector look rarely."""
    gc.set_threshold(*THRESHOLDS)


def calm() -> None:
    """Let the garbage collector forget what exists now and look rarely at what comes.

    It does not look once more before: of a hundred thousand objects, or with 10,000 clusters of
    millions, that takes long, and all it would find is a thousand that imports have left.
    """
    gc.freeze()
    set_thresholds()


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
