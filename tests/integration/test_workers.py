"""A real `twistd tcpmesh` with several workers: they serve as one proxy, and what ends one of them
ends nobody else.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import signal
import socket
import socketserver
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.child import Child, wait_for
from tests.integration.descendants import descendants
from tests.integration.wall.sitecustomize import FILE

TYPES = "type.googleapis.com/envoy.extensions"
PATIENCE = 10.0
WATCHDOG = {"miss_timeout": "0.1s", "megamiss_timeout": "0.3s", "kill_timeout": "1s"}
ASLEEP = 1.5
"""Seconds: longer than the watchdog waits."""

WALL = str(Path(__file__).with_name("wall"))


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what comes."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EchoHandler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self.shutdown()
        self.server_close()


class EchoHandler(socketserver.BaseRequestHandler):
    """One client of `Echo`."""

    def handle(self) -> None:
        """Until it ends."""
        with contextlib.suppress(OSError):
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)


def tcp_proxy(name: str) -> dict[str, Any]:
    """The filter."""
    kind = f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"
    config = {"@type": kind, "stat_prefix": name, "cluster": "echo"}
    if name == "idle":
        config["idle_timeout"] = "1s"
    return {"name": "t", "typed_config": config}


def limit(kind: str, **fields: Any) -> dict[str, Any]:
    """A filter that limits clients."""
    url = f"type.googleapis.com/{kind}"
    return {"name": "l", "typed_config": {"@type": url, "stat_prefix": "p", **fields}}


_BUCKET = {"max_tokens": 5, "fill_interval": "1000s"}
_RATE = limit(
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    token_bucket=_BUCKET,
    share_key="k",
)
LIMITED = {
    "each": limit(
        "tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit", max_connections=5
    ),
    "rate": _RATE,
    "rate_too": _RATE,
    "all": limit(
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", max_connections=5
    ),
}
"""Listeners with a limit, and the filter of each."""


def tcp(port: int = 0) -> dict[str, Any]:
    """An address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(folder: Path, upstream: int, **fields: Any) -> str:
    """A bootstrap with a listener of each kind."""
    certificate, key = Authority().issue("localhost")
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(certificate)
    files = {
        "private_key": {"filename": str(folder / "key.pem")},
        "certificate_chain": {"filename": str(folder / "cert.pem")},
    }
    tls = {
        "name": "tls",
        "typed_config": {
            "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [files]},
        },
    }
    log = {
        "name": "log",
        "typed_config": {
            "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
            "path": str(folder / "access.log"),
            "log_format": {"text_format_source": {"inline_string": "%CONNECTION_ID%\n"}},
        },
    }
    listeners: list[dict[str, Any]] = [
        {"name": "own", "stat_prefix": "own", "address": tcp(), "access_log": [log]},
        {"name": "shared", "address": tcp(), "enable_reuse_port": False},
        {
            "name": "exact",
            "stat_prefix": "exact",
            "address": tcp(),
            "connection_balance_config": {"exact_balance": {}},
        },
        {"name": "unix", "address": {"pipe": {"path": str(folder / "down.sock")}}},
        {"name": "tls", "address": tcp()},
        {"name": "idle", "address": tcp()},
        *({"name": name, "address": tcp()} for name in LIMITED),
    ]
    for each in listeners:
        limits = [LIMITED[each["name"]]] if each["name"] in LIMITED else []
        chain: dict[str, Any] = {"filters": [*limits, tcp_proxy(each["name"])]}
        if each["name"] == "tls":
            chain["transport_socket"] = tls
        each["filter_chains"] = [chain]
    hosts = [{"endpoint": {"address": tcp(upstream)}}]
    cluster = {
        "name": "echo",
        "load_assignment": {"cluster_name": "echo", "endpoints": [{"lb_endpoints": hosts}]},
    }
    static = {"listeners": listeners, "clusters": [cluster]}
    return json.dumps({"admin": {"address": tcp()}, "static_resources": static, **fields})


def processes_below(process: int) -> dict[str, int]:
    """The processes of a proxy besides main, by their names: those that one has started."""
    found = {}
    for pid in descendants(process):
        with contextlib.suppress(OSError):
            found[Path(f"/proc/{pid}/comm").read_text().strip()] = pid
    return {name: pid for name, pid in found.items() if name.startswith("tcpmesh:")}


