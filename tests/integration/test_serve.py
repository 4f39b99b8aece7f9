"""A real `twistd tcpmesh` with real sockets, over each kind of transports, and how its process
starts and ends.
"""

from __future__ import annotations

import atexit
import errno
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Child, Process, free_port, wait_for
from tests.net.uring.available import uring

if TYPE_CHECKING:
    TestCase = SynchronousTestCase
else:
    TestCase = object

PATIENCE = 15.0
"""Seconds until a socket that does not answer fails its test."""

MEGABYTE = 1 << 20

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def listener(name: str, address: str, fields: str, more: str = "") -> str:
    """A listener of one tcp_proxy, in YAML flow style."""
    filters = (
        f'[{{name: t, typed_config: {{"@type": {TCP_PROXY}, stat_prefix: {name}, {fields}}}}}]'
    )
    return (
        f"  - {{name: {name}, address: {address}, filter_chains: [{{filters: {filters}}}]{more}}}\n"
    )


def cluster(name: str, address: str, more: str = "") -> str:
    """A cluster of one host, in YAML flow style."""
    hosts = f"[{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]"
    return (
        f"  - {{name: {name}, load_assignment: {{cluster_name: {name}, endpoints: "
        f"{hosts}}}{more}}}\n"
    )


def tcp(host: str, port: int = 0) -> str:
    """The address of a TCP socket."""
    return f'{{socket_address: {{address: "{host}", port_value: {port}}}}}'


def pipe(path: Path) -> str:
    """The address of a unix socket."""
    return f'{{pipe: {{path: "{path}"}}}}'


def bootstrap(listeners: str, clusters: str) -> str:
    """A configuration with an admin interface on a free port."""
    return (
        f"admin: {{address: {tcp('127.0.0.1')}}}\nstatic_resources:\n  listeners:\n"
        f"{listeners}  clusters:\n{clusters}"
    )


