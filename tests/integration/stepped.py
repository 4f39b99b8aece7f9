"""A Twisted program with a proxy in it, whose wall clock is set by some seconds (its argument)
while clients wait for its timeouts: what they saw is printed as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from tests.integration.embedded import (
    Client,
    EchoServer,
    a_filter,
    address,
    endpoint,
    unanswering,
)

CONFIG = """
static_resources:
  listeners:
  - {{name: idle, address: {any}, filter_chains: [{{filters: [{idle}]}}]}}
  - {{name: hole, address: {any}, filter_chains: [{{filters: [{hole}]}}]}}
  - {{name: busy, address: {any}, filter_chains: [{{filters: [{busy}]}}]}}
  clusters:
  - name: echo
    load_assignment: {{cluster_name: echo, endpoints: [{{lb_endpoints: [{echo}]}}]}}
    health_checks: [{{timeout: 5s, {times}, tcp_health_check: {{}}}}]
  - name: hole
    connect_timeout: 0.3s
    load_assignment: {{cluster_name: hole, endpoints: [{{lb_endpoints: [{mute}]}}]}}
"""

TIMES = "interval: 0.1s, no_traffic_interval: 0.1s, unhealthy_threshold: 1, healthy_threshold: 1"


def tcp_proxy(fields: str) -> str:
    """A tcp_proxy, in YAML flow style."""
    return a_filter("network.tcp_proxy.v3.TcpProxy", f"stat_prefix: t, {fields}")


def config(echo: int, mute: int) -> str:
    """Timeouts of parts of a second, and of ten minutes."""
    return CONFIG.format(
        any=address(0),
        idle=tcp_proxy("cluster: echo, idle_timeout: 0.3s"),
        hole=tcp_proxy("cluster: hole"),
        busy=tcp_proxy("cluster: echo, max_downstream_connection_duration: 600s"),
        echo=endpoint(echo),
        times=TIMES,
        mute=endpoint(mute),
    )


async def main(reactor: Any, step: float) -> dict[str, Any]:
    """The whole program."""
    from twisted.internet.threads import deferToThread

    from tcpmesh.config.load import load
    from tcpmesh.logs.levels import Levels
    from tcpmesh.server.service import Server
    from tcpmesh.testing.mesh import values_of
    from tcpmesh.values.server_options import ServerOptions

    async def wait(seconds: float) -> None:
        """Sleep, by no clock that can be set."""
        await deferToThread(time.sleep, seconds)
        echo.serve()

    mute, echo = unanswering(), EchoServer()
    loaded = load(config_yaml=config(echo.port, mute[0].getsockname()[1]))
    server = Server(reactor, loaded.bootstrap, ServerOptions(), Levels("off", {}))
    server.privilegedStartService()
    server.startService()
    while server.state != "LIVE":
        await wait(0.01)
    idle, hole, busy = (Client(each.addresses[0]) for each in server.listener_statuses())
    await wait(0.05)
    seconds = reactor.seconds
    reactor.seconds = lambda: seconds() + step
    checks = values_of(server.store)["cluster.echo.health_check.attempt"]
    begin = time.monotonic()
    ended: dict[str, float] = {}
    while len(ended) < 2:
        await wait(0.01)
        for name, client in (("idle", idle), ("hole", hole)):
            if client.received() == b"":
                ended.setdefault(name, time.monotonic() - begin)
    made = values_of(server.store)["cluster.echo.health_check.attempt"] - checks
    passed = time.monotonic() - begin
    return {
        "early": [name for name, after in ended.items() if after < 0.2],
        "checked": made >= 2,
        "too often": made > passed / 0.1 + 2,
        "busy": busy.received() is None,
        "uptime": 0 < server.uptime < 60,
    }


if __name__ == "__main__":
    from twisted.internet import reactor
    from twisted.internet.defer import ensureDeferred

    def finished(result: object) -> None:
        """Say what was seen, or what went wrong."""
        print(json.dumps(result if isinstance(result, dict) else str(result)), flush=True)
        reactor.stop()

    reactor.callWhenRunning(
        lambda: ensureDeferred(main(reactor, float(sys.argv[1]))).addBoth(finished)
    )
    reactor.run()
