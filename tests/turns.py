"""Turns of a reactor on a `Clock`, whose own `advance(0)` goes on until nothing is due."""

from __future__ import annotations

from twisted.internet.task import Clock


def turn(clock: Clock) -> None:
    """Call what is due now, and not what that adds."""
    due = [call for call in clock.calls if call.getTime() <= clock.seconds()]
    for call in due:
        if call in clock.calls:
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
