"""How the commands of this folder talk and end: what a user can cause is one line and a status,
never a traceback.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.process import BenchmarkError

WRONG, MISSING = 1, 2
"""Exit statuses: something went wrong or was interrupted; it could not begin."""


def say(text: str) -> None:
    """Tell the user, who sees the report only at the end."""
    print(text, file=sys.stderr, flush=True)


def status_of(main: Callable[[], int]) -> int:
    """The exit status of a command.

    An error that its text explains ends it with 2, Ctrl-C, SIGTERM and SIGHUP end it with 1 after
    all `with` blocks.
    """
    try:
        with ending_on_signals():
            return main()
    except (BenchmarkError, OSError) as error:
        say(str(error))
        return MISSING
    except KeyboardInterrupt:
        say("interrupted")
        return WRONG


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `KeyboardInterrupt`, so that every `with` block stops its
    child.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
