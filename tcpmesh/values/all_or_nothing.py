"""Building something of several parts: all of them, or nothing is left of any.

A listener has filters, statistics and sockets, a cluster discovery, checks and event logs.  Where
one of them cannot be had, those that were there already are given back::

    with all_or_nothing() as undo:
        self.scope = store.scope("mine")
        undo.callback(self.scope.close)
        self.log = open_log(path)
        undo.callback(self.log.close)
        self.filter = build(config)

Where a step of the block raises, what was pushed so far is called, the last first, and the error
goes on.  At the end of the block nothing is called: what was built is there to stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def all_or_nothing() -> Iterator[ExitStack]:
    """A stack of what is to be undone where the block is not finished; see the module's text."""
    with ExitStack() as undo:
        yield undo
        undo.pop_all()
