"""How much traffic there is and was: main asks its workers every few seconds, and keeps the answers
of the last ten minutes, so that who begins to look sees more than a point.

Asking costs the workers a walk over all connections.  So the more that takes, the more rarely main
asks by itself: workers never spend more than a two-hundredth of their time on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from time import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.values.live.traffic import AskTraffic, Flow, FlowCounts, Sample, Traffic, TrafficTold
from tcpmesh.values.workers import only_worker

PERIOD = 5.0
KEPT = 600.0
"""Seconds."""

SHARE = 200


class Watching:
    """What main knows of the traffic of all workers.

    :param send: tells all workers.
    :param clock: the network's.
    :param workers: those that there are at this moment.
    :param wall: seconds since 1970.
    """

    def __init__(
        self,
        send: Callable[[Any], object],
        clock: IReactorTime,
        workers: Callable[[], Collection[int]] = only_worker,
        wall: Callable[[], float] = time,
    ) -> None:
        self._send = send
        self._clock = clock
        self._workers = workers
        self._wall = wall
        self._asking: list[Deferred[Traffic]] = []
        self._spent = 0.0
        """Seconds that the last answer took the worker that it took longest."""
        self._told: list[TrafficTold] = []
        self._left: set[int] = set()
        """Those that have not answered yet."""
        self._last: dict[int, TrafficTold] = {}
        """What each has told last."""
        self._gone = (0, 0, 0)
        """The clients that those have had that are no more, and their bytes."""
        self._flows: dict[Flow, int] = {}
        self._next: IDelayedCall | None = None
        self._is_started = False
        self.samples: deque[Sample] = deque()
        """Those of the last ten minutes, five seconds or more apart."""
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            FlowCounts: self._take_flows,
            TrafficTold: self._take,
        }
        """What is done with each message of a worker's."""

    def start(self) -> None:
        """Ask now, and then every few seconds."""
        self._is_started = True
        self._ask()

    def _ask(self) -> None:
        self._next = None
        self.traffic().addCallback(self._sampled)

    def stop(self) -> None:
        """Ask no more."""
        self._is_started = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def traffic(self) -> Deferred[Traffic]:
        """How much there is now; whoever asks meanwhile gets the same answer."""
        answered: Deferred[Traffic] = Deferred()
        self._asking.append(answered)
        if len(self._asking) == 1:
            self._left = set(self._workers())
            if self._left:
                self._send(AskTraffic())
            else:
                self._finish()
        return answered

    def lost(self, worker: int) -> None:
        """A worker is no more: nobody waits for its answer."""
        last = self._last.pop(worker, None)
        if last is not None:
            accepted, received, sent = self._gone
            self._gone = (
                accepted + last.accepted,
                received + last.received,
                sent + last.sent,
            )
        if worker in self._left:
            self._answered(worker)

    @property
    def is_asking(self) -> bool:
        """Whether somebody waits for answers."""
        return bool(self._left)

    def silent(self, worker: int) -> None:
        """A worker does not answer anything at present: it counts as it was when it last did."""
        if worker in self._left:
            if worker in self._last:
                self._told.append(self._last[worker])
            self._answered(worker)

    def _sampled(self, _: Traffic) -> None:
        if self._is_started:
            self._next = self._clock.callLater(max(PERIOD, SHARE * self._spent), self._ask)

    def _take_flows(self, told: FlowCounts) -> None:
        for *names, count in told.flows:
            flow = Flow(*names)
            self._flows[flow] = self._flows.get(flow, 0) + count

    def _take(self, told: TrafficTold) -> None:
        if told.worker in self._left:
            self._told.append(told)
            self._last[told.worker] = told
            self._answered(told.worker)

    def _answered(self, worker: int) -> None:
        self._left.discard(worker)
        if not self._left:
            self._finish()

    def _finish(self) -> None:
        all_told, self._told = self._told, []
        flows, self._flows = self._flows, {}
        accepted, received, sent = self._gone
        sample = Sample(
            self._wall(),
            sum(each.open for each in all_told),
            accepted + sum(each.accepted for each in all_told),
            received + sum(each.received for each in all_told),
            sent + sum(each.sent for each in all_told),
        )
        self._spent = max((each.spent for each in all_told), default=0.0)
        self._keep(sample)
        asking, self._asking = self._asking, []
        for each in asking:
            each.callback(Traffic(sample, flows))

    def _keep(self, sample: Sample) -> None:
        samples = self.samples
        if samples and sample.when < samples[-1].when:
            samples.clear()  # The time of day was set back.
        if not samples or sample.when - samples[-1].when >= PERIOD - 0.5:
            samples.append(sample)
        while sample.when - samples[0].when > KEPT:
            samples.popleft()
