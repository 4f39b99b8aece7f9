"""Real processes: any program, and a `twistd tcpmesh` started with a configuration and asked
through its admin interface.

For integration tests, and for trying things by hand.  Everything here blocks, with a bound, so it
belongs into synchronous tests or threads, never into a reactor's callbacks::

    with Child(CONFIG) as proxy:
        proxy.wait_ready()
        assert proxy.stat("cluster.c.upstream_cx_total") == 0
"""

from __future__ import annotations

import errno
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

Found = TypeVar("Found")
Running = TypeVar("Running", bound="Process")

TWISTD = str(Path(sys.executable).with_name("twistd"))
"""The twistd of this Python."""

RESTARTS = frozenset(("--base-id", "--restart-epoch", "--disable-hot-restart"))
"""Options of whose processes each may not run beside any other."""

PATIENCE = 20.0
"""Seconds until a wait fails."""

TURN = 0.02
"""Seconds between two looks."""

PORTS = range(10240, 32768)
"""Ports for servers: `ip_local_port_range` begins after them, unless somebody has set it."""

RESERVED: list[socket.socket] = []
"""What says to other processes which ports are given away."""


def wait_for(look: Callable[[], Found], what: str, seconds: float = PATIENCE) -> Found:
    """Look until there is something true, and return it.

    :raise AssertionError: after so many seconds, naming what was waited for.
    """
    limit = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > limit:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(TURN)
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that nobody has, and that this function gives nobody else, in whatever
    process, until this process ends.

    It is below those that the kernel gives to clients and to servers that name no port: such a
    one could be taken by any connection before the caller binds it.

    :raise OSError: where there is none left.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(PORTS, len(PORTS)):
        reserved = socket.socket(socket.AF_UNIX)
        try:
            # An abstract name has one owner in the whole network namespace, and none once it ends.
            reserved.bind(f"\0tcpmesh free port {port}")
            socket.create_server((host, port), family=family, reuse_port=False).close()
        except OSError:
            reserved.close()
        else:
            RESERVED.append(reserved)
            return port
    raise OSError(errno.EADDRINUSE, "no port is free")


def connectable(host: str, port: int) -> bool:
    """True where somebody accepts connections."""
    try:
        socket.create_connection((host, port), 1.0).close()
    except OSError:
        return False
    return True


class Process:
    """A process with its output in a file.  Whoever starts one must stop it: a context manager
    does.
    """

    def __init__(
        self, command: Sequence[str], output: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        """Run a command in the directory of its output, with these environment variables besides
        our own.
        """
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=output.parent,
                env={**os.environ, **(environ or {})},
            )

    def __enter__(self: Running) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return self._output.read_text(errors="replace")

    def wait(self, look: Callable[[], Found], what: str) -> Found:
        """Look until there is something true; an AssertionError with the output where the process
        ends meanwhile.
        """

        def alive() -> Found:
            ended = self._process.poll() is not None
            found = look()
            if ended and not found:
                raise AssertionError(
                    f"ended with status {self._process.returncode} before {what}:\n{self.output}"
                )
            return found

        return wait_for(alive, what)

    def wait_output(self, text: str) -> None:
        """Wait until it has printed `text`."""
        self.wait(lambda: text in self.output, f"{text!r} in the output")

    def wait_exit(self) -> int:
        """Wait until it ends by itself; its exit status."""
        wait_for(lambda: self._process.poll() is not None, "its end")
        return self._process.returncode

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it with SIGTERM, after 10 seconds with SIGKILL; its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Child(Process):
    """One `twistd tcpmesh` that serves `config`, a bootstrap in YAML.

    It runs in a directory of its own, where the configuration is `envoy.yaml` and its output
    `output`, both removed by `stop`.

    Everything is served by one process, unless the arguments say otherwise.

    :param open_files: how many descriptors it may have; as we may where nothing is said.
    :param program: what takes our options.
    """

    def __init__(
        self,
        config: str,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        open_files: int | None = None,
        program: Sequence[str] = (TWISTD, "-n", "--pidfile=", "tcpmesh"),
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tcpmesh")
        self.path = Path(self._directory.name)
        (self.path / "envoy.yaml").write_text(config)
        self._last = ""
        self._admin = self.path / "admin.address"
        if not any(each.startswith("--concurrency") for each in arguments):
            arguments = ("--concurrency", "1", *arguments)
        command = [
            *program,
            "--config",
            "envoy.yaml",
            "--admin-address-path",
            str(self._admin),
            *([] if RESTARTS.intersection(arguments) else ["--use-dynamic-base-id"]),
            *arguments,
        ]
        if open_files is not None:
            command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(open_files), *command]
        super().__init__(command, self.path / "output", environ)

    @property
    def output(self) -> str:
        """All it has printed so far, or had when it was stopped."""
        return super().output if self._output.exists() else self._last

    # Waiting

    def wait_ready(self) -> None:
        """Wait until the admin interface says LIVE."""
        self.wait(lambda: self.admin_address and self._ready(), "ready")

    def wait_listening(self, port: int, host: str = "127.0.0.1") -> None:
        """Wait until a listener accepts; for a configuration without admin interface.  It counts as
        a client.
        """
        self.wait(lambda: connectable(host, port), f"{host}:{port} accepts")

    def _ready(self) -> bool:
        try:
            return self.admin("/ready")[0] == 200
        except OSError:
            return False

    # Asking

    @property
    def admin_address(self) -> str:
        """Where the admin interface is; empty as long as that is not known."""
        return self._admin.read_text().strip() if self._admin.exists() else ""

    def admin(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the admin interface: status and body."""
        request = urllib.request.Request(f"http://{self.admin_address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stats(self) -> dict[str, int]:
        """Every counter and gauge by name."""
        found = re.findall(r"^(\S+): (\d+)$", self.admin("/stats")[1], re.MULTILINE)
        return {name: int(value) for name, value in found}

    def stat(self, name: str) -> int:
        """One counter or gauge."""
        return self.stats()[name]

    def wait_stat(self, name: str, value: int) -> None:
        """Wait until a counter or gauge has this value."""
        self.wait(lambda: self.stats().get(name) == value, f"{name} to be {value}")

    def stop(self) -> int:
        """End it as any process, and remove its directory; its exit status."""
        status = super().stop()
        self._last = self.output
        self._directory.cleanup()
        return status
