"""Copies of the two descriptors of a client, and whether there is room for them.

What a channel cannot send at once it keeps, with copies; and where it can have none it ends, which
would be the end of a worker.  So before a client is sent it is looked whether there is room.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from tcpmesh.values.all_or_nothing import all_or_nothing


def copies(downstream: int, upstream: int) -> tuple[int, int]:
    """Descriptors of one's own of both connections.

    :raise OSError: where there are none left.
    """
    with all_or_nothing() as undo:
        first = os.dup(downstream)
        undo.callback(os.close, first)
        return first, os.dup(upstream)


def can_be_copied(descriptors: Sequence[int]) -> bool:
    """Whether they are two, and this process has room for two more."""
    if len(descriptors) != 2:
        return False
    try:
        made = copies(*descriptors)
    except OSError:
        return False
    for each in made:
        os.close(each)
    return True
