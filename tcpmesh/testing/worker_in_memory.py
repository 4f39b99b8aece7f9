"""A worker of several, in the process of its main: what either side tells the other is written as
bytes and read again, and sockets are copied, as it would be between processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tcpmesh.interfaces import IAccessLogManager
from tcpmesh.server.link.frames import TO_MAIN, TO_WORKER
from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.server.worker import Worker, worker_store
from tcpmesh.server.workers.interface import IWorkers
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.link import Begin, Stop
from tcpmesh.values.shared.memory import WorkerCounts


class WorkerInMemory:
    """One worker, and an `IWorkerLink` to it: it joins when it is made.

    :param make_access_logs: makes the files of its access logs.
    """

    worker: Worker

    def __init__(
        self,
        index: int,
        workers: IWorkers,
        network: MemoryNetwork,
        make_access_logs: Callable[..., IAccessLogManager],
        seed: int = 1,
    ) -> None:
        self.index = index
        self.told: list[WorkerMessage] = []
        """What main has told it."""
        self.is_closed = False
        """Whether main has nothing more to tell it."""
        self.is_stuck = False
        """Whether it hears nothing for now; a test sets that, and calls `go_on`."""
        self._unheard: list[tuple[WorkerMessage, list[Any]]] = []
        self._workers = workers
        self._network = network
        self._make_access_logs = make_access_logs
        self._seed = seed
        self._is_dead = False
        workers.join(index, self)

    def send(
        self,
        message: WorkerMessage,
        sockets: Sequence[Any] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Main tells it something; where it lends descriptors the worker is not to be stuck."""
        made = TO_WORKER.decode(TO_WORKER.encode(message))
        self.told.append(made)
        copies = [sock.dup() for sock in sockets] or list(descriptors)
        if self.is_stuck:
            self._unheard.append((made, copies))
        else:
            self._hear(made, copies)

    def _hear(self, message: WorkerMessage, sockets: list[Any]) -> None:
        if isinstance(message, Begin):
            counts = WorkerCounts(os.dup(self._workers.counts_fd), self.index)
            self.worker = Worker(
                message,
                self._network,
                worker_store(message),
                self._tell,
                Random(self._seed),
                counts,
                make_access_logs=self._make_access_logs,
                owns_store=True,
            )
        else:
            self.worker.receive(message, sockets)

    def go_on(self) -> None:
        """It hears what was told meanwhile."""
        self.is_stuck = False
        unheard, self._unheard = self._unheard, []
        for message, sockets in unheard:
            self._hear(message, sockets)

    def close(self) -> None:
        """Main has nothing more to tell it."""
        self.is_closed = True

    def die(self) -> None:
        """It is gone with all its connections, and main hears of nothing but that."""
        self._is_dead = True
        self.worker.receive(Stop())
        self._network.pump()
        self._workers.lost(self.index)

    def _tell(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        if not self._is_dead:
            made = TO_MAIN.decode(TO_MAIN.encode(message))
            self._workers.receive(self.index, made, descriptors)