def received(sock: socket.socket, size: int = 1 << 30) -> bytes:
    """All bytes up to the end of stream, or so many."""
    parts = []
    while size and (part := sock.recv(min(size, MEGABYTE))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def memory(pid: int) -> int:
    """Bytes of a process that are in RAM."""
    (size,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(size) * 1024


class Upstreams:
    """The servers behind the proxy: sockets that a test accepts from, one that refuses and one that
    never answers.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "up.sock"
        self.tcp4 = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.tcp6 = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.path))
        self.unix.listen()
        self.refusing = socket.socket()
        self.refusing.bind(("127.0.0.1", 0))
        self.silent = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._fillers = [socket.socket() for _ in range(2)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self.silent.getsockname())
        for sock in (self.tcp4, self.tcp6, self.unix):
            sock.settimeout(PATIENCE)

    def close(self) -> None:
        """Close them all."""
        for sock in (self.tcp4, self.tcp6, self.unix, self.refusing, self.silent, *self._fillers):
            sock.close()


class Serving:
    """One proxy with a listener for each thing to see, and its upstreams."""

    def __init__(self, transport: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="serve")
        self.down_path = Path(self._directory.name) / "down.sock"
        self.up = Upstreams(Path(self._directory.name))
        self.proxy = Child(self.configuration(), environ={"TCPMESH_TRANSPORT": transport})
        atexit.register(self.close)
        self.proxy.wait_ready()
        found = re.findall(r"^(\w+)::.*:(\d+)$", self.proxy.admin("/listeners")[1], re.MULTILINE)
        self.ports = {name: int(port) for name, port in found}

    def close(self) -> None:
        """Stop the proxy, then the upstreams."""
        self.proxy.stop()
        self.up.close()
        self._directory.cleanup()

    def configuration(self) -> str:
        """Listeners by what they are for."""
        up, local = self.up, "127.0.0.1"
        listeners = (
            listener("plain", tcp(local), "cluster: plain")
            + listener("six", tcp("::1"), "cluster: six")
            + listener("unix", pipe(self.down_path), "cluster: unix")
            + listener("refused", tcp(local), "cluster: refused, max_connect_attempts: 3")
            + listener("silent", tcp(local), "cluster: silent")
            + listener("idle", tcp(local), "cluster: plain, idle_timeout: 0.4s")
            + listener(
                "old", tcp(local), "cluster: plain, max_downstream_connection_duration: 0.3s"
            )
            + listener("nobody", tcp(local), "cluster: nobody")
        )
        clusters = (
            cluster("plain", tcp(local, up.tcp4.getsockname()[1]))
            + cluster("six", tcp("::1", up.tcp6.getsockname()[1]))
            + cluster("unix", pipe(up.path))
            + cluster("refused", tcp(local, up.refusing.getsockname()[1]))
            + cluster("silent", tcp(local, up.silent.getsockname()[1]), ", connect_timeout: 0.3s")
        )
        return bootstrap(listeners, clusters)


@cache
def serving(transport: str) -> Serving:
    """The proxy over these transports: started for the first test that wants it, stopped when the
    tests end.
    """
    return Serving(transport)


class ServeTests(TestCase):
    """What every kind of transports does; a class below for each."""

    transport: str

    def setUp(self) -> None:
        """No connection outlives its test, and the proxy logs no trouble."""
        shared = serving(self.transport)
        self.proxy, self.up, self.ports, self.down_path = (
            shared.proxy,
            shared.up,
            shared.ports,
            shared.down_path,
        )
        self.open: list[socket.socket] = []

    def tearDown(self) -> None:
        """Close what is open."""
        for sock in self.open:
            sock.close()
        self.assertNotIn("Traceback", self.proxy.output)

    def connect(self, name: str = "plain") -> socket.socket:
        """A client of a TCP listener."""
        sock = socket.create_connection(
            ("::1" if name == "six" else "127.0.0.1", self.ports[name]), PATIENCE
        )
        self.open.append(sock)
        return sock

    def accept(self, server: socket.socket | None = None) -> socket.socket:
        """The upstream's end of the next connection."""
        sock, _ = (server or self.up.tcp4).accept()
        sock.settimeout(PATIENCE)
        self.open.append(sock)
        return sock

    def pair(self, name: str = "plain") -> tuple[socket.socket, socket.socket]:
        """A client and the upstream's end of its connection."""
        client = self.connect(name)
        return client, self.accept()

    def talk(self, client: socket.socket, server: socket.socket) -> None:
        """Bytes both ways, then the end of both."""
        client.sendall(b"question")
        self.assertEqual(b"question", received(server, 8))
        server.sendall(b"answer")
        self.assertEqual(b"answer", received(client, 6))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", received(server))
        server.close()
        self.assertEqual(b"", received(client))

    def test_tcp4(self) -> None:
        """Bytes pass both ways over IPv4, and both ends are passed on."""
        self.talk(*self.pair())

    def test_tcp6(self) -> None:
        """The same over IPv6 on both sides."""
        client = self.connect("six")
        self.talk(client, self.accept(self.up.tcp6))

    def test_unix(self) -> None:
        """The same over unix sockets on both sides."""
        client = socket.socket(socket.AF_UNIX)
        self.open.append(client)
        client.settimeout(PATIENCE)
        client.connect(str(self.down_path))
        self.talk(client, self.accept(self.up.unix))

    def test_upstream_speaks_first(self) -> None:
        """A server that greets is heard before the client has said anything."""
        client, server = self.pair()
        server.sendall(b"220 ready")
        self.assertEqual(b"220 ready", received(client, 9))

    def test_large_both_ways(self) -> None:
        """Megabytes both ways at once arrive whole."""
        client, server = self.pair()
        data = bytes(range(256)) * (8 * MEGABYTE // 256)
        writers = [threading.Thread(target=sock.sendall, args=(data,)) for sock in (client, server)]
        reader = threading.Thread(target=lambda: heard.append(received(server, len(data))))
        heard: list[bytes] = []
        for thread in (*writers, reader):
            thread.start()
        self.assertTrue(received(client, len(data)) == data)
        for thread in (*writers, reader):
            thread.join()
        self.assertTrue(heard == [data])

    def test_client_half_closes(self) -> None:
        """After the client's FIN the whole answer still arrives, however large."""
        client, server = self.pair()
        client.sendall(b"all of it?")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"all of it?", received(server))
        writer = self.say_all(server)
        self.assertEqual(4 * MEGABYTE, len(received(client)))
        writer.join()

    def say_all(self, sock: socket.socket) -> threading.Thread:
        """A thread that sends 4 MiB and closes."""

        def run() -> None:
            sock.sendall(b"y" * 4 * MEGABYTE)
            sock.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def test_upstream_half_closes(self) -> None:
        """After the upstream's FIN what the client says still arrives."""
        client, server = self.pair()
        server.sendall(b"that was all")
        server.shutdown(socket.SHUT_WR)
        self.assertEqual(b"that was all", received(client))
        writer = self.say_all(client)
        self.assertEqual(4 * MEGABYTE, len(received(server)))
        writer.join()

    def test_client_resets(self) -> None:
        """A client's reset is a reset for the upstream, after the bytes before it."""
        client, server = self.pair()
        client.sendall(b"last words")
        self.assertEqual(b"last words", received(server, 10))
        reset(client)
        self.assertRaises(ConnectionResetError, received, server)

    def test_upstream_resets(self) -> None:
        """An upstream's reset is a reset for the client, after the bytes before it."""
        client, server = self.pair()
        server.sendall(b"last words")
        self.assertEqual(b"last words", received(client, 10))
        reset(server)
        self.assertRaises(ConnectionResetError, received, client)

    def test_refused(self) -> None:
        """An upstream that refuses closes the client, after all attempts."""
        before = self.proxy.stats()
        self.assertEqual(b"", received(self.connect("refused")))
        self.proxy.wait_stat(
            "tcp.refused.downstream_cx_total", before["tcp.refused.downstream_cx_total"] + 1
        )
        after = self.proxy.stats()
        moved = {
            name: after[f"cluster.refused.upstream_{name}"]
            - before[f"cluster.refused.upstream_{name}"]
            for name in (
                "cx_total",
                "cx_connect_fail",
                "cx_destroy_remote",
                "cx_connect_attempts_exceeded",
                "rq_total",
            )
        }
        expected = {
            "cx_total": 3,
            "cx_connect_fail": 3,
            "cx_destroy_remote": 3,
            "cx_connect_attempts_exceeded": 1,
            "rq_total": 0,
        }
        self.assertEqual(expected, moved)

    def test_connect_timeout(self) -> None:
        """An upstream that does not answer closes the client after connect_timeout."""
        start = time.monotonic()
        self.assertEqual(b"", received(self.connect("silent")))
        self.assertGreaterEqual(time.monotonic() - start, 0.3)
        self.assertTrue(self.proxy.stat("cluster.silent.upstream_cx_connect_timeout"))

    def test_unknown_cluster(self) -> None:
        """A cluster that nobody defines closes the client at once."""
        self.assertEqual(b"", received(self.connect("nobody")))

    def test_idle_timeout(self) -> None:
        """A connection on which nothing moves is closed on both sides."""
        client, server = self.pair("idle")
        start = time.monotonic()
        self.assertEqual((b"", b""), (received(client), received(server)))
        self.assertGreaterEqual(time.monotonic() - start, 0.3)
        self.assertTrue(self.proxy.stat("tcp.idle.idle_timeout"))

    def test_max_duration(self) -> None:
        """A connection that is too old is closed on both sides, whatever moves on it."""
        client, server = self.pair("old")
        start = time.monotonic()
        client.sendall(b"x")
        self.assertEqual((b"", b"x"), (received(client), received(server)))
        self.assertGreaterEqual(time.monotonic() - start, 0.2)
        self.assertTrue(self.proxy.stat("tcp.old.max_downstream_connection_duration"))

    def test_slow_readers(self) -> None:
        """Clients that do not read cost the proxy no more than their buffers; what they were sent
        arrives whole afterwards.
        """
        before = memory(self.proxy.pid)
        pairs = [self.pair() for _ in range(8)]
        block = bytes(range(256)) * 1024
        sent = []
        for _, server in pairs:
            server.setblocking(False)
            sent.append(self.fill(server, block))
        grown = memory(self.proxy.pid) - before
        self.assertTrue(min(sent) > MEGABYTE, sent)
        self.assertTrue(
            grown < 8 * 2 * MEGABYTE + 8 * MEGABYTE, f"{grown} bytes more for {sent} bytes sent"
        )
        client, server = pairs[0]
        server.shutdown(socket.SHUT_WR)
        whole = received(client)
        self.assertEqual(sent[0], len(whole))
        self.assertTrue(whole == (block * (sent[0] // len(block) + 1))[: sent[0]])

    def fill(self, sock: socket.socket, block: bytes) -> int:
        """Send until nothing has been taken for 0.2 s; how many bytes were."""
        sent, limit = 0, time.monotonic() + 0.2
        while time.monotonic() < limit:
            try:
                sent += sock.send(block[sent % len(block) :])
                limit = time.monotonic() + 0.2
            except BlockingIOError:
                time.sleep(0.005)
            self.assertTrue(sent < 256 * MEGABYTE, "nobody reads, and yet all is taken")
        return sent

    def test_many_at_once(self) -> None:
        """500 connections at once are all served, each with its own bytes."""
        clients = [self.connect() for _ in range(500)]
        for number, client in enumerate(clients):
            client.sendall(b"%d\n" % number)
        for server in [self.accept() for _ in clients]:
            with server.makefile("rb") as lines:
                server.sendall(b"you are " + lines.readline())
        for number, client in enumerate(clients):
            expected = b"you are %d\n" % number
            self.assertEqual(expected, received(client, len(expected)))
        self.assertTrue(self.proxy.stat("cluster.plain.upstream_cx_active") >= 500)
        for sock in self.open:
            sock.close()
        self.proxy.wait_stat("cluster.plain.upstream_cx_active", 0)
        self.proxy.wait_stat("listener.127.0.0.1_0.downstream_cx_active", 0)

    def test_port_zero(self) -> None:
        """A port 0 becomes a free one, which /listeners tells; its statistics keep the 0."""
        self.assertTrue(all(self.ports.values()))
        self.assertEqual(7, len(set(self.ports.values())))
        names = self.proxy.stats()
        self.assertIn("listener.127.0.0.1_0.downstream_cx_total", names)
        self.assertIn("listener.[__1]_0.downstream_cx_total", names)
        self.assertIn(f"listener.{self.down_path}.downstream_cx_total", names)

    def test_statistics(self) -> None:
        """/stats tells the bytes of a connection that is still open."""
        self.proxy.wait_stat("cluster.plain.upstream_cx_active", 0)
        before = self.proxy.stats()
        client, server = self.pair()
        client.sendall(b"x" * 1000)
        received(server, 1000)
        self.proxy.wait_stat(
            "tcp.plain.downstream_cx_rx_bytes_total",
            before["tcp.plain.downstream_cx_rx_bytes_total"] + 1000,
        )
        self.assertEqual(1, self.proxy.stat("cluster.plain.upstream_cx_active"))


class StockServeTests(ServeTests, SynchronousTestCase):
    """Twisted's own transports."""

    transport = "stock"


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollServeTests(ServeTests, SynchronousTestCase):
    """The fast transports."""

    transport = "epoll"


@uring
class UringServeTests(ServeTests, SynchronousTestCase):
    """The transports of io_uring."""

    transport = "uring-only"


class ProcessTests(SynchronousTestCase):
    """How the process starts and ends."""

    def start(self, config: str, *arguments: str, transport: str = "") -> Child:
        """A proxy that is stopped with the test."""
        child = Child(config, arguments, {"TCPMESH_TRANSPORT": transport})
        self.addCleanup(child.stop)
        return child

    def plain(self, port: int = 0) -> str:
        """A configuration of one listener whose upstream refuses."""
        return bootstrap(
            listener("l", tcp("127.0.0.1", port), "cluster: c"), cluster("c", tcp("127.0.0.1", 1))
        )

    def test_terminate(self) -> None:
        """SIGTERM ends it at once with status 0, open connections and all; so does SIGINT; over
        either transports.
        """
        with socket.create_server(("127.0.0.1", 0)) as upstream:
            config = bootstrap(
                listener("l", tcp("127.0.0.1"), "cluster: c"),
                cluster("c", tcp("127.0.0.1", upstream.getsockname()[1])),
            )
            for number, transport in ((signal.SIGTERM, "epoll"), (signal.SIGINT, "stock")):
                child = self.start(config, transport=transport)
                child.wait_ready()
                port = int(child.admin("/listeners")[1].rsplit(":", 1)[1])
                with (
                    socket.create_connection(("127.0.0.1", port), PATIENCE) as client,
                    upstream.accept()[0] as server,
                ):
                    child.signal(number)
                    self.assertEqual(0, child.wait_exit(), child.output)
                    self.assertEqual((b"", b""), (client.recv(1), server.recv(1)))
                self.assertIn(f"caught {number.name}", child.output)
                self.assertNotIn("Traceback", child.output)

    def test_quit(self) -> None:
        """POST /quitquitquit answers OK and ends it with status 0; GET does not."""
        child = self.start(self.plain())
        child.wait_ready()
        self.assertEqual(405, child.admin("/quitquitquit")[0])
        self.assertEqual((200, "OK\n"), child.admin("/quitquitquit", "POST"))
        self.assertEqual(0, child.wait_exit(), child.output)

    def test_admin(self) -> None:
        """/ready is LIVE, and /stats has what /stats has in Envoy."""
        child = self.start(self.plain())
        child.wait_ready()
        self.assertEqual((200, "LIVE\n"), child.admin("/ready"))
        stats = child.stats()
        self.assertEqual((1, 0), (stats["server.live"], stats["server.state"]))
        self.assertEqual(
            (1, 1),
            (stats["listener_manager.listener_added"], stats["cluster_manager.active_clusters"]),
        )
        self.assertEqual(1, stats["listener_manager.listener_create_success"])

    def test_log_file(self) -> None:
        """SIGUSR1 opens the log file anew after it was moved away."""
        child = self.start(self.plain(), "--log-path", "proxy.log")
        child.wait_ready()
        path, moved = child.path / "proxy.log", child.path / "proxy.log.1"
        path.rename(moved)
        child.signal(signal.SIGUSR1)
        wait_for(path.exists, "a new log file")
        child.signal(signal.SIGHUP)
        wait_for(lambda: "SIGHUP" in path.read_text(), "a line in it")
        self.assertIn("all dependencies initialized", moved.read_text())
        self.assertEqual(200, child.admin("/ready")[0])

    def test_address_in_use(self) -> None:
        """An address that somebody else has ends it with status 1 and that address, without a
        traceback.
        """
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            child = self.start(self.plain(port))
            self.assertEqual(1, child.wait_exit())
        self.assertIn(f"127.0.0.1:{port}", child.output)
        self.assertNotIn("Traceback", child.output)

    def test_admin_address_in_use(self) -> None:
        """The same for the address of the admin interface, and then no listener is open."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            child = self.start(self.plain().replace(tcp("127.0.0.1"), tcp("127.0.0.1", port), 1))
            self.assertEqual(1, child.wait_exit())
        self.assertIn(f"127.0.0.1:{port}", child.output)
        self.assertNotIn("Traceback", child.output)
        self.assertNotIn("is open", child.output)

    def test_bad_configuration(self) -> None:
        """A configuration with problems ends it with status 1; all are told with their lines, and
        nothing was started.
        """
        port = free_port()
        config = (
            self.plain(port)
            .replace("stat_prefix: l", "stat_prefx: l")
            .replace("name: c, load", "nane: c, load")
        )
        child = self.start(config)
        self.assertEqual(1, child.wait_exit())
        self.assertIn("envoy.yaml:4:", child.output)
        self.assertIn("envoy.yaml:6:", child.output)
        self.assertIn("stat_prefx", child.output)
        self.assertIn("nane", child.output)
        self.assertNotIn("Traceback", child.output)
        with socket.socket() as probe:
            self.assertEqual(errno.ECONNREFUSED, probe.connect_ex(("127.0.0.1", port)))

    def test_bad_option(self) -> None:
        """An option that makes no sense ends it with status 1 and says which."""
        child = self.start(self.plain(), "--log-level", "loud")
        self.assertEqual(1, child.wait_exit())
        self.assertIn("'loud'", child.output)

    def test_no_such_transport(self) -> None:
        """Transports that are not there end it with status 1 and those that are, in one line."""
        with Child(self.plain(), environ={"TCPMESH_TRANSPORT": "magic"}) as child:
            self.assertEqual(1, child.wait_exit())
            (line,) = child.output.splitlines()
        self.assertIn("TCPMESH_TRANSPORT is 'magic'; there are", line)

    def test_pid_file(self) -> None:
        """A pid file that twistd could not write ends it with status 1 and its name, in one line,
        and nothing has been opened.
        """
        with tempfile.TemporaryDirectory() as directory:
            command = [TWISTD, "--pidfile", "/no/such/pid", "tcpmesh"]
            command += ["--config-yaml", self.plain()]
            with Process(command, Path(directory) / "output") as process:
                self.assertEqual(1, process.wait_exit())
                self.assertEqual(
                    "cannot write the pid file '/no/such/pid': No such file or directory\n",
                    process.output,
                )

    def test_reuse_port(self) -> None:
        """Two processes share a port, as the default is; with enable_reuse_port false the second is
        refused it.
        """
        for shared, status in ((True, None), (False, 1)):
            port = free_port()
            config = self.plain(port)
            if not shared:
                config = config.replace("name: l,", "name: l, enable_reuse_port: false,")
            self.start(config).wait_ready()
            second = self.start(config)
            if status is None:
                second.wait_ready()
            else:
                self.assertEqual(status, second.wait_exit())
                self.assertIn(f"127.0.0.1:{port}", second.output)

    def test_stale_unix_socket(self) -> None:
        """A unix socket that a killed process left behind does not stop the next one from
        starting.
        """
        with tempfile.TemporaryDirectory() as directory:
            address = pipe(Path(directory) / "l.sock")
            config = bootstrap(
                listener("l", address, "cluster: c"), cluster("c", tcp("127.0.0.1", 1))
            )
            first = self.start(config)
            first.wait_ready()
            first.signal(signal.SIGKILL)
            first.wait_exit()
            self.start(config).wait_ready()
