"""The processes of the proxy: started, found, killed, and looked into from outside.

They are in a session of their own (`setsid`), by which they are found whoever has started them, and
by which `guard` ends them all, whatever becomes of this program.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tcpmesh.testing.child import TWISTD, Process, wait_for
from tests.soak.probe.sitecustomize import FOLDER, SIGNAL

PROBE = str(Path(__file__).with_name("probe"))
WORKER = re.compile(r"tcpmesh:wrk_(\d+)")
PATIENCE = 100.0
"""Seconds that anything may take that is waited for: the machine may be busy."""

GUARD = """
import os, signal, sys
session = int(sys.argv[1])
sys.stdin.read()
for _ in range(3):
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            fields = open(f'/proc/{name}/stat').read().rpartition(')')[2].split()
            if int(fields[3]) == session:
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            pass
"""
"""Kills all processes of a session once who has started it is gone: then its input ends."""


class Seen(NamedTuple):
    """What a process consists of."""

    role: str
    memory: int
    """Bytes in RAM."""

    descriptors: int
    threads: int
    told: dict[str, Any]
    """By itself: see `probe`."""


class Proxy:
    """A proxy, through all its upgrades.

    :param config: the path of its configuration.
    :param admin: the port of its admin interface.
    """

    def __init__(
        self, folder: Path, config: Path, admin: int, arguments: list[str], environ: dict[str, str]
    ) -> None:
        self._folder = folder
        self.admin_port = admin
        self._pid_file = folder / "twistd.pid"
        census = folder / "census"
        census.mkdir()
        self._census = census
        self._child = Process(
            [
                *("setsid", TWISTD, "-n", f"--pidfile={self._pid_file}", "tcpmesh"),
                *("--config", str(config), "--use-dynamic-base-id", *arguments),
            ],
            folder / "output",
            {"PYTHONPATH": PROBE, FOLDER: str(census), **environ},
        )
        self._guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, str(self._child.pid)], stdin=subprocess.PIPE
        )

    def wait_ready(self) -> None:
        """Until it serves."""
        self._child.wait(self._serves, "ready")

    @property
    def output(self) -> str:
        """All that it has said."""
        return self._child.output

    @property
    def main(self) -> int:
        """The process that decides, as of now."""
        return int(self._pid_file.read_text())

    def stop(self) -> None:
        """End all processes."""
        with contextlib.suppress(OSError, ValueError):
            main = self.main
            os.kill(main, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: state(main) in "Z ", "the end of the proxy", 20)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        self._child.stop()

    # Which processes there are

    def all(self) -> list[int]:
        """All of them, also those that an upgrade has left to drain."""
        session, found = str(self._child.pid), []
        for name in filter(str.isdigit, os.listdir("/proc")):
            fields = _stat(int(name))
            if len(fields) > 3 and fields[3] == session and fields[0] != "Z":
                found.append(int(name))
        return found

    def workers(self, main: int | None = None) -> dict[int, int]:
        """The workers of a main by their numbers."""
        found = {}
        for pid in below(self.main if main is None else main):
            name = _read(pid, "comm").strip()
            is_worker = WORKER.fullmatch(name)
            if is_worker:
                found[int(is_worker[1])] = pid
        return found

    def serves(self, pid: int) -> bool:
        """Whether a worker has sockets that it accepts clients from."""
        return ("0.0.0.0", 0) in ends(pid)

    def fork_server(self) -> int:
        """The process that workers are forked from; 0 where there is none."""
        return next(
            (pid for pid in below(self.main) if _read(pid, "comm").strip() == "tcpmesh:fork"), 0
        )

    def is_alone(self) -> bool:
        """Whether nothing is left of processes from before an upgrade."""
        mine = {self.main, *below(self.main)}
        return not [pid for pid in self.all() if pid not in mine]

    # What it is asked

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """A page of the admin interface, of which the first process may be long gone."""
        with socket.create_connection(("127.0.0.1", self.admin_port), PATIENCE) as sock:
            sock.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            data = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def stats(self) -> dict[str, int]:
        """Counters and gauges."""
        lines = (line.rpartition(": ") for line in self.ask("/stats")[1].splitlines())
        return {name: int(value) for name, _, value in lines if value.isdigit()}

    def upgrade(self) -> None:
        """Let a new program take over, and wait until it has."""
        before = self.main
        os.kill(before, signal.SIGUSR2)
        wait_for(lambda: _number(self._pid_file) not in (0, before), "an upgrade", PATIENCE)
        wait_for(self._serves, "the new process", PATIENCE)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return self.ask("/ready")[0] == 200
        return False

    # What it consists of

    def see(self, pid: int, role: str) -> Seen:
        """Look into a process."""
        path = self._census / str(pid)
        path.unlink(missing_ok=True)
        memory = resident(pid)
        os.kill(pid, SIGNAL)
        wait_for(path.exists, f"the census of process {pid}", PATIENCE)
        told = json.loads(path.read_text())
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        threads = len(os.listdir(f"/proc/{pid}/task"))
        return Seen(role, memory, fds, threads, told)


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of a process behind its name; the first is its state."""
    return _read(pid, "stat").rpartition(")")[2].split()


def state(pid: int) -> str:
    """How a process is: a letter, or a space where it is no more."""
    return (_stat(pid) or [" "])[0]


def below(pid: int) -> Iterator[int]:
    """All processes below one."""
    for child in _read(pid, f"task/{pid}/children").split():
        yield int(child)
        yield from below(int(child))


def resident(pid: int) -> int:
    """Bytes of a process in RAM: also those that it shares, for to look into it makes them its
    own.
    """
    (found,) = re.findall(r"^VmRSS:\s+(\d+) kB", _read(pid, "status"), re.MULTILINE)
    return int(found) << 10


def ends(pid: int) -> frozenset[tuple[str, int]]:
    """Both ends of all TCP connections that a process has."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":[")
            if kind == "socket":
                inodes.add(inode.rstrip("]"))
    found: set[tuple[str, int]] = set()
    for table in ("tcp", "tcp6"):
        for line in _read(pid, f"net/{table}").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                found.update(map(_address, fields[1:3]))
    return frozenset(found)


def _address(text: str) -> tuple[str, int]:
    """An address as the kernel writes it: words of four bytes, the last byte first."""
    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)


def stopped(pid: int) -> None:
    """Stop a process, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    limit = time.monotonic() + PATIENCE
    while state(pid) not in "TtZ " and time.monotonic() < limit:
        time.sleep(0.001)
