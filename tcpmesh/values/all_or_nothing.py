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

from contextlib import ExitStack
from types import TracebackType


class all_or_nothing:
    """A stack of what is to be undone where the block is not finished; see the module's text."""

    __slots__ = ("_undo",)

    def __enter__(self) -> ExitStack:
        self._undo = ExitStack()
        return self._undo

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None:
            self._undo.pop_all()
            return None
        return self._undo.__exit__(kind, error, trace)
