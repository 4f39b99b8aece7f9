"""The figures of a turn, in microseconds, by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.load import percentile
from benchmarks.waits.split import Part, Passage, Record

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

SLOW = "slow"
"""The mean over the slowest hundredth of all requests."""

WORK, WAIT = (Part.KERNEL, Part.PROGRAM), (Part.WAKING, Part.PREEMPTED)


@dataclass(frozen=True)
class Share:
    """A part of a request's time.

    :ivar take: how much of it one request had.
    """

    key: str
    title: str
    take: Callable[[Passage], int]


def _stage(name: str, title: str, stage: Callable[[Passage], dict[Part, int]]) -> Iterator[Share]:
    for part, words in (
        (Part.ASLEEP, "until it is woken"),
        (Part.WAKING, "woken, until it runs"),
        (Part.PREEMPTED, "its processor is taken away"),
        (Part.KERNEL, "in the kernel"),
        (Part.PROGRAM, "in the program"),
    ):

        def take(passage: Passage, part: Part = part) -> int:
            return stage(passage)[part]

        yield Share(f"{name}-{part.name.lower()}", f"{title}: {words}", take)


SUMS = (
    Share("own", "work of the proxy", lambda passage: passage.proxy(*WORK)),
    Share(
        "wait",
        "waiting for a processor: proxy, server and client",
        lambda passage: passage.proxy(*WAIT) + passage.peers(*WAIT),
    ),
    Share(
        "rest",
        "work of server and client",
        lambda passage: passage.total - passage.proxy(*WORK, *WAIT) - passage.peers(*WAIT),
    ),
)
"""Three that make up all."""

STAGES = (
    *_stage("request", "request", lambda passage: passage.request),
    *_stage("reply", "reply", lambda passage: passage.reply),
)
"""What the proxy did, one by one."""

SHARES = (*SUMS, *STAGES)


def of_times(times: Iterable[tuple[int, int, int]], paced: bool) -> dict[str, float]:
    """What the client saw: of requests at a fixed rate, from when they were due.

    Where it was the client that was late, for it was not woken in time, the proxy is not charged:
    a request that was due while none was under way counts from when it was sent.
    """
    waits: list[int] = []
    before = 0
    for due, sent, done in times:
        start = due if paced and before > due else sent
        waits.append((done - start) // 1000)
        before = done
    return _quantiles("seen", waits)


def of_record(record: Record) -> dict[str, float]:
    """What the kernel's record tells."""
    passages = sorted(record.passages, key=lambda passage: passage.total)
    slowest = passages[-max(len(passages) // 100, 1) :]
    values = _quantiles("recorded", [passage.total for passage in passages])
    for share in SHARES:
        values.update(_quantiles(share.key, [share.take(passage) for passage in passages]))
        values[f"{share.key}-{SLOW}"] = fmean(share.take(passage) for passage in slowest)
    values["wakings"], values["near"] = record.wakings, record.near
    values["calls"] = sum(record.calls.values())
    return values


def _quantiles(key: str, values: Sequence[int]) -> dict[str, float]:
    counts: dict[int, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return {f"{key}-{name}": percentile(counts, part) for name, part in QUANTILES.items()}
