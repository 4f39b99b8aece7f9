"""What docs/extending.md promises to whoever writes an extension, done by the letter."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Process

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
static_resources:
  listeners:
  - name: front
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: echo
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }
"""

#: More than any buffer on the way holds, so that the example's backpressure is needed.
MANY = 20_000_000


class EchoTests(SynchronousTestCase):
    """The example of the page, installed as a package of its own."""

    def setUp(self) -> None:
        """Write the page's module, and the entry point that it tells to declare, where Python finds
        them.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-extending-"))
        self.addCleanup(shutil.rmtree, self.folder)
        page = (ROOT / "docs" / "extending.md").read_text()
        module, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        (entry,) = re.findall(
            r'```toml\n\[project\.entry-points\."(.*?)"\]\n"(.*?)" = "(.*?)"\n```', page
        )
        (self.folder / f"{entry[2]}.py").write_text(module)
        installed = self.folder / "my_echo-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-echo\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text(f"[{entry[0]}]\n{entry[1]} = {entry[2]}\n")

    def start(self) -> tuple[str, int]:
        """Start the proxy; return where its listener is."""
        (self.folder / "echo.yaml").write_text(CONFIG)
        command = [TWISTD, "--nodaemon", "--pidfile=", "tcpmesh", "--config", "echo.yaml"]
        command.append("--disable-hot-restart")
        proxy = Process(
            command, self.folder / "output", {"PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"}
        )
        self.addCleanup(proxy.stop)
        proxy.wait_output("starting workers")
        (port,) = re.findall(r"listener front is open on 127\.0\.0\.1:(\d+)", proxy.output)
        return "127.0.0.1", int(port)

    def test_the_example_echoes(self) -> None:
        """The proxy accepts the type, and the filter sends back all that a client sends, then
        closes.
        """

        def send() -> None:
            client.sendall(bytes(MANY))
            client.shutdown(socket.SHUT_WR)

        with socket.create_connection(self.start(), timeout=20.0) as client:
            sender = threading.Thread(target=send)
            sender.start()
            echoed = 0
            while received := client.recv(1 << 16):
                echoed += len(received)
            sender.join()

        self.assertEqual(MANY, echoed)
