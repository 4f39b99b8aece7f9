"""`tcpmesh top` and `tcpmesh connections` as their users have them: on a terminal, before a running
proxy.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pyte

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port, wait_for
from tests.integration.troubled import Echo, cluster, listener, place

TCPMESH = [sys.executable, "-m", "tcpmesh"]
LOOK = 0.2
"""Seconds between two looks of a screen."""

KEYS = {"ESCAPE": b"\x1b", "ENTER": b"\r"}

SHOW_CURSOR = b"\x1b[?25h"


class Terminal:
    """A program on a terminal that a test can look at.

    :param size: columns and lines.
    """

    def __init__(
        self,
        command: Sequence[str],
        size: tuple[int, int] = (80, 24),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._fd, own = pty.openpty()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes = b""
        """All it has written."""

        self._size(*size)
        os.set_blocking(self._fd, False)
        self._process = subprocess.Popen(
            command,
            stdin=own,
            stdout=own,
            stderr=own,
            start_new_session=True,
            # So that Ctrl-C is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            # pyte knows all that this terminal is told, and not all that others are.
            env={**os.environ, "TERM": "linux", **(environ or {})},
        )
        os.close(own)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._fd)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Another window."""
        self._screen.resize(lines, columns)
        self._size(columns, lines)
        self.signal(signal.SIGWINCH)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def press(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            os.write(self._fd, KEYS.get(key, key.encode()))

    @property
    def text(self) -> str:
        """What is on the screen now."""
        try:
            while data := os.read(self._fd, 65536):
                self.bytes += data
                self._stream.feed(data)
        except OSError:
            pass  # nothing more now, or it has ended
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait(self, *texts: str, gone: str = "") -> None:
        """Wait until the screen has all of these, and has not that."""

        def there() -> bool:
            shown = self.text
            return all(each in shown for each in texts) and not (gone and gone in shown)

        try:
            wait_for(there, f"{texts} on the screen")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.text}") from None

    def status(self) -> int:
        """Wait until it ends; its exit status, or minus the signal that has ended it."""
        wait_for(lambda: (self.text, self._process.poll())[1] is not None, "its end")
        return int(self._process.returncode)


class Served:
    """A proxy with two clients of one cluster, and a cluster whose host refuses."""

    def __init__(self) -> None:
        self._undo = ExitStack()
        self.echo = self._undo.enter_context(Echo())
        self.ports = [free_port() for _ in range(3)]
        self.admin = f"127.0.0.1:{free_port()}"
        listeners = [
            listener("front", self.ports[0], "web"),
            listener("side", self.ports[1], "gone"),
        ]
        clusters = [cluster("web", self.echo.port), cluster("gone", self.ports[2])]
        self.config = json.dumps(
            {
                "admin": {"address": place(int(self.admin.partition(":")[2]))},
                "static_resources": {"listeners": listeners, "clusters": clusters},
            }
        )
        self.start()
        self.clients = [self._client(), self._client()]
        self.addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in self.clients]

    def start(self) -> None:
        """Serve it, once more where that was stopped."""
        self.child = Child(self.config)
        self._undo.callback(self.child.stop)
        self.child.wait_ready()

    def close(self) -> None:
        """It is over."""
        self._undo.close()

    def _client(self) -> socket.socket:
        """A client that is connected, to the end."""
        client = socket.create_connection(("127.0.0.1", self.ports[0]), 10)
        self._undo.callback(client.close)
        client.sendall(b"x")
        client.recv(1)
        return client


