"""What stands between main and workers that are processes, whoever starts these.

Main knows its workers as `tcpmesh.server.workers.workers.Workers`: one object, which main tells
what it would tell its only worker.  It is joined to each worker by an `IWorkerLink`; the processes
themselves belong to an `IWorkerProcesses`, which is given to the server, and does this::

    def start(self, workers, store):
        for index in range(workers.count):
            process = self._start(index, workers.counts_fd)   # it has nothing yet
            workers.join(index, link_to(process))             # Begin, and all there is, is sent

    def on_message(self, index, message):
        workers.receive(index, message)

    def on_death(self, index):
        workers.lost(index)
        ...                                                   # another one, and `join` again

A worker's process reads a `Begin` first, and makes its worker of it::

    counts = WorkerCounts(counts_fd, begin.index)
    worker = Worker(
        begin, network, worker_store(begin), send, Random(), counts, owns_store=True
    )

From then on it hands it every message with the sockets that came with it
(`worker.receive(message, sockets)`), in order.  A worker of several binds nothing itself
(`Begin.workers` says that there are several).  Once it has told `Stopped` nothing more comes, and
main closes its link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.stats.store import Store
from tcpmesh.values.link import Begin


class IWorkerLink(Protocol):
    """One worker, as messages go to it."""

    def send(
        self,
        message: WorkerMessage,
        sockets: Sequence[Any] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Tell it something, in order; never waits.

        :param sockets: bound sockets that belong to the message, in this order.  They stay main's,
            which may close them as soon as this returns: what is sent are copies.
        :param descriptors: ... and those of a client.
        """

    def close(self) -> None:
        """It has stopped, and is told nothing more: its process may end."""


class IWorkers(Protocol):
    """All workers, as those see them who start them."""

    @property
    def count(self) -> int:
        """How many there are to be, with numbers from 0."""

    @property
    def counts_fd(self) -> int:
        """The descriptor of the memory that workers share, for a `WorkerCounts` of each."""

    def join(self, index: int, link: IWorkerLink) -> None:
        """A worker is there, for the first time or again: it is told everything."""

    def receive(self, index: int, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """A worker says something.

        :param descriptors: are lent for the time of the call.
        """

    def lost(self, index: int) -> None:
        """A worker is no more, and takes its connections with it; nothing comes from it any more,
        until another one joins in its place.  Nothing happens where it has not joined.
        """


class IWorkerProcesses(Protocol):
    """Starts workers, and starts another one where one is lost."""

    def prepare(self, clock: Any) -> None:
        """Workers will be started soon.  Called while the process may still be root.

        :param clock: the reactor, with a clock that nobody can set.
        """

    def start(self, workers: IWorkers, store: Store) -> None:
        """Start all.  Called as soon as privileges are given up, before clients are accepted.

        :param store: the statistics of main.
        """

    def retire(self) -> None:
        """Another process serves instead of this one: a worker that ends now is not replaced."""

    def pids(self) -> Sequence[int]:
        """The numbers of all processes, as far as they are known."""

    def stop(self) -> Deferred[None]:
        """All have stopped, or are not waited for any more: fires when none is left."""


class IMain(Protocol):
    """Main, as its workers see it."""

    def begin(self, index: int) -> Begin:
        """The first message to a worker."""

    def present(self) -> Iterable[WorkerMessage]:
        """What a worker is to be told of all that there is at this moment, in order."""

    def receive(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """A worker says something, or all do together."""

    def lost(self, worker: int) -> None:
        """A worker is no more, with its connections; another one may take its place."""

    def left(self, worker: int) -> None:
        """A worker answers nothing any more."""

    @property
    def is_asking(self) -> bool:
        """Whether somebody waits for what workers say of their connections."""

    def silent(self, worker: int) -> None:
        """A worker does not answer at present: nobody waits for it."""
