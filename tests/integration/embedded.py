"""A Twisted program of its own with a proxy in it, started and stopped several times: run with the
name of a reactor and how often.

At each stop there are clients in every state, and checks and questions nobody answers.  What is
left in the reactor and of descriptors when `stopService` has fired is printed as JSON, a line for
each stop, with what the clients saw.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from typing import Any

REACTORS = ("select", "poll", "epoll", "asyncio")

FILTERS = "type.googleapis.com/envoy.extensions.filters"
CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"

CONFIG = """
admin: {{address: {any}}}
static_resources:
  listeners:
  - {{name: relaying, address: {any}, filter_chains: [{{filters: [{good}]}}]}}
  - {{name: connecting, address: {any}, filter_chains: [{{filters: [{slow}]}}]}}
  - {{name: waiting, address: {any}, filter_chains: [{{filters: [{late}]}}]}}
  - name: looking
    address: {any}
    listener_filters: [{header}]
    filter_chains: [{{filters: [{good}]}}]
  - {{name: limited, address: {any}, filter_chains: [{{filters: [{limit}, {good}]}}]}}
  clusters:
  - {{name: good, load_assignment: {{cluster_name: good, endpoints: [{{lb_endpoints: [{echo}]}}]}}}}
  - name: slow
    connect_timeout: 60s
    load_assignment: {{cluster_name: slow, endpoints: [{{lb_endpoints: [{mute}]}}]}}
  - name: checked
    load_assignment: {{cluster_name: checked, endpoints: [{{lb_endpoints: [{mute}]}}]}}
    wait_for_warm_on_init: false
    type: STRICT_DNS
    health_checks:
    - {{name: a, {check}, tcp_health_check: {{}}}}
    - {{name: b, {check}, http_health_check: {{path: /}}}}
    outlier_detection: {{}}
  - name: named
    type: STRICT_DNS
    wait_for_warm_on_init: false
    load_assignment: {{cluster_name: named, endpoints: [{{lb_endpoints: [{name}]}}]}}
    typed_dns_resolver_config:
      {{name: cares, typed_config: {{"@type": {cares}, resolvers: [{dns}]}}}}
