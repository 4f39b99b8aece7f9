"""A Twisted program whose proxy has two workers, started and stopped several times: run with how
often.

At each stop there are clients in both workers.  What is left in the reactor, of descriptors and of
processes when `stopService` has fired is printed as JSON, a line for each stop.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from tests.integration.embedded import Client, address, endpoint, state_of, tcp_proxy, without

CLIENTS = 8

CONFIG = """
admin: {{address: {any}}}
static_resources:
  listeners:
  - {{name: own, address: {any}, filter_chains: [{{filters: [{proxy}]}}]}}
  - name: shared
    enable_reuse_port: false
    address: {any}
    filter_chains: [{{filters: [{proxy}]}}]
  clusters:
  - {{name: mute, load_assignment: {{cluster_name: mute, endpoints: [{{lb_endpoints: [{mute}]}}]}}}}
"""


def children() -> list[int]:
    """The processes that this one has started."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(each) for each in text.split()]


async def once(reactor: Any) -> dict[str, Any]:
    """Start, connect clients, stop; what they saw, and what is left."""
    from twisted.internet.task import deferLater

    from tcpmesh.config.load import load
    from tcpmesh.logs.levels import Levels
    from tcpmesh.logs.log import Log
    from tcpmesh.server.processes.supervisor import WorkerProcesses
    from tcpmesh.server.service import Server
    from tcpmesh.values.server_options import ServerOptions

    with socket.create_server(("127.0.0.1", 0)) as mute:
        place = endpoint(mute.getsockname()[1])
        text = CONFIG.format(any=address(0), proxy=tcp_proxy("mute"), mute=place)
        bootstrap = load(config_yaml=text).bootstrap
        before = state_of(reactor)
        log = Log(Levels("error", {}))
        processes = WorkerProcesses(bootstrap, log, type(reactor).__module__)
        server = Server(
            reactor, bootstrap, ServerOptions(concurrency=2), log.levels, processes=processes
        )
        server.privilegedStartService()
        server.startService()
        await server.live
        places = [each.addresses[0] for each in server.listener_statuses()]
        clients = [Client(places[number % 2]) for number in range(CLIENTS)]
        await deferLater(reactor, 0.1)
        started = len(children())
        await server.stopService()
        left = state_of(reactor)
        for each in clients:
            each.sock.setblocking(True)
            each.sock.settimeout(5)
        ended = [client.received() == b"" for client in clients]
        for each in clients:
            each.sock.close()
    return {
        "started": started,
        "ended": ended,
        "left": without(left, before + ["socket:"] * CLIENTS),
        "children": len(children()),
    }


async def main(reactor: Any, times: int) -> None:
    """The whole program.  Twisted keeps a descriptor in reserve from its first port on."""
    from twisted.internet.protocol import Factory

    await reactor.listenTCP(0, Factory(), interface="127.0.0.1").stopListening()
    for _ in range(times):
        print(json.dumps(await once(reactor)), flush=True)


if __name__ == "__main__":
    from twisted.internet import reactor
    from twisted.internet.defer import ensureDeferred

    def finished(result: object) -> None:
        """Say what went wrong, if anything did."""
        if result is not None:
            print(json.dumps({"failed": str(result)}), flush=True)
        reactor.stop()

    reactor.callWhenRunning(
        lambda: ensureDeferred(main(reactor, int(sys.argv[1]))).addBoth(finished)
    )
    reactor.run()