class Proxy(Child):
    """A proxy with workers, and an upstream that echoes."""

    def __init__(
        self,
        workers: int,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="workers")))
        self.echo = Echo()
        self.stack.callback(self.echo.close)
        text = configuration(self.folder, self.echo.server_address[1], **fields)
        super().__init__(text, ("--concurrency", str(workers), *arguments), environ)
        self.wait_ready()
        found = re.findall(r"^(\w+)::127.*:(\d+)$", self.admin("/listeners")[1], re.MULTILINE)
        self.ports = {name: int(port) for name, port in found}

    def stop(self) -> int:
        """End it, and what it was for."""
        status = super().stop()
        self.stack.close()
        return status

    def connect(self, listener: str = "own") -> socket.socket:
        """A client."""
        if listener == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(self.folder / "down.sock"))
        else:
            sock = socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE)
        sock.settimeout(PATIENCE)
        if listener == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        return sock

    @property
    def processes(self) -> dict[str, int]:
        """Those besides main."""
        return processes_below(self.pid)


def echoes(sock: socket.socket, data: bytes = b"hello") -> bool:
    """Whether what a client sends comes back."""
    try:
        sock.sendall(data)
        came = b""
        while len(came) < len(data) and (part := sock.recv(1 << 16)):
            came += part
    except OSError:
        return False
    return came == data


def is_gone(pid: int) -> bool:
    """Whether a process is no more, or a zombie that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@cache
def two_workers() -> Proxy:
    """The proxy of several tests."""
    proxy = Proxy(2, "--log-path", "app.log", "--file-flush-interval-msec", "50")
    atexit.register(proxy.stop)
    return proxy


class ServingTests(SynchronousTestCase):
    """Two workers, for all tests."""

    def setUp(self) -> None:
        """The proxy runs."""
        self.proxy = two_workers()
        self.log = self.proxy.path / "app.log"

    def clients(self, count: int, listener: str = "own") -> list[socket.socket]:
        """Clients that echo."""
        socks = [self.proxy.connect(listener) for _ in range(count)]
        for sock in socks:
            self.addCleanup(sock.close)
            self.assertTrue(echoes(sock))
        return socks

    def of_workers(self, name: str, listener: str = "own") -> list[int]:
        """A statistic of each worker."""
        stats = self.proxy.stats()
        return [stats[f"listener.{listener}.worker_{index}.{name}"] for index in (0, 1)]

    def test_both_serve(self) -> None:
        """Clients are spread over both workers, by sockets of their own, and the admin interface
        shows one proxy.
        """
        self.clients(40)
        counts = self.of_workers("downstream_cx_active")
        self.assertGreater(min(counts), 0, counts)
        self.assertEqual(sum(counts), 40)
        stats = self.proxy.stats()
        self.assertEqual(stats["server.concurrency"], 2)
        self.assertEqual(stats["cluster.echo.upstream_cx_active"], 40)
        self.assertIn("::cx_active::40\n", self.proxy.admin("/clusters")[1])
        listed = json.loads(self.proxy.admin("/connections?format=json")[1])["connections"]
        self.assertEqual(len(listed), 40)
        info = json.loads(self.proxy.admin("/server_info")[1])
        self.assertEqual((info["state"], info["command_line_options"]["concurrency"]), ("LIVE", 2))
        self.assertEqual(len(self.proxy.admin("/listeners")[1].splitlines()), 10)

    def test_kinds_of_sockets(self) -> None:
        """A socket that workers share, one of a path and one with TLS serve as well."""
        for listener in ("shared", "unix", "tls"):
            self.clients(8, listener)

    def test_exact_balance(self) -> None:
        """With exact_balance each worker has as many clients, whichever the kernel would choose,
        also after those of one have gone.
        """
        socks = self.clients(20, "exact")
        self.assertEqual([10, 10], self.of_workers("downstream_cx_active", "exact"))
        listed = json.loads(self.proxy.admin("/connections?format=json")[1])["connections"]
        of_first = {each["client"] for each in listed if each["worker"] == 0}
        for sock in socks:
            host, port = sock.getsockname()
            if f"{host}:{port}" in of_first:
                sock.close()
        self.proxy.wait_stat("listener.exact.downstream_cx_active", 10)
        self.clients(12, "exact")
        self.assertEqual([11, 11], self.of_workers("downstream_cx_active", "exact"))

    def test_limits(self) -> None:
        """Limits hold for both workers together: of a client, of a chain, and of all filters with
        one share_key, but for the one more that two may let in at the same moment; what ends makes
        room, whichever worker had it.
        """
        for listeners in (["rate", "rate_too"], ["all"], ["each"]):
            socks = [self.proxy.connect(listeners[i % len(listeners)]) for i in range(20)]
            for sock in socks:
                self.addCleanup(sock.close)
            self.assertIn(sum(echoes(sock) for sock in socks), (5, 6), listeners)
        for sock in socks:
            sock.close()
        self.proxy.wait_stat("client_limit.p.active_connections", 0)
        self.assertEqual({}, self.known())
        socks = [self.proxy.connect("each") for _ in range(20)]
        for sock in socks:
            self.addCleanup(sock.close)
        served = sum(echoes(sock) for sock in socks)
        self.assertIn(served, (5, 6))
        self.assertEqual({"127.0.0.1": served}, self.known())

    def known(self) -> dict[str, int]:
        """The clients that limits know, and how many connections each has."""
        told = json.loads(self.proxy.admin("/client_limits?format=json")[1])["clients"]
        return {row["client"]: row["active"] for row in told}

    def test_resumed(self) -> None:
        """A client with a ticket resumes its session, whichever worker it meets."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = context.maximum_version = version
            session = None
            for number in range(16):
                address = "127.0.0.1", self.proxy.ports["tls"]
                with socket.create_connection(address, PATIENCE) as plain:
                    sock = context.wrap_socket(plain, session=session)
                    self.assertTrue(echoes(sock))
                    self.assertEqual(sock.session_reused, number > 0)
                    session = sock.session

    def test_rotation(self) -> None:
        """After SIGUSR1 each worker writes its access log and its own log to the new files."""
        access = self.proxy.folder / "access.log"
        for path in (access, self.log):
            path.rename(f"{path}.1")
            self.addCleanup(Path(f"{path}.1").unlink)
        self.proxy.signal(signal.SIGUSR1)
        wait_for(lambda: self.log.exists() and access.exists(), "the new files")
        self.proxy.admin("/logging?level=debug", "POST")
        self.addCleanup(self.proxy.admin, "/logging?level=info", "POST")
        ids: set[str] = set()

        def by_both() -> bool:
            self.clients(4)[0].close()
            ids.update(access.read_text().split())
            return len({int(each) >> 48 for each in ids}) == 2

        def told_by_both() -> bool:
            lines = self.log.read_text()
            pids = [pid for name, pid in self.proxy.processes.items() if ":wrk" in name]
            return all(f"[{pid}][debug]" in lines for pid in pids)

        wait_for(by_both, "both workers in the access log")
        wait_for(told_by_both, "both workers in the log")

    def test_signals_of_a_group(self) -> None:
        """Signals that reach all processes of a group do nothing to workers, and log files are
        opened anew once.
        """
        before = self.proxy.processes
        for pid in before.values():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                os.kill(pid, number)
        self.clients(4)
        self.assertEqual(self.proxy.processes, before)


