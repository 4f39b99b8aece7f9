"""A production run: detached, under another uid, with a pid file and a log file, on a privileged
port.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Child, connectable, free_port, wait_for
from tests.integration.descendants import descendants

CONNECTIONS = 10_000
CLIENTS = 8
NOBODY = pwd.getpwnam("nobody")

CONFIG = """
static_resources:
  listeners:
  - name: front
    address:
      socket_address: {{ address: {address}, port_value: {port} }}
    filter_chains:
    - filters:
      - name: tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front
          cluster: upstream
  clusters:
  - name: upstream
    connect_timeout: 5s
    type: STATIC
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }}
"""


class Upstream:
    """A server on loopback that answers each connection's first bytes with the same bytes and
    closes it.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.sendall(connection.recv(64))

    def stop(self) -> None:
        """Stop listening and end the thread."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


def ask(address: tuple[str, int], word: bytes) -> bool:
    """Whether a connection to `address` answers `word` with the same word and then ends."""
    with socket.create_connection(address, timeout=10.0) as connection:
        connection.sendall(word)
        answer = b""
        while chunk := connection.recv(64):
            answer += chunk
    return answer == word


def accepts(address: tuple[str, int]) -> bool:
    """Whether somebody answers there."""
    try:
        return ask(address, b"ready?")
    except OSError:
        return False


def runs(pid: int) -> bool:
    """Whether that process exists and has not ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class DaemonTests(SynchronousTestCase):
    """`twistd --pidfile --logfile [--uid --gid] tcpmesh --config`, with relative paths
    throughout.
    """

    def setUp(self) -> None:
        """A folder for the run and an upstream on loopback."""
        self.workers = 1
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-daemon-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.upstream = Upstream()
        self.addCleanup(self.upstream.stop)

    def twistd(self, address: tuple[str, int], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command that starts the daemon with its listener at `address`; it returns once
        the daemon serves, or cannot.
        """
        (self.folder / "envoy.yaml").write_text(
            CONFIG.format(address=address[0], port=address[1], upstream=self.upstream.port)
        )
        command = [
            TWISTD,
            "--pidfile",
            "run/tcpmesh.pid",
            "--logfile",
            "run/tcpmesh.log",
            *arguments,
            "tcpmesh",
            "--use-dynamic-base-id",
            "--config",
            "envoy.yaml",
            "--concurrency",
            str(self.workers),
        ]
        return subprocess.run(
            command, cwd=self.folder, text=True, capture_output=True, stdin=subprocess.DEVNULL
        )

    def start(self, address: tuple[str, int], *arguments: str) -> int:
        """Start the daemon; return its pid once it serves."""
        result = self.twistd(address, *arguments)
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)
        pid = int(self.pidfile.read_text())
        self.addCleanup(self.kill, pid)
        wait_for(lambda: accepts(address), f"an answer from {address}")
        return pid

    @property
    def pidfile(self) -> Path:
        """Where the daemon keeps its pid."""
        return self.folder / "run" / "tcpmesh.pid"

    @property
    def log(self) -> str:
        """What the daemon has logged."""
        return (self.folder / "run" / "tcpmesh.log").read_text(errors="replace")

    def kill(self, pid: int) -> None:
        """Leave nothing running where a test failed."""
        if runs(pid):
            os.kill(pid, signal.SIGKILL)

    def assert_survives(self, pid: int, address: tuple[str, int], connections: int) -> None:
        """Make so many connections, CLIENTS at a time; each must be answered, by the process that
        was started.
        """
        with ThreadPoolExecutor(CLIENTS) as clients:
            answered = sum(
                clients.map(lambda number: ask(address, b"%d" % number), range(connections))
            )

        self.assertEqual(connections, answered, self.log)
        self.assertEqual(pid, int(self.pidfile.read_text()))
        self.assertTrue(runs(pid), self.log)

    def assert_stops_cleanly(self, pid: int) -> None:
        """SIGTERM ends it, its pid file goes, and its log tells of an orderly end and of no
        error.
        """
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not runs(pid), "the end of the daemon")

        self.assertFalse(self.pidfile.exists(), self.log)
        self.assertRegex(self.log, r"\[main\] exiting\n$")
        for sign in ("Traceback", "Unhandled", "[error]", "[critical]"):
            self.assertNotIn(sign, self.log)

    def test_under_our_own_uid(self) -> None:
        """A detached run serves, and stops cleanly on SIGTERM."""
        (self.folder / "run").mkdir()
        address = ("127.0.0.1", free_port())

        pid = self.start(address)

        self.assert_survives(pid, address, 100)
        self.assert_stops_cleanly(pid)

    def test_cannot_start(self) -> None:
        """Where the listener's address is taken, the command says so and ends with status 1;
        nothing is left running.
        """
        (self.folder / "run").mkdir()

        result = self.twistd(("127.0.0.1", self.upstream.port))

        self.assertEqual(1, result.returncode)
        self.assertIn(f"cannot bind '127.0.0.1:{self.upstream.port}'", result.stderr + self.log)
        self.assertNotIn("Traceback", result.stderr + self.log)
        # The command ends once the daemon has said how it went, and the daemon after that.
        wait_for(lambda: not self.pidfile.exists(), "the file of its number is gone")

    def test_under_another_uid(self) -> None:
        """Started by root on port 80, it goes on as nobody, its workers too, survives 10,000
        connections and stops cleanly on SIGTERM.
        """
        self.folder.chmod(0o755)
        (self.folder / "run").mkdir()
        os.chown(self.folder / "run", NOBODY.pw_uid, NOBODY.pw_gid)
        address = (
            f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}",
            80,
        )

        self.workers = 2
        pid = self.start(address, "--uid", str(NOBODY.pw_uid), "--gid", str(NOBODY.pw_gid))

        pids = list(descendants(pid))
        self.assertEqual(4, len(pids))
        for each in pids:
            status = Path(f"/proc/{each}/status").read_text()
            uid = NOBODY.pw_uid
            self.assertIn(f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n", status)
        self.assert_survives(pid, address, CONNECTIONS)
        self.assert_stops_cleanly(pid)

    if os.geteuid() != 0:
        test_under_another_uid.skip = "needs root to change to another uid and to listen on port 80"  # type: ignore[attr-defined]


ACTIVATE = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="front")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What a service manager does before the program runs: the arguments are a port and the program."""


class SupervisedTests(SynchronousTestCase):
    """`twistd --nodaemon tcpmesh`, started by somebody who waits for it."""

    def test_notifies(self) -> None:
        """Who has started it is told when it serves and when it ends, and in between that it is
        well.
        """
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(f"{folder.name}/notify")
        manager.settimeout(20)
        config = CONFIG.format(address="127.0.0.1", port=0, upstream=1)
        environ = {
            "NOTIFY_SOCKET": f"{folder.name}/notify",
            "WATCHDOG_USEC": "200000",
            "WATCHDOG_PID": "",
        }
        with Child(config, environ=environ) as proxy:
            self.assertEqual(
                b"READY=1\nSTATUS=serving (listeners: 1, clusters: 1)", manager.recv(99)
            )
            self.assertEqual([b"WATCHDOG=1"] * 3, [manager.recv(99) for _ in range(3)])
            self.assertEqual(0, proxy.stop())
            last = b"WATCHDOG=1"
            while last == b"WATCHDOG=1":
                last = manager.recv(99)
            self.assertEqual(b"STOPPING=1\nSTATUS=closing all connections", last)

    def test_activated(self) -> None:
        """A client that comes to the socket of the service manager before the proxy runs is served
        as soon as it does, whatever address the listener of that name has.
        """
        upstream = Upstream()
        self.addCleanup(upstream.stop)
        port = free_port()
        config = CONFIG.format(address="127.0.0.9", port=1, upstream=upstream.port)
        activate = (sys.executable, "-c", ACTIVATE, str(port))
        with Child(config, program=(*activate, TWISTD, "-n", "--pidfile=", "tcpmesh")) as proxy:
            proxy.wait(lambda: connectable("127.0.0.1", port), "a socket that listens")
            self.assertTrue(ask(("127.0.0.1", port), b"early"))
            proxy.wait_output(f"listener front is open on 127.0.0.1:{port}")
