"""The child process of integration tests: started, asked, stopped."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing import child
from tcpmesh.testing.child import PORTS, Child, Process, free_port, wait_for

CONFIG = """
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: l
    address: { socket_address: { address: 127.0.0.1, port_value: %d } }
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: c
  clusters:
  - { name: c, type: STATIC, load_assignment: { cluster_name: c } }
"""


class ProcessTests(SynchronousTestCase):
    """Any program."""

    def run_python(self, text: str) -> Process:
        """One that runs this."""
        folder = Path(self.mktemp())
        folder.mkdir()
        process = Process([sys.executable, "-u", "-c", text], folder / "output", {"WORD": "hello"})
        self.addCleanup(process.stop)
        return process

    def test_output(self) -> None:
        """Its output can be waited for, also what it prints last; it has the variables it was
        given.
        """
        process = self.run_python("import os; print(os.environ['WORD']); raise SystemExit(3)")
        process.wait_output("hello")
        self.assertEqual(3, process.wait_exit())
        process.wait_output("hello")

    def test_ends_before(self) -> None:
        """Waiting for what will never be printed fails at once, with status and output."""
        error = self.assertRaises(
            AssertionError, self.run_python("print('oh no')").wait_output, "hello"
        )
        self.assertIn("status 0", str(error))
        self.assertIn("oh no", str(error))

    def test_stop(self) -> None:
        """It is ended with SIGTERM."""
        with self.run_python("import time; print('up'); time.sleep(60)") as process:
            process.wait_output("up")
            self.assertEqual(-signal.SIGTERM, process.stop())


class PortTests(SynchronousTestCase):
    """Ports for what a test starts."""

    def test_each_once(self) -> None:
        """None is given twice, to whichever process and for whichever host."""
        text = "from tcpmesh.testing.child import free_port\n"
        text += "print(*(free_port() for _ in range(50)), flush=True)\ninput()"
        others = [
            subprocess.Popen(
                [sys.executable, "-c", text],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        ports = [free_port(host) for host in ("127.0.0.1", "::1") for _ in range(50)]
        for other in others:
            assert other.stdout is not None
            ports += map(int, other.stdout.readline().split())
        for other in others:
            other.communicate("\n")
        self.assertEqual(200, len(ports))
        self.assertEqual(200, len(set(ports)))
        self.assertLessEqual(set(ports), set(PORTS))

    def test_taken(self) -> None:
        """One that somebody listens on is passed over, and where all are taken, the error says
        so.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.patch(child, "PORTS", range(port, port + 1))
            error = self.assertRaises(OSError, free_port)
        self.assertEqual(errno.EADDRINUSE, error.errno)
        self.assertEqual(port, free_port())


class ChildTests(SynchronousTestCase):
    """A real process."""

    def test_life(self) -> None:
        """It is waited for, answers, counts, and ends with status 0; its output can be read after
        that.
        """
        port = free_port()
        with Child(CONFIG % port) as proxy:
            proxy.wait_ready()
            self.assertEqual((200, "LIVE\n"), proxy.admin("/ready"))
            self.assertEqual(404, proxy.admin("/nothing-here")[0])
            proxy.wait_listening(port)
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                self.assertEqual(b"", client.recv(1))
            proxy.wait_stat("tcp.t.downstream_cx_total", 2)
            self.assertEqual(0, proxy.stop())
        self.assertIn("starting workers", proxy.output)
        self.assertFalse(proxy.path.exists())

    def test_wrong_configuration(self) -> None:
        """Waiting for a process that ends instead fails at once, with what it said."""
        with Child("nonsense: 1") as proxy:
            error = self.assertRaises(AssertionError, proxy.wait_ready)
            self.assertEqual(1, proxy.wait_exit())
        self.assertIn("nonsense", str(error))

    def test_in_vain(self) -> None:
        """A wait that is in vain says what for."""
        error = self.assertRaises(AssertionError, wait_for, lambda: False, "the moon", 0.01)
        self.assertIn("the moon", str(error))
