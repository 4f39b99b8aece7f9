"""How much traffic a worker has, and what is connected to what, where main asks for it.

Nothing is counted for that beside what a connection counts anyway: each answer is a walk over all
that are open, in small steps, and those that have ended are summed up (`Closes`).  The sums never
fall, though connections end while others are still being counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.live.rows import moved
from tcpmesh.interfaces import INetwork
from tcpmesh.values.live.traffic import MOST_FLOWS, AskTraffic, FlowCounts, TrafficTold
from tcpmesh.values.stream.closes import Closes
from tcpmesh.values.stream.phase import CLOSED
from tcpmesh.values.stream.stream_info import StreamInfo

STEP = 64
"""Connections looked at in one step, and flows told at once."""

_Key = tuple[int, int, int]
"""The identities of where a client came in, of its cluster and of its host: while there is a client
of them they live, and comparing the values themselves would cost more than all else.
"""


class Counting:
    """The answers of one worker.

    :param connections: all clients at this moment, in groups, each a snapshot.
    :param send: tells main.
    """

    def __init__(
        self,
        worker: int,
        network: INetwork,
        connections: Callable[[], Iterable[Sequence[Connection]]],
        closes: Closes,
        send: Callable[[Any], object],
        now: Callable[[], float] = perf_counter,
    ) -> None:
        self._worker = worker
        self._network = network
        self._connections = connections
        self._closes = closes
        self._send = send
        self._now = now
        self._spent = 0.0
        self._is_stopped = False
        self.receivers: Mapping[type, Callable[[Any], object]] = {AskTraffic: self._asked}
        """What is done with each message of main's."""

    def stop(self) -> None:
        """Answer nothing any more."""
        self._is_stopped = True

    def _asked(self, told: AskTraffic) -> None:
        self._spent = 0.0
        self._network.cooperator.cooperate(self._timed(self._steps()))

    def _timed(self, steps: Iterator[None]) -> Iterator[None]:
        """Know how long all steps took together."""
        while True:
            began = self._now()
            is_over = next(steps, self) is self
            self._spent += self._now() - began
            if is_over:
                return
            yield

    def _steps(self) -> Iterator[None]:
        closes = self._closes
        ended, received, sent = closes.ended, closes.received, closes.sent
        counts: dict[_Key, int] = {}
        examples: dict[_Key, StreamInfo] = {}
        is_open = 0
        for group in self._connections():
            for start in range(0, len(group), STEP):
                for connection in group[start : start + STEP]:
                    info = connection.stream_info
                    if info.phase is CLOSED:
                        continue
                    is_open += 1
                    from_client, _, _, to_client = moved(connection)
                    received += from_client
                    sent += to_client
                    key = _key(info)
                    if key not in counts:
                        examples[key] = info
                    counts[key] = counts.get(key, 0) + 1
                yield
                if self._is_stopped:
                    return
        yield from self._tell_flows(counts, examples)
        self._send(TrafficTold(self._worker, is_open, ended + is_open, received, sent, self._spent))

    def _tell_flows(
        self, counts: Mapping[_Key, int], examples: Mapping[_Key, StreamInfo]
    ) -> Iterator[None]:
        """Flows by their names, for several of one name may be the same to who looks."""
        named: dict[tuple[str, str, str, str], int] = {}
        has_hosts = len(counts) <= MOST_FLOWS
        for number, (key, count) in enumerate(counts.items(), 1):
            names = _names(examples[key], has_hosts)
            named[names] = named.get(names, 0) + count
            if number % STEP == 0:
                yield
        rows = [(*names, count) for names, count in named.items()][:MOST_FLOWS]
        for start in range(0, len(rows), STEP):
            if self._is_stopped:
                return
            self._send(FlowCounts(self._worker, tuple(rows[start : start + STEP])))
            yield


def _key(info: StreamInfo) -> _Key:
    upstream = info.upstream
    attempted = upstream.attempted
    return id(info.listener), id(upstream.cluster), id(attempted[-1]) if attempted else 0


def _names(info: StreamInfo, has_host: bool) -> tuple[str, str, str, str]:
    upstream = info.upstream
    host = str(upstream.attempted[-1].address) if has_host and upstream.attempted else ""
    return info.listener.name, info.listener.filter_chain_name, upstream.cluster.name, host
