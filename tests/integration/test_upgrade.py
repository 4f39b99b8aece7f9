"""A real `twistd tcpmesh` that is upgraded while clients come and go without a pause."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import yaml

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.server.networks import VARIABLE
from tcpmesh.testing.child import TWISTD, Child, Process, free_port, wait_for
from tests.integration.descendants import descendants
from tests.integration.test_daemon import CONFIG, runs
from tests.integration.test_workers import echoes, processes_below
from tests.integration.upgrade_proof import Proof

TCPMESH = [sys.executable, "-m", "tcpmesh"]
ADMIN = """
admin:
  address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
"""


def several_listeners(port: int, path: str, upstream: int) -> str:
    """A bootstrap with a listener that each worker has a socket of, one whose socket all share, one
    at a path, and one that binds no port.
    """
    bootstrap = yaml.safe_load(
        CONFIG.format(address="127.0.0.1", port=port, upstream=upstream) + ADMIN.format(port=0)
    )
    (first,) = bootstrap["static_resources"]["listeners"]
    shared, at_path, unbound = (copy.deepcopy(first) for _ in range(3))
    shared["address"]["socket_address"]["port_value"] = free_port()
    shared.update(name="shared", enable_reuse_port=False)
    at_path.update(name="path", address={"pipe": {"path": path}})
    unbound["address"]["socket_address"]["port_value"] = 1
    unbound.update(name="unbound", bind_to_port=False)
    bootstrap["static_resources"]["listeners"] += [shared, at_path, unbound]
    return json.dumps(bootstrap)


def shared_port(config: str) -> int:
    """The port of the listener whose socket is shared."""
    listeners = json.loads(config)["static_resources"]["listeners"]
    return int(listeners[1]["address"]["socket_address"]["port_value"])


class Echo:
    """A server on loopback that sends each client's bytes back, for as long as it likes."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(64):
                client.sendall(data)

    def stop(self) -> None:
        """Take no more clients."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class Clients(threading.Thread):
    """One client after the other, each of which sends a word and reads it back.

    :param pause: seconds between two of them.
    """

    def __init__(self, address: tuple[str, int] | str, pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self._pause = pause
        self._address = address
        self._family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._is_over = False
        self.served = 0
        self.failures: list[str] = []

    def run(self) -> None:
        """Until it is stopped."""
        while not self._is_over:
            try:
                with socket.socket(self._family) as client:
                    client.settimeout(20.0)
                    client.connect(self._address)
                    client.sendall(b"word")
                    answer = client.recv(64)
                if answer != b"word":
                    self.failures.append(repr(answer))
            except OSError as e:
                self.failures.append(repr(e))
            self.served += 1
            time.sleep(self._pause)

    def wait_for_more(self) -> None:
        """Until some more of them were served."""
        enough = self.served + 20
        wait_for(lambda: self.served > enough, "more clients")

    def stop(self) -> None:
        """No more."""
        self._is_over = True
        self.join()


class UpgradeTests(SynchronousTestCase):
    """`tcpmesh upgrade`, SIGUSR2 and --restart-epoch."""

    def setUp(self) -> None:
        """An upstream, and the configuration."""
        self.upstream = Echo()
        self.addCleanup(self.upstream.stop)
        self.port, self.admin = free_port(), free_port()
        self.config = CONFIG.format(
            address="127.0.0.1", port=self.port, upstream=self.upstream.port
        ) + ADMIN.format(port=self.admin)

    def clients(self) -> Clients:
        """Clients from now on."""
        return self.clients_at(("127.0.0.1", self.port))

    def clients_at(self, address: tuple[str, int] | str, pause: float = 0.0) -> Clients:
        """Clients of one address."""
        clients = Clients(address, pause)
        clients.start()
        self.addCleanup(clients.stop)
        return clients

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        """Ask the running process."""
        command = [*TCPMESH, "upgrade", "--admin", f"127.0.0.1:{self.admin}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def test_three_times(self) -> None:
        """Through an upgrade that fails and three that do not, of which one is by a signal, no
        client is refused and none is cut off; where clients may not move, one that stays keeps its
        process; and the pid file names the process that accepts clients.
        """
        pid_file = "twistd.pid"
        program = (TWISTD, "-n", f"--pidfile={pid_file}", "tcpmesh")
        arguments = ("--parent-shutdown-time-s", "60", "--live-handover", "off")
        with (
            Child(self.config, arguments, program=program) as proxy,
            contextlib.ExitStack() as leaving,
        ):
            proxy.wait_ready()
            path = proxy.path / pid_file
            leaving.callback(self.end, path)
            held = socket.create_connection(("127.0.0.1", self.port))
            self.addCleanup(held.close)
            clients = self.clients()
            (proxy.path / "envoy.yaml").write_text(self.config + "\nbogus: 1\n")
            failed = self.upgrade()
            self.assertEqual((1, ""), (failed.returncode, failed.stdout))
            self.assertIn("unknown field 'bogus'", failed.stderr)
            self.assertEqual(str(proxy.pid), path.read_text())
            (proxy.path / "envoy.yaml").write_text(self.config)
            pids = [proxy.pid]
            for number in range(3):
                if number == 1:
                    os.kill(pids[-1], signal.SIGUSR2)
                else:
                    done = self.upgrade()
                    self.assertEqual("", done.stderr)
                wait_for(lambda: path.read_text() not in map(str, pids), "the pid file")
                pids.append(int(path.read_text()))
                clients.wait_for_more()
            self.assertEqual([], clients.failures)
            self.assertTrue(runs(proxy.pid))
            held.sendall(b"word")
            self.assertEqual(b"word", held.recv(64))
            held.close()
            for pid in pids[:-1]:
                wait_for(lambda: not runs(pid), f"the end of process {pid}")  # noqa: B023
            self.assertEqual(0, proxy.wait_exit())
            before = clients.served
            clients.stop()
            self.assertEqual([], clients.failures)
            proxy.wait_output("process")
            self.assertGreater(proxy.stat("cluster.upstream.upstream_cx_total"), before)
            self.assertEqual(4, proxy.stat("server.hot_restart_generation"))

    def test_moving(self) -> None:
        """Clients go on in the new process, whatever they are about: with two workers on either
        side not a byte is wrong, nobody is cut off or refused, and the old process is gone.
        """
        if os.environ.get(VARIABLE) == "stock":
            raise SkipTest("connections of Twisted's own transports stay where they are")
        result = Proof(connections=30, upgrades=1, rate=50, concurrency=2).run()
        self.assertEqual([], result.failures, "\n".join(result.lines()))
        (told,) = result.moved
        self.assertGreaterEqual(int(told.split()[0]), 30, told)

    def end(self, path: Path) -> None:
        """The last process ends, and its pid file is gone."""
        pid = int(path.read_text())
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not path.exists(), "the end of the pid file")
        wait_for(lambda: not runs(pid), "the end of the last process")

    def test_by_hand(self) -> None:
        """As with Envoy a supervisor starts the next epoch: it takes over, has another listener
        than the one before, and the one before ends when its time is over.
        """
        other = free_port()
        more = self.config.replace(f"port_value: {self.port} ", f"port_value: {other} ")
        base = ("--base-id", str(os.getpid()), "--concurrency", "2")
        with tempfile.TemporaryDirectory() as folder:
            first = self.epoch(folder, self.config, 0, *base)
            first.wait_output("starting workers")
            again = self.epoch(folder, self.config, 0, *base)
            self.assertEqual(1, again.wait_exit())
            self.assertIn(f"another tcpmesh has base id {os.getpid()}", again.output)
            held = socket.create_connection(("127.0.0.1", self.port))
            self.addCleanup(held.close)
            second = self.epoch(
                *(folder, more, 1, *base, "--parent-shutdown-time-s", "1", "--live-handover=off")
            )
            second.wait_output("starting workers")
            socket.create_connection(("127.0.0.1", other)).close()
            first.wait_output("has taken over")
            self.assertEqual(b"", held.recv(1))
            self.assertEqual(0, first.wait_exit())
            self.assertRaises(
                ConnectionRefusedError, socket.create_connection, ("127.0.0.1", self.port)
            )
            second.wait_output("the process before this one is gone")

    def epoch(self, folder: str, config: str, number: int, *arguments: str) -> Process:
        """A process of a row."""
        command = [TWISTD, "-n", "--pidfile=", "tcpmesh", "--config-yaml", config]
        command += ["--restart-epoch", str(number), *arguments]
        command += ["--admin-address-path", str(Path(folder) / "admin")]
        process = Process(command, Path(folder) / os.urandom(4).hex())
        self.addCleanup(process.stop)
        return process

    def test_workers_that_die(self) -> None:
        """A worker that dies while its process is taken over from is replaced until the next
        process serves, and from then on not; it costs its own connections alone, and the process
        ends with the clients of the others.
        """
        arguments = "--concurrency=2 --parent-shutdown-time-s=60 --log-path=log --live-handover=off"
        with (
            Child(self.config, arguments.split()) as proxy,
            contextlib.ExitStack() as leaving,
        ):
            proxy.wait_ready()
            log = proxy.path / "log"
            held = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(16)]
            for sock in held:
                self.addCleanup(sock.close)
                self.assertTrue(echoes(sock))
            fork_server = processes_below(proxy.pid)["tcpmesh:fork"]
            upgrade = threading.Thread(target=self.upgrade)
            upgrade.start()
            proxy.wait(lambda: "is about to take over" in log.read_text(), "another process")
            os.kill(processes_below(fork_server)["tcpmesh:wrk_0"], signal.SIGKILL)
            proxy.wait(lambda: "another one takes its place" in log.read_text(), "a new worker")
            upgrade.join()
            found = re.search(r"process (\d+) has taken over", log.read_text())
            assert found is not None, log.read_text()
            leaving.callback(self.end_process, int(found[1]))
            left = [sock for sock in held if echoes(sock)]
            self.assertTrue(0 < len(left) < len(held), left)
            killed = processes_below(fork_server)["tcpmesh:wrk_0"]
            os.kill(killed, signal.SIGKILL)
            line = f"worker_0 (process {killed}) has ended by signal SIGKILL\n"
            proxy.wait(lambda: line in log.read_text(), "the end of the worker")
            with socket.create_connection(("127.0.0.1", self.port)) as newcomer:
                self.assertTrue(echoes(newcomer))
            self.assertEqual([True] * len(left), [echoes(sock) for sock in left])
            for sock in left:
                sock.close()
            self.assertEqual(0, proxy.wait_exit())

    def end_process(self, pid: int) -> None:
        """End one, and wait for that."""
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not runs(pid), f"the end of process {pid}")

    def test_other_numbers_of_workers(self) -> None:
        """From two workers to three, to one and to two again no client is refused, whether workers
        have sockets of their own, share one, or share one at a path; nothing is left of a process
        that was taken over from, its workers included, and what all have counted is not lost.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/down.sock"
            config = several_listeners(self.port, path, self.upstream.port)
            addresses: list[tuple[str, int] | str] = [
                ("127.0.0.1", self.port),
                ("127.0.0.1", shared_port(config)),
                path,
            ]
            base = ("--base-id", str(os.getpid()), "--parent-shutdown-time-s", "20")
            before: Process | None = None
            clients: list[Clients] = []
            for epoch, workers in enumerate((2, 3, 1, 2)):
                more = (*base, "--concurrency", str(workers))
                family = list(descendants(before.pid)) if before is not None else []
                process = self.epoch(folder, config, epoch, *more)
                process.wait_output("starting workers")
                if before is None:
                    clients = [self.clients_at(address, 0.005) for address in addresses]
                else:
                    self.assertEqual(0, before.wait_exit(), before.output)
                    for pid in family:
                        wait_for(lambda: not runs(pid), f"the end of process {pid}")  # noqa: B023
                for each in clients:
                    each.wait_for_more()
                before = process
            for each in clients:
                each.stop()
            self.assertEqual([[], [], []], [each.failures for each in clients])
            assert before is not None
            served = [each.served for each in clients]
            admin = Path(folder) / "admin"
            self.wait_count(admin, "cluster.upstream.upstream_cx_total", sum(served))
            listener = f"listener.127.0.0.1_{self.port}.downstream_cx"
            self.wait_count(admin, f"{listener}_total", served[0])
            self.wait_count(admin, f"{listener}_destroy", served[0])

    def wait_count(self, admin: Path, name: str, count: int) -> None:
        """Until the process that has this address of its admin interface has counted so many."""

        def look() -> bool:
            url = f"http://{admin.read_text()}/stats?filter={name}$"
            with urllib.request.urlopen(url) as answer:
                counted: str = answer.read().decode()
            return counted == f"{name}: {count}\n"

        wait_for(look, f"{count} {name}")
