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

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any


class all_or_nothing:
    """A stack of what is to be undone where the block is not finished; see the module's text.

    An `ExitStack` does the same and more: what does not fail, such as one of ten thousand clusters,
    pays eight times for it.
    """

    __slots__ = ("_calls",)

    def __enter__(self) -> all_or_nothing:
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        return self

    def callback(self, call: Callable[..., object], *arguments: Any) -> None:
        """Where the block is not finished, call this."""
        self._calls.append((call, arguments))

    def pop_all(self) -> ExitStack:
        """What was pushed so far, to be undone by its `close`, whatever becomes of the block."""
        stack = ExitStack()
        for call, arguments in self._calls:
            stack.callback(call, *arguments)
        self._calls = []
        return stack

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.pop_all().__exit__(kind, error, trace)