"""

CHECK = "timeout: 60s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"


def address(port: int, host: str = "127.0.0.1") -> str:
    """A socket address, in YAML flow style."""
    return f"{{socket_address: {{address: {host}, port_value: {port}}}}}"


def endpoint(port: int, host: str = "127.0.0.1") -> str:
    """An endpoint, in YAML flow style."""
    return f"{{endpoint: {{address: {address(port, host)}}}}}"


def a_filter(kind: str, fields: str = "") -> str:
    """A filter of this type, in YAML flow style."""
    return f'{{name: f, typed_config: {{"@type": {FILTERS}.{kind}, {fields}}}}}'


def tcp_proxy(cluster: str, more: str = "") -> str:
    """A tcp_proxy, in YAML flow style."""
    return a_filter("network.tcp_proxy.v3.TcpProxy", f"stat_prefix: t, cluster: {cluster}{more}")


def config(echo: int, mute: int, dns: int) -> str:
    """What the proxy serves: hosts that echo, that never answer, and a server of names that never
    answers either.
    """
    late = ", max_early_data_bytes: 10, upstream_connect_mode: ON_DOWNSTREAM_DATA"
    limit = "stat_prefix: l, max_connections: 1, delay: 60s"
    return CONFIG.format(
        any=address(0),
        cares=CARES,
        check=CHECK,
        good=tcp_proxy("good"),
        slow=tcp_proxy("slow"),
        late=tcp_proxy("good", late),
        header=a_filter("listener.proxy_protocol.v3.ProxyProtocol"),
        limit=a_filter("network.connection_limit.v3.ConnectionLimit", limit),
        echo=endpoint(echo),
        mute=endpoint(mute),
        name=endpoint(80, "a.test"),
        dns=address(dns),
    )


def unanswering() -> list[socket.socket]:
    """A listening socket whose queue is full, and what fills it."""
    held = [socket.create_server(("127.0.0.1", 0), backlog=0)]
    for _ in range(2):
        held.append(socket.socket())
        held[-1].setblocking(False)
        held[-1].connect_ex(held[0].getsockname())
    return held


def state_of(reactor: Any) -> list[str]:
    """What the reactor watches and will do, and the open descriptors by what they are."""
    watched = [type(each).__name__ for each in (*reactor.getReaders(), *reactor.getWriters())]
    calls = [str(call) for call in reactor.getDelayedCalls()]
    files = []
    for name in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink(f"/proc/self/fd/{name}").partition("[")[0])
        except OSError:
            continue  # of the listing itself
    return sorted(watched) + calls + sorted(files)


class EchoServer:
    """Where the proxy connects to, outside of the reactor."""

    def __init__(self) -> None:
        self.socks = [socket.create_server(("127.0.0.1", 0))]
        self.socks[0].setblocking(False)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.socks[0].getsockname()[1])

    def close(self) -> None:
        """Close all."""
        for sock in self.socks:
            sock.close()

    def serve(self) -> None:
        """Do what can be done now."""
        for sock in tuple(self.socks):
            try:
                if sock is self.socks[0]:
                    self.socks.append(sock.accept()[0])
                    self.socks[-1].setblocking(False)
                    continue
                data = sock.recv(1000)
                sock.send(data)
                if not data:
                    self.socks.remove(sock)
                    sock.close()
            except OSError:
                pass  # nobody comes, nothing came, or it is over


class Client:
    """A client of the proxy, outside of the reactor."""

    def __init__(self, where: str) -> None:
        host, _, port = where.rpartition(":")
        self.sock = socket.create_connection((host, int(port)))
        self.sock.setblocking(False)

    def received(self) -> bytes | None:
        """What came since the last time, `None` where nothing did, and nothing where it is over."""
        try:
            return self.sock.recv(1000)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""


async def once(reactor: Any) -> dict[str, Any]:
    """Start, connect clients, stop; what they saw, and what is left."""
    from twisted.internet.task import deferLater

    from tcpmesh import Proxy

    mute, echo = unanswering(), EchoServer()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 0))
    yaml = config(echo.port, mute[0].getsockname()[1], names.getsockname()[1])
    proxy = Proxy(config_yaml=yaml)
    before = state_of(reactor)
    await proxy.start()
    listeners = ("relaying", "connecting", "waiting", "looking", *["limited"] * 3)
    clients = [Client(*proxy.addresses(name)) for name in listeners]
    relaying = clients[0]
    admin = Client(proxy.admin_address)
    admin.sock.send(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
    relaying.sock.send(b"hello")
    seen: dict[Client, bytes] = {relaying: b"", admin: b""}
    while not all(seen.values()):
        await deferLater(reactor, 0.01)
        echo.serve()
        for client in seen:
            seen[client] += client.received() or b""
    await proxy.stop()
    left = state_of(reactor)
    for each in (*clients, admin):
        each.sock.setblocking(True)
        each.sock.settimeout(5)
    ended = [client.received() == b"" for client in (*clients, admin)]
    mine = [each.sock for each in (*clients, admin)] + echo.socks[1:]
    for sock in (*mute, names, echo.socks[0], *mine):
        sock.close()
    return {
        "echo": seen[relaying].decode(),
        "ended": ended,
        "left": without(left, before + ["socket:"] * len(mine)),
    }


async def refused(reactor: Any) -> dict[str, Any]:
    """A start that fails at its last step, the admin interface; what is left of it."""
    from tcpmesh import CannotStart, Proxy

    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = config(taken.getsockname()[1], taken.getsockname()[1], 1)
        admin = f"admin: {{address: {address(taken.getsockname()[1])}}}"
        text = text.replace(f"admin: {{address: {address(0)}}}", admin)
        before = state_of(reactor)
        try:
            await Proxy(config_yaml=text).start()
        except CannotStart as e:
            said = str(e).partition("'")[0]
        return {"refused": said, "left": without(state_of(reactor), before)}


def without(these: list[str], those: list[str]) -> list[str]:
    rest = list(these)
    for each in those:
        if each in rest:
            rest.remove(each)
    return rest


async def main(reactor: Any, times: int) -> None:
    """The whole program.  Twisted keeps a descriptor in reserve from its first port on."""
    from twisted.internet.protocol import Factory
    from twisted.logger import globalLogBeginner

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    await reactor.listenTCP(0, Factory(), interface="127.0.0.1").stopListening()
    for _ in range(times):
        print(json.dumps(await once(reactor)), flush=True)
    for _ in range(times):
        print(json.dumps(await refused(reactor)), flush=True)


if __name__ == "__main__":
    importlib.import_module(f"twisted.internet.{sys.argv[1]}reactor").install()
    from twisted.internet import reactor
    from twisted.internet.defer import ensureDeferred

    def finished(result: object) -> None:
        """Say what went wrong, if anything did."""
        if result is not None:
            print(json.dumps({"failed": str(result)}), flush=True)
        reactor.stop()

    reactor.callWhenRunning(
        lambda: ensureDeferred(main(reactor, int(sys.argv[2]))).addBoth(finished)
    )
    reactor.run()
