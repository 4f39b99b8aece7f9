"""The console script, as processes: `tcpmesh run` and command lines of Envoy's."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.testing.child import Child, free_port

TCPMESH = str(Path(sys.executable).with_name("tcpmesh"))

CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
{more}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: answer
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
          response: {{inline_string: hello}}
"""


class ProcessTestCase(SynchronousTestCase):
    """A test with a process that answers each client `hello`."""

    def setUp(self) -> None:
        """A port for it."""
        self.port = free_port()

    def child(self, program: Sequence[str], *arguments: str, more: str = "") -> Child:
        """A process of this program, ready."""
        child = Child(CONFIG.format(port=self.port, more=more), arguments, program=program)
        self.addCleanup(child.stop)
        child.wait_ready()
        return child

    def asked(self) -> bytes:
        """What a client is told."""
        with socket.create_connection(("127.0.0.1", self.port), 20.0) as client:
            return client.recv(100)


class RunTests(ProcessTestCase):
    """Serving in the foreground."""

    def test_programs(self) -> None:
        """The script with its command, with Envoy's options alone, and the module serve until
        SIGTERM, which ends them with status 0.
        """
        for program in (
            (TCPMESH, "run"),
            (TCPMESH, "--log-level", "debug", "--disable-hot-restart"),
            (sys.executable, "-m", "tcpmesh", "run"),
        ):
            child = self.child(program)
            self.assertEqual(b"hello", self.asked())
            self.assertIn("[info][main] all dependencies initialized", child.output)
            child.signal(signal.SIGTERM)
            self.assertEqual(0, child.wait_exit(), child.output)
            self.assertFalse((child.path / "twistd.pid").exists())

    def test_cannot_bind(self) -> None:
        """What keeps it from starting is one line, and status 1."""
        with socket.create_server(("127.0.0.1", self.port)):
            child = Child(CONFIG.format(port=self.port, more=""), program=(TCPMESH, "run"))
            self.addCleanup(child.stop)
            self.assertEqual(1, child.wait_exit())
        self.assertEqual(1, len(child.output.splitlines()), child.output)
        self.assertIn(f"127.0.0.1:{self.port}", child.output)

    def test_user(self) -> None:
        """As root it binds its addresses first, and then becomes another user."""
        if os.geteuid() != 0:
            raise SkipTest("needs root")
        child = self.child((TCPMESH, "run", "--uid", "nobody"))
        self.assertEqual(65534, Path(f"/proc/{child.pid}").stat().st_uid)
        self.assertEqual(b"hello", self.asked())


class LogTests(ProcessTestCase):
    """The log of a process."""

    def test_json(self) -> None:
        """With application_log_config each line, from the first to the last, is the JSON that it
        says.
        """
        log_format = '{level: "%l", logger: "%n", text: "%j", at: "%g", n: 1}'
        more = f"application_log_config: {{log_format: {{json_format: {log_format}}}}}"
        child = self.child((TCPMESH, "run", "-l", "debug"), more=more)
        self.assertEqual(b"hello", self.asked())
        child.signal(signal.SIGTERM)
        self.assertEqual(0, child.wait_exit())
        lines = [json.loads(line) for line in child.output.splitlines()]
        self.assertIn(
            {
                "level": "info",
                "logger": "main",
                "text": "all dependencies initialized. starting workers",
                "at": "tcpmesh/server/service.py",
                "n": 1,
            },
            lines,
        )

    def test_full_disk(self) -> None:
        """A log for which there is no room keeps nobody from being served."""
        child = self.child((TCPMESH, "run", "--log-path", "/dev/full", "-l", "trace"))
        self.assertEqual(b"hello", self.asked())
        self.assertEqual(0, child.stop())

    def test_reader_that_sleeps(self) -> None:
        """A pipe at standard error that nobody reads stops neither clients nor the end; a reader
        that wakes up gets whole lines, those first that came first.
        """
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pipe = f"{folder.name}/pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        program = ("sh", "-c", f'exec "$@" 2> {pipe}', "sh", TCPMESH, "run", "-l", "trace")
        child = self.child(program)
        for _ in range(200):
            self.assertEqual(b"hello", self.asked())
        got = b""
        while b"starting workers" not in got:
            try:
                got += os.read(reader, 65536)
            except BlockingIOError:
                child.admin("/ready")
        self.assertEqual(0, child.stop())

    def test_reader_gone(self) -> None:
        """A pipe whose reader has gone is no different."""
        with tempfile.TemporaryDirectory() as folder:
            pipe = f"{folder}/pipe"
            os.mkfifo(pipe)
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            child = self.child(("sh", "-c", f'exec "$@" 2> {pipe}', "sh", TCPMESH, "run"))
            os.close(reader)
            child.admin("/logging?level=trace", "POST")
            self.assertEqual(b"hello", self.asked())
            self.assertEqual(0, child.stop())


class MistakeTests(SynchronousTestCase):
    """Command lines that are wrong, as a shell sees them."""

    def test_one_line(self) -> None:
        """Under both programs a mistake is one line on standard error, and status 1."""
        for program in ([TCPMESH], [TCPMESH, "run"], [f"{Path(TCPMESH).parent}/twistd", "tcpmesh"]):
            for arguments in (["--concurrency", "many"], ["--log-lvel", "x"], ["-l"]):
                ran = subprocess.run(
                    [*program, *arguments], capture_output=True, text=True, timeout=60, check=False
                )
                self.assertEqual((1, ""), (ran.returncode, ran.stdout))
                (line,) = ran.stderr.splitlines()
                self.assertIn(arguments[0], line)