class TerminalTests(SynchronousTestCase):
    """Before a running proxy."""

    def setUp(self) -> None:
        """Start it."""
        self.served = Served()
        self.addCleanup(self.served.close)
        self.addresses, self.admin = self.served.addresses, self.served.admin

    def top(self, *arguments: str, **environ: str) -> Terminal:
        """`tcpmesh top` on a terminal."""
        command = [*TCPMESH, "top", "--admin", self.admin, "--interval", str(LOOK), *arguments]
        return Terminal(command, environ=environ)

    def ran(self, *arguments: str) -> tuple[int, str, str]:
        """A command that ends: its status and its output."""
        ran = subprocess.run([*TCPMESH, *arguments], capture_output=True, text=True, timeout=60)
        return ran.returncode, ran.stdout, ran.stderr

    def test_top(self) -> None:
        """On a screen of 80 columns its user sees who is connected and why another one was not,
        closes the one and not the other, in a larger window and a smaller one, and has enough.
        """
        with socket.create_connection(("127.0.0.1", self.served.ports[1]), 10) as refused:
            refused.recv(1)
        with self.top() as terminal:
            terminal.wait(
                "LIVE", "front", "web", self.addresses[0], f"{self.served.ports[2]} refused"
            )
            terminal.press("5", "/", *f"client={self.addresses[1]}", "ENTER")
            terminal.wait("[5:connections]", self.addresses[1], gone=self.addresses[0])
            terminal.resize(120, 30)
            terminal.wait("LISTENER", self.addresses[1])
            terminal.resize(40, 6)
            terminal.wait("CLIENT", gone="LISTENER")
            terminal.resize(80, 24)
            terminal.press("x")
            terminal.wait(f"(y/n)? {self.addresses[1]} to")
            terminal.press("y")
            terminal.wait("closed 1 connection", gone="relaying")
            self.assertEqual(b"", self.served.clients[1].recv(1))
            terminal.press("ESCAPE")
            terminal.wait(self.addresses[0])
            terminal.press("6")
            terminal.wait("[6:closes]", self.addresses[1])
            terminal.press("q")
            self.assertEqual(0, terminal.status())
            self.assertIn(SHOW_CURSOR, terminal.bytes)

    def test_without_colours(self) -> None:
        """Where no colours are wanted, or the terminal has none, none are used."""
        colour = (b"\x1b[31m", b"\x1b[36m", b"\x1b[39m", b"38;5;")
        kinds: tuple[tuple[dict[str, str], bool], ...] = (
            ({}, True),
            ({"NO_COLOR": "1"}, False),
            ({"TERM": "vt100"}, False),
        )
        with ExitStack() as stack:
            terminals = [
                stack.enter_context(self.top("--view", "hosts", **environ)) for environ, _ in kinds
            ]
            for terminal, (environ, expected) in zip(terminals, kinds, strict=True):
                terminal.wait("LIVE", "web")
                self.assertEqual(expected, any(each in terminal.bytes for each in colour), environ)
                terminal.press("\x03")
                self.assertEqual(130, terminal.status())

    def test_printed(self) -> None:
        """What is printed: the table and what scripts get, filtered, in order and no more than is
        asked for; once for all, also by way of the configuration; and what cannot be done, in one
        line.
        """
        self.connections()
        self.once()
        self.cannot()

    def connections(self) -> None:
        """The table and what scripts get: filtered, in order, and no more than is asked for."""
        asked = ("connections", "--admin", self.admin)
        status, printed, _ = self.ran(*asked, f"client={self.addresses[1]}")
        self.assertEqual(0, status)
        lines = printed.splitlines()
        self.assertEqual(3, len(lines))
        self.assertIn(self.addresses[1], lines[1])
        self.assertEqual("1 shown, 1 fit, 2 are open", lines[2])
        _, printed, _ = self.ran(*asked, "--json", "--sort", "-id", "--limit", "1", "cluster=web")
        told = json.loads(printed)
        self.assertEqual([self.addresses[1]], [row["client"] for row in told["connections"]])
        self.assertEqual((2, 2), (told["matched"], told["total"]))
        status, _, said = self.ran(*asked, "clyent=x")
        self.assertEqual(1, status)
        self.assertIn("did you mean 'client'", said)

    def once(self) -> None:
        """For a script all is printed once, also by way of the configuration."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "envoy.yaml"
            path.write_text(self.served.config)
            status, printed, _ = self.ran("top", "--once", "--interval", "0.1", "-c", str(path))
        self.assertEqual(0, status)
        for part in ("LIVE", "front", "web", "connections (2 of 2)", self.addresses[0], "closes"):
            self.assertIn(part, printed)
        self.assertNotIn("\x1b", printed)

    def cannot(self) -> None:
        """What cannot be done is one line and status 1: nobody to ask, no terminal, an unknown
        kind of terminal.
        """
        nobody = f"127.0.0.1:{free_port()}"
        for arguments, line in (
            (["top", "--admin", nobody], f"tcpmesh top: cannot ask {nobody}: Connection refused"),
            (
                ["connections", "--admin", nobody],
                f"tcpmesh connections: cannot ask {nobody}: Connection refused",
            ),
            (
                ["top", "--admin", self.admin],
                "tcpmesh top: this is no terminal: --once prints what is there now",
            ),
        ):
            self.assertEqual((1, "", f"{line}\n"), self.ran(*arguments))
        with self.top(TERM="no-such") as terminal:
            self.assertEqual(1, terminal.status())
            self.assertIn("tcpmesh top: TERM=no-such:", terminal.text)

    def test_comes_back(self) -> None:
        """That it is away is said, and what it did stays on the screen; when it is there again all
        is as before.  `connections --watch` follows it in the same way, until Ctrl-C.
        """
        watch = [*TCPMESH, "connections", "--admin", self.admin, "--watch", "--interval", "0.1"]
        with self.top("--view", "connections") as terminal, Terminal(watch) as watching:
            terminal.wait("LIVE", *self.addresses)
            watching.wait(*self.addresses, "2 are open")
            self.served.clients[0].close()
            for each in (terminal, watching):
                each.wait(self.addresses[1], gone=self.addresses[0])
            self.served.child.stop()
            terminal.wait("trying again", "Connection refused", self.addresses[1])
            watching.wait("Connection refused; trying again")
            self.served.start()
            terminal.wait("LIVE", "none", gone="trying again")
            watching.wait("0 are open")
            watching.press("\x03")
            self.assertEqual(130, watching.status())
            terminal.signal(signal.SIGTERM)
            self.assertEqual(128 + signal.SIGTERM, terminal.status())
            self.assertIn(SHOW_CURSOR, terminal.bytes)
