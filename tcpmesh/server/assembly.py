"""Main and a worker, joined by a link: the one way in which a proxy is put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from tcpmesh.accesslog.manager import AccessLogManager
from tcpmesh.interfaces import IAccessLogManager, INetwork
from tcpmesh.server.link.link import ILink, default_link
from tcpmesh.server.main import Main
from tcpmesh.server.worker import Worker, worker_store
from tcpmesh.server.workers.binder import Binder
from tcpmesh.server.workers.workers import Workers
from tcpmesh.stats.store import Store
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.shared.memory import MainCounts
from tcpmesh.values.workers import only_process

DEFAULT_OPTIONS = ServerOptions()


class Assembled(NamedTuple):
    """Both sides of a proxy with one worker."""

    main: Main
    worker: Worker


class AssembledMain(NamedTuple):
    """Main's side of a proxy with several workers, none of which is there yet."""

    main: Main
    workers: Workers


def assemble(
    bootstrap: Any,
    node: Any,
    network: INetwork,
    store: Store,
    *,
    link: ILink | None = None,
    seed: int | None = None,
    options: ServerOptions = DEFAULT_OPTIONS,
    make_access_logs: Callable[..., IAccessLogManager] = AccessLogManager,
    generation: int = 1,
) -> Assembled:
    """A proxy for a bootstrap, that has nothing yet: `Main.build` adds all.

    :param options: the command line.
    :param make_access_logs: makes the files of access logs of either side.
    :param seed: of the random numbers of each side, for the same ones every time.
    :param generation: how many processes there were that have taken over from each other.
    :raise tcpmesh.server.link.link.NoSuchLink: where the environment asks for a link that is not
        there.
    """
    link = default_link() if link is None else link
    with all_or_nothing() as undo:
        main = Main(
            bootstrap,
            node,
            network,
            store,
            link.to_worker,
            Random(seed),
            options,
            make_access_logs,
            generation=generation,
        )
        undo.callback(main.clusters.stop)
        begin = link.begin(main.begin(0))
        worker = Worker(
            begin,
            network,
            worker_store(begin) if link.joins_processes else store,
            link.to_main,
            Random(seed),
            make_access_logs=make_access_logs,
            owns_store=link.joins_processes,
        )
        link.join(main.receive, worker.receive)
        main.ask_numbers()
    return Assembled(main, worker)


def assemble_main(
    bootstrap: Any,
    node: Any,
    network: INetwork,
    store: Store,
    count: int,
    *,
    seed: int | None = None,
    options: ServerOptions = DEFAULT_OPTIONS,
    make_access_logs: Callable[..., IAccessLogManager] = AccessLogManager,
    generation: int = 1,
    processes: Callable[[], Sequence[int]] = only_process,
) -> AssembledMain:
    """As `assemble`, for a proxy with several workers: these are yet to join.

    :param count: how many there are to be.
    :param processes: tells the numbers of all processes of the proxy, main's the first.
    """
    with all_or_nothing() as undo:
        workers = Workers(count, network, MainCounts(count))
        undo.callback(workers.close)
        main = Main(
            bootstrap,
            node,
            network,
            store,
            workers.send,
            Random(seed),
            options,
            make_access_logs,
            workers,
            generation,
            processes,
        )
        workers.serve(main, Binder(main.context, main.receive, count, main.access_logs))
    return AssembledMain(main, workers)
