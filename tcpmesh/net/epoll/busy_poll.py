"""Busy polling: to ask the kernel again and again for a while before sleeping.

Who sleeps has to be woken, and that takes its time: some microseconds where a processor is awake,
twenty to forty where it rests in a virtual machine, which is more than all else that a proxy does
for a message.  A server's reply often comes sooner than that.  So whoever has a processor to spare
may let the poller ask for events without waiting for them, until none has come for so long; then it
waits as it always does.
"""

from __future__ import annotations

from collections.abc import Callable

Events = list[tuple[int, int]]

Poll = Callable[[float, int], Events]
"""`select.epoll.poll`."""


def busily(poll: Poll, seconds: float, now: Callable[[], float]) -> Poll:
    """The same, but whoever is ready to wait first asks for so long without waiting."""

    def poll_busily(wait: float, most: int) -> Events:
        if not wait:
            return poll(0.0, most)
        until = now() + seconds
        while not (events := poll(0.0, most)):
            if now() >= until:
                return poll(wait, most)
        return events

    return poll_busily
