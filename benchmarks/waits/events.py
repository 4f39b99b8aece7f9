"""What a line of the kernel's record says."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from benchmarks.process import BenchmarkError

_LINE = re.compile(r"-(\d+) +\[(\d+)\] \S+ +(\d+)\.(\d{6}): (sys_enter|sys_exit|sched_\w+): (.*)")
_CALL = re.compile(r"NR (-?\d+)")
_WOKEN = re.compile(r" pid=(\d+) prio=")
_SWITCH = re.compile(r" prev_pid=(\d+) .*prev_state=(\S+) ==> .*next_pid=(\d+) ")


class Kind(Enum):
    """What happened to a thread."""

    ENTER = "it calls the kernel"
    EXIT = "the call is over"
    WOKEN = "there is something for it to do"
    RUNS = "it has a processor"
    SLEEPS = "it gives up its processor until it is woken"
    PREEMPTED = "its processor was taken away"


@dataclass(frozen=True, slots=True)
class Event:
    """One of those.

    :ivar at: microseconds of the monotonic clock.
    :ivar thread: to whom.
    :ivar processor: where the kernel saw it; of `WOKEN` that of whoever woke it.
    :ivar call: the number of the system call.
    """

    at: int
    thread: int
    kind: Kind
    processor: int = 0
    call: int = -1


_CALLS = {"sys_enter": Kind.ENTER, "sys_exit": Kind.EXIT}


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """All events of a record; a switch is one for each of the two threads.

    :raise BenchmarkError: a line is none of the kernel's.
    """
    for line in lines:
        found = _LINE.search(line)
        if found is None:
            raise BenchmarkError(f"not a line of the kernel's record: {line[:200]!r}")
        thread, processor, seconds, fraction, name, rest = found.groups()
        where, at = int(processor), int(seconds) * 1_000_000 + int(fraction)
        if name in _CALLS:
            number = _CALL.match(rest)
            assert number is not None
            yield Event(at, int(thread), _CALLS[name], where, int(number[1]))
        elif name == "sched_waking":
            woken = _WOKEN.search(rest)
            assert woken is not None
            yield Event(at, int(woken[1]), Kind.WOKEN, where)
        elif name == "sched_switch":
            switch = _SWITCH.search(" " + rest)
            assert switch is not None
            state = Kind.PREEMPTED if switch[2].startswith("R") else Kind.SLEEPS
            yield Event(at, int(switch[1]), state, where)
            yield Event(at, int(switch[3]), Kind.RUNS, where)


URING = 426
"""io_uring_enter, which sends too, and has one number everywhere."""

_NUMBERS = {"x86_64": (1, 20, 44, 46), "aarch64": (64, 66, 206, 211)}
"""Of write, writev, sendto and sendmsg."""


def sending() -> frozenset[int]:
    """The numbers of the calls by which client and server send, and most proxies.

    :raise BenchmarkError: those of another processor would be needed.
    """
    machine = platform.machine()
    if machine not in _NUMBERS:
        raise BenchmarkError(f"system calls of {machine} are not known here")
    return frozenset(_NUMBERS[machine])
