"""Access logs of a real process: its standard output, files that are moved away, and files that
take nothing.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port, wait_for
from tests.integration.test_serve import cluster, listener, tcp

FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
STDOUT = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
FORMAT = 'log_format: {text_format: "%s %%BYTES_SENT%%\\n"}'


def logs(*loggers: str) -> str:
    """The field of a tcp_proxy with these typed configurations."""
    entries = ", ".join(f"{{name: f, typed_config: {{{each}}}}}" for each in loggers)
    return f"cluster: none, access_log: [{entries}]"


def to_file(path: Path | str, word: str) -> str:
    """A logger to a file, whose lines begin with a word."""
    return f'"@type": {FILE}, path: {path}, {FORMAT % word}'


class LogTests(SynchronousTestCase):
    """One process with many logs."""

    def connect(self, port: int, times: int = 1) -> None:
        """Clients that come and are closed, for there is no host for them."""
        for _ in range(times):
            with socket.create_connection(("127.0.0.1", port), 15.0) as client:
                self.assertEqual(b"", client.recv(1))

    def serve(self, port: int, *loggers: str) -> Child:
        """A proxy that logs its clients there, and its admin interface's requests."""
        admin = f"access_log_path: admin.log, address: {tcp('127.0.0.1')}"
        front = listener("front", tcp("127.0.0.1", port), logs(*loggers))
        child = Child(
            f"admin: {{{admin}}}\nstatic_resources:\n  listeners:\n{front}  clusters:\n"
            + cluster("c", tcp("127.0.0.1", 1)),
            ("--file-flush-interval-msec", "50"),
        )
        self.addCleanup(child.stop)
        child.wait_ready()
        return child

    def test_all(self) -> None:
        """Each log gets its records, whatever becomes of the others: standard output, a file that
        is moved away, a full disk, a FIFO that nobody reads; and nobody waits for them.
        """
        folder, port = Path(self.mktemp()).absolute(), free_port()
        folder.mkdir()
        os.mkfifo(folder / "fifo")
        child = self.serve(
            port,
            f'"@type": {STDOUT}, {FORMAT % "stdout"}',
            to_file("/dev/full", "full"),
            to_file(folder / "fifo", "x" * 3000),
            to_file("access.log", "file"),
        )
        log, moved = child.path / "access.log", child.path / "moved.log"
        self.connect(port, 50)
        wait_for(lambda: log.read_text() == "file 0\n" * 50, "all records")
        child.wait(lambda: child.output.count("stdout 0\n") == 50, "those of standard output")
        self.assertGreater(child.stat("filesystem.write_failed"), 0)
        log.rename(moved)
        child.signal(signal.SIGUSR1)
        wait_for(log.exists, "a new file")
        self.connect(port)
        wait_for(lambda: log.read_text() == "file 0\n", "the next record")
        self.assertEqual("file 0\n" * 50, moved.read_text())
        self.assertIn('"GET /ready HTTP/1.1" 200 - ', (child.path / "admin.log").read_text())
        with open(folder / "fifo", "rb", buffering=0) as reader:
            self.assertTrue(reader.read(100).startswith(b"xxx"))
        self.assertNotIn("Traceback", child.output)

    def test_end(self) -> None:
        """At the end all is written that there is, for two seconds at most."""
        folder, port = Path(self.mktemp()).absolute(), free_port()
        folder.mkdir()
        os.mkfifo(folder / "fifo")
        child = self.serve(
            port, to_file(folder / "fifo", "x" * 3000), to_file(folder / "log", "file")
        )
        self.connect(port, 50)
        child.signal(signal.SIGTERM)
        self.assertEqual(0, child.wait_exit())
        self.assertEqual("file 0\n" * 50, (folder / "log").read_text())
        self.assertIn(f"{folder}/fifo is not complete: it is stuck", child.output)
