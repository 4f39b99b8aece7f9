"""All workers of a proxy that has several, as main sees them: main tells them what it would tell
its only one, and hears from them what it would hear from that one.

What main says is first done by the `Binder`, which refuses at once what cannot be; what it does not
refuse every worker is told, with its own sockets where a listener is added.  What workers say comes
together here (`tcpmesh.server.workers.answers`).  A worker that joins, for the first time or in
place of one that died, is told everything that there is at this moment: main can say that at any
time (`IMain.present`), for all it tells are states.

Where there is much to tell, it is told in steps, and what main says meanwhile waits its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpmesh.interfaces import INetwork
from tcpmesh.listener.balancing.exact import are_balanced
from tcpmesh.listener.listeners import tell_failure
from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.server.workers.answers import (
    Ends,
    HostNumberSums,
    RateAnswers,
    Together,
    UnusedHosts,
)
from tcpmesh.server.workers.binder import Binder
from tcpmesh.server.workers.blocks import Blocks
from tcpmesh.server.workers.interface import IMain, IWorkerLink
from tcpmesh.server.workers.ordered_link import OrderedLink
from tcpmesh.server.workers.outcomes import Failing
from tcpmesh.server.workers.passing_sockets import PassingSockets
from tcpmesh.values.link import (
    AddCluster,
    AddListener,
    Answered,
    Ask,
    AskRates,
    Bound,
    BuildAhead,
    BuiltAhead,
    Cleanup,
    ClusterEnded,
    ClusterRefused,
    ConnectOutcome,
    HostNumbers,
    Hosts,
    HostsUnused,
    ListenerRefused,
    Prepare,
    Prepared,
    Rates,
    RemoveCluster,
    RemoveListener,
    ServeCluster,
    ShareClients,
    Start,
    Stop,
    Stopped,
    UpdateChains,
)
from tcpmesh.values.live.traffic import AskTraffic
from tcpmesh.values.shared.memory import MainCounts
from tcpmesh.values.stream.live import AskCloses, AskConnections, CloseConnections
from tcpmesh.values.workers import worker_name

log = Logger(namespace="main")

PATIENCE = 0.25
"""Seconds that an answer is waited for, where who asked can do without."""

SILENCE = 2.0
"""Seconds after which a worker that says nothing is not waited for, where others have answers to
the same question.
"""

STOPPING = 3.0
"""Seconds that workers have for closing what they have; writing access logs takes 2 at most."""

QUESTIONS = (AskConnections, AskCloses, CloseConnections, AskTraffic)
"""What each worker answers in its own time."""


class Workers:
    """All workers.

    :param number: how many there are to be.
    :param counts: the counts that they share, which belong to this from now on.
    """

    def __init__(self, number: int, network: INetwork, counts: MainCounts) -> None:
        self.count = number
        self._network = network
        self._counts = counts
        self._links: dict[int, OrderedLink] = {}
        self._stopping = False
        self._is_prepared = self._is_started = False
        """Whether workers were told to be so."""
        self._asks = count(1)
        self._passing: PassingSockets | None = None
        """Where workers pass clients to each other, if they do."""
        self._look: IDelayedCall | None = None
        """That for workers that do not answer, or do not stop."""
        self._blocks = Blocks(counts)
        self._ends = Ends(self._cluster_ended)
        self._rates = RateAnswers(self._to_main)
        self._unused = UnusedHosts(self._to_main)
        self._numbers = HostNumberSums(self._to_main)
        self._failing = Failing(self._tell)
        self._together = Together(self._all_said)
        self._asked: dict[int, Deferred[None]] = {}
        self._sending: Mapping[type, Callable[[Any], object]] = {
            AddCluster: self._add_cluster,
            ServeCluster: self._serve_cluster,
            RemoveCluster: self._remove_cluster,
            Hosts: self._hosts,
            BuildAhead: self._build_ahead,
            AddListener: self._add_listener,
            UpdateChains: self._update_chains,
            RemoveListener: self._remove_listener,
            AskRates: self._ask_rates,
            Cleanup: self._clean_up,
            Prepare: self._prepare,
            Start: self._start,
            Stop: self._stop,
            **dict.fromkeys(QUESTIONS, self._question),
        }
        self._receiving: Mapping[type, Callable[[int, Any], object]] = {
            ClusterRefused: self._refused,
            ListenerRefused: self._refused,
            Bound: lambda index, told: None,  # the binder has told
            ConnectOutcome: self._outcome,
            ClusterEnded: lambda index, told: self._ends.said(told.cluster, index),
            Rates: lambda index, told: self._rates.said(told, index),
            HostsUnused: lambda index, told: self._unused.said(told, index),
            HostNumbers: lambda index, told: self._numbers.said(told, index),
            Prepared: self._prepared,
            Stopped: self._stopped,
            Answered: lambda index, told: self._together.said(told.ask, index),
        }

    @property
    def counts_fd(self) -> int:
        """The descriptor of the memory that workers share, for a `WorkerCounts` of each."""
        return self._counts.fd

    def serve(self, main: IMain, binder: Binder) -> None:
        """This is the main that they serve."""
        self._main = main
        self._binder = binder

    def joined(self) -> tuple[int, ...]:
        """The workers that are there."""
        return tuple(self._links)

    def ready(self) -> tuple[int, ...]:
        """Those of them that know all they have to, and hear at once what they are told."""
        return tuple(index for index, link in self._links.items() if not link.is_behind)

    # What main says

    def tell(self, worker: int, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Tell one of them something, if it is there.

        :param descriptors: are lent for the time of the call, where it is ready.
        """
        link = self._links.get(worker)
        if link is not None:
            link.send(message, descriptors)

    def send(self, message: WorkerMessage) -> None:
        """Tell all workers something, unless it cannot be."""
        if self._binder.refuses(message):
            return
        act = self._sending.get(type(message))
        if act is not None:
            act(message)
        else:
            self._tell_all(message)

    def answered(self, within: float = PATIENCE) -> Deferred[None]:
        """Fires when every worker has answered what it was asked before, or the time is over."""
        ask = next(self._asks)
        if not self._links:
            return succeed(None)
        asked: Deferred[None] = Deferred()
        self._asked[ask] = asked
        self._together.expect(ask, self._links)
        self._tell_all(Ask(ask))
        if not asked.called:
            call = self._network.clock.callLater(within, self._give_up, ask)
            asked.addCallback(_cancelled, call)
        return asked

    def _question(self, message: WorkerMessage) -> None:
        """Their answers may take long, so it is looked who says anything meanwhile."""
        self._tell_all(message)
        self._look_who_answers()

    def _look_who_answers(self) -> None:
        if self._stopping or (self._look is not None and self._look.active()):
            return
        ask = next(self._asks)
        self._look = self._network.clock.callLater(SILENCE, self._see_who_answered, ask)
        self._together.expect(ask, self._links)
        self._tell_all(Ask(ask))

    def _see_who_answered(self, ask: int) -> None:
        for index in self._together.left(ask):
            self._main.silent(index)
        self._together.expect(ask, ())
        if self._main.is_asking:
            self._look_who_answers()

    def _give_up(self, ask: int) -> None:
        """Somebody has waited long enough for the answers."""
        self._together.expect(ask, ())

    def _tell_all(self, message: WorkerMessage) -> None:
        for link in tuple(self._links.values()):
            link.send(message)

    def _tell(self, worker: int, message: WorkerMessage) -> None:
        self._links[worker].send(message)

    def _to_main(self, message: MainMessage) -> None:
        self._main.receive(message)

    def _add_cluster(self, told: AddCluster) -> None:
        self._blocks.add_cluster(told)
        self._ends.added(told.cluster, told.message.name, self._links)
        for link in tuple(self._links.values()):
            link.send(self._blocks.of_cluster(told.cluster))
            link.send(told)

    def _serve_cluster(self, told: ServeCluster) -> None:
        before = self._ends.served(told.cluster)
        self._tell_all(told)
        if before is not None:
            self._forget_cluster(before)

    def _remove_cluster(self, told: RemoveCluster) -> None:
        self._tell_all(told)
        self._forget_cluster(told.cluster)

    def _forget_cluster(self, number: int) -> None:
        self._blocks.remove_cluster(number)
        self._numbers.forget(number)
        self._failing.forget(number)
        self._ends.leave(number)

    def _hosts(self, told: Hosts) -> None:
        self._failing.keep(told.cluster, told.keys)
        self._numbers.keep(told.cluster, told.keys)
        self._tell_all(told)

    def _add_listener(self, told: AddListener) -> None:
        self._blocks.add_listener(told)
        if are_balanced(told.message) and self._passing is None:
            self._share_clients()
        if told.predecessor:
            self._blocks.remove_listener(told.predecessor)
        for link in tuple(self._links.values()):
            link.send(self._blocks.of_listener(told.listener))
            link.send(told)

    def _build_ahead(self, told: BuildAhead) -> None:
        """Here; each worker serves its clients while it builds, and so needs no time before."""
        trying = self._network.cooperator.coiterate(self._binder.trying(told))
        trying.addErrback(tell_failure)
        trying.addCallback(lambda _: self._main.receive(BuiltAhead(told.listener)))

    def _share_clients(self) -> None:
        try:
            self._passing = PassingSockets(self.count)
        except OSError as e:
            log.warn("clients stay where they are accepted: {reason}", reason=e.strerror)
            return
        self._tell_all(ShareClients())

    def _update_chains(self, told: UpdateChains) -> None:
        blocks = self._blocks.update_chains(told)
        for link in tuple(self._links.values()):
            link.send(blocks)
            link.send(told)

    def _remove_listener(self, told: RemoveListener) -> None:
        self._blocks.remove_listener(told.listener)
        self._tell_all(told)

    def _ask_rates(self, told: AskRates) -> None:
        self._rates.asked(told.cluster, self._links)
        self._tell_all(told)

    def _clean_up(self, told: Cleanup) -> None:
        self._unused.asked(told.cluster, self._links)
        self._tell_all(Cleanup(told.cluster, is_alone=False))

    def _prepare(self, told: Prepare) -> None:
        """Those that have not joined yet are waited for too."""
        self._is_prepared = True
        self._together.expect(Prepared, range(self.count))
        self._tell_all(told)

    def _start(self, told: Start) -> None:
        self._is_started = True
        self._tell_all(told)

    def _stop(self, told: Stop) -> None:
        self._stopping = True
        self._look_no_more()
        if self._links:
            self._look = self._network.clock.callLater(STOPPING, self._leave_behind)
        self._together.expect(Stopped, self._links)
        self._tell_all(told)

    # What workers say

    def receive(self, index: int, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """A worker says something.

        :param descriptors: are lent for the time of the call.
        """
        if index not in self._links:
            return
        act = self._receiving.get(type(message))
        if act is not None:
            act(index, message)
        else:
            self._main.receive(message, descriptors)

    def _refused(self, index: int, told: ClusterRefused | ListenerRefused) -> None:
        """It could be built here."""
        what, number = (
            ("cluster", told.cluster)
            if isinstance(told, ClusterRefused)
            else ("listener", told.listener)
        )
        log.error(
            "worker {index} cannot build {what} {number}: {reason}",
            index=index,
            what=what,
            number=number,
            reason=told.reason,
        )
        if isinstance(told, ClusterRefused):
            self._ends.refused(told.cluster, index)

    def _outcome(self, index: int, told: ConnectOutcome) -> None:
        self._failing.outcome(told, index, self._links)
        self._main.receive(told)

    def _cluster_ended(self, number: int) -> None:
        self._main.receive(ClusterEnded(number))

    def _prepared(self, index: int, told: Prepared) -> None:
        if Prepared in self._together:
            self._together.said(Prepared, index)
        elif self._is_started:  # it has joined late
            self._tell(index, Start())

    def _stopped(self, index: int, told: Stopped) -> None:
        link = self._links.pop(index)
        link.close()
        self._main.left(index)
        self._leave(index)

    def _leave_behind(self) -> None:
        """Some do not stop, and main does not wait for them: their links end."""
        for index in tuple(self._links):
            log.warn("{name} does not stop, and is not waited for", name=worker_name(index))
            self._stopped(index, Stopped())

    def _look_no_more(self) -> None:
        if self._look is not None:
            _cancel(self._look)

    def _all_said(self, key: Any) -> None:
        if isinstance(key, int):
            asked = self._asked.pop(key, None)
            if asked is not None:
                asked.callback(None)
        else:
            if key is Stopped:
                self._look_no_more()
            self._main.receive(key())

    # Who is there

    def join(self, index: int, link: IWorkerLink) -> None:
        """A worker is there, for the first time or again: it is told everything."""
        if self._stopping:
            link.close()
            return
        self._counts.worker_started(index)
        joined = self._links[index] = OrderedLink(
            index, link, self._network, self._binder, self._passing_sockets
        )
        joined.send_much([self._main.begin(index), *self._present(index)])
        if self._is_prepared or self._is_started:
            self._together.add(Prepared, index)
            joined.send(Prepare())

    def _passing_sockets(self, index: int) -> list[Any]:
        return list(self._passing.of(index)) if self._passing is not None else []

    def _present(self, index: int) -> Iterator[WorkerMessage]:
        if self._passing is not None:
            yield ShareClients()
        for message in self._main.present():
            if isinstance(message, AddCluster):
                self._ends.joined(message.cluster, index)
                yield self._blocks.of_cluster(message.cluster)
            elif isinstance(message, AddListener):
                yield self._blocks.of_listener(message.listener)
            yield message

    def lost(self, index: int) -> None:
        """A worker is no more, and takes its connections with it."""
        link = self._links.pop(index, None)
        if link is None:
            return
        link.forget()
        self._counts.worker_died(index)
        self._failing.lost(index)
        self._numbers.lost(index)
        self._main.lost(index)
        self._leave(index)

    def _leave(self, index: int) -> None:
        """Nobody waits for a worker any more."""
        for each in (self._ends, self._rates, self._unused, self._together):
            each.lost(index)

    def close(self) -> None:
        """Nothing is to be left of them."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._counts.close()
        if self._passing is not None:
            self._passing.close()


def _cancelled(_: None, call: IDelayedCall) -> None:
    _cancel(call)


def _cancel(call: IDelayedCall) -> None:
    if call.active():
        call.cancel()
