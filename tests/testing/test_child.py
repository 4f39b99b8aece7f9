"""The child process of integration tests: started, asked, stopped."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, Process, free_port, wait_for

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


class ChildTests(SynchronousTestCase):
    """A real process."""

    def test_life(self) -> None:
        """It is waited for, answers, counts, and ends with status 0; its output can be read after
        that.
        """
        port = free_port()
        with Child(CONFIG % port) as child:
            child.wait_ready()
            self.assertEqual((200, "LIVE\n"), child.admin("/ready"))
            self.assertEqual(404, child.admin("/nothing-here")[0])
            child.wait_listening(port)
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                self.assertEqual(b"", client.recv(1))
            child.wait_stat("tcp.t.downstream_cx_total", 2)
            self.assertEqual(0, child.stop())
        self.assertIn("starting workers", child.output)
        self.assertFalse(child.path.exists())

    def test_wrong_configuration(self) -> None:
        """Waiting for a process that ends instead fails at once, with what it said."""
        with Child("nonsense: 1") as child:
            error = self.assertRaises(AssertionError, child.wait_ready)
            self.assertEqual(1, child.wait_exit())
        self.assertIn("nonsense", str(error))

    def test_in_vain(self) -> None:
        """A wait that is in vain says what for."""
        error = self.assertRaises(AssertionError, wait_for, lambda: False, "the moon", 0.01)
        self.assertIn("the moon", str(error))