class DeathTests(SynchronousTestCase):
    """What ends processes ends no others."""

    def start(self, workers: int, *arguments: str, **fields: Any) -> Proxy:
        """A proxy, stopped at the end."""
        proxy = Proxy(workers, *arguments, **fields)
        self.addCleanup(proxy.stop)
        return proxy

    def replaced(self, proxy: Proxy, name: str, pid: int) -> None:
        """Wait until another process has a name, and clients are served by it."""
        wait_for(lambda: proxy.processes.get(name, pid) != pid, f"another {name}")

    def clients(self, proxy: Proxy, count: int, listener: str = "own") -> Iterable[socket.socket]:
        """Clients that echo."""
        for _ in range(count):
            sock = proxy.connect(listener)
            self.addCleanup(sock.close)
            self.assertTrue(echoes(sock))
            yield sock

    def test_killed(self) -> None:
        """A worker that is killed costs its own connections, is counted and logged with the
        reason, and replaced; so is the fork server, which costs nobody anything; and a worker that
        hangs is killed and replaced.
        """
        proxy = self.start(3, watchdogs={"worker_watchdog": WATCHDOG})
        socks = list(self.clients(proxy, 20))
        listed = json.loads(proxy.admin("/connections?format=json")[1])["connections"]
        killed = proxy.processes["tcpmesh:wrk_1"]
        os.kill(killed, signal.SIGKILL)
        self.replaced(proxy, "tcpmesh:wrk_1", killed)
        lost = [sock for sock in socks if not echoes(sock)]
        of_it = [each for each in listed if int(each["id"]) >> 48 == 1]
        self.assertEqual(len(lost), len(of_it))
        self.assertIn(
            f"worker_1 (process {killed}) has ended by signal SIGKILL; another one", proxy.output
        )
        self.assertEqual(proxy.stat("server.worker_failures"), 1)
        self.assertEqual(proxy.stat("cluster.echo.upstream_cx_active"), 20 - len(lost))

        forks = proxy.processes["tcpmesh:fork"]
        os.kill(forks, signal.SIGKILL)
        self.replaced(proxy, "tcpmesh:fork", forks)
        self.assertEqual(sum(echoes(sock) for sock in socks if sock not in lost), 20 - len(lost))

        stopped = proxy.processes["tcpmesh:wrk_2"]
        os.kill(stopped, signal.SIGSTOP)
        self.replaced(proxy, "tcpmesh:wrk_2", stopped)
        self.assertIn("SIGKILL (it did not answer and was killed)", proxy.output)
        stats = proxy.stats()
        for name in ("server.worker_2.watchdog_miss", "workers.watchdog_mega_miss"):
            self.assertGreaterEqual(stats[name], 1, name)
        proxy.wait_stat("server.worker_failures", 2)
        list(self.clients(proxy, 12))

    def test_time(self) -> None:
        """Where the wall clock is set by two hours, back or forward, a client that is idle is
        closed when that is due and others go on; where the machine sleeps for longer than any
        worker may be silent, nobody is lost; and the watchdog takes neither for a worker that
        hangs.
        """
        with tempfile.TemporaryDirectory() as folder:
            clock = Path(folder) / "wall"
            clock.write_text("0")
            environ = {"PYTHONPATH": WALL, FILE: str(clock)}
            proxy = self.start(2, environ=environ, watchdogs={"worker_watchdog": WATCHDOG})
            socks = list(self.clients(proxy, 6))
            before = proxy.processes
            for step in ("-7200", "7200"):
                clock.write_text(step)
                (idle,) = self.clients(proxy, 1, "idle")
                began = time.monotonic()
                self.assertEqual(idle.recv(1), b"")
                self.assertGreater(time.monotonic() - began, 0.8)
            self.sleeps((proxy.pid, *before.values()))
            self.assertTrue(all(map(echoes, socks)))
            time.sleep(ASLEEP)
            self.assertEqual(proxy.processes, before)
            self.assertTrue(all(map(echoes, socks)))
            self.assertEqual(proxy.stat("server.worker_failures"), 0)

    def sleeps(self, pids: Iterable[int]) -> None:
        """These processes stand still for a while; the first one wakes up first."""
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, number)
                time.sleep(0.1)
            time.sleep(ASLEEP if number == signal.SIGSTOP else 0.0)

    def test_stop(self) -> None:
        """A stop leaves no process behind, and no socket that anybody could connect to."""
        proxy = self.start(2)
        pids = [proxy.pid, *proxy.processes.values()]
        self.assertEqual(len(pids), 4)
        listeners = ("own", "shared", "unix", "tls")
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait_exit(), 0)
        self.assertEqual([pid for pid in pids if not is_gone(pid)], [])
        for listener in listeners:
            self.assertRaises(ConnectionRefusedError, proxy.connect, listener)
        self.assertEqual(re.findall(r"(?i)warning|error|traceback", proxy.output)[1:], [])

    def test_graceful_stop(self) -> None:
        """SIGQUIT waits for the clients of all workers."""
        proxy = self.start(2)
        socks = list(self.clients(proxy, 6))
        proxy.signal(signal.SIGQUIT)
        proxy.wait_output("6 clients are left")
        self.assertTrue(all(map(echoes, socks)))
        for sock in socks:
            sock.close()
        self.assertEqual(proxy.wait_exit(), 0)

    def test_main_is_killed(self) -> None:
        """Without main workers end, also one that hangs, and nobody is left."""
        proxy = self.start(2)
        (sock, *_) = self.clients(proxy, 1)
        pids = proxy.processes
        os.kill(pids["tcpmesh:wrk_0"], signal.SIGSTOP)
        proxy.signal(signal.SIGKILL)
        proxy.wait_exit()
        wait_for(lambda: all(map(is_gone, pids.values())), "the end of all processes")
        self.assertFalse(echoes(sock))
