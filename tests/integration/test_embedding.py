"""What docs/embedding.md shows, run as it stands there."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Process

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "embedding.md").read_text()
PYTHON = [sys.executable, "-W", "error"]


def block(language: str, text: str) -> str:
    """The block of the page in a language that has a text."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return next(each for each in found if text in each)


class PageTests(SynchronousTestCase):
    """What a reader copies."""

    def setUp(self) -> None:
        """A folder with the page's envoy.yaml, and who it is proxied to."""
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-docs-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.backend = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.backend.close)
        port = str(self.backend.getsockname()[1])
        config = block("yaml", "name: front").replace("8080", port)
        (self.folder / "envoy.yaml").write_text(config)

    def serve_one(self) -> None:
        """Greet one client."""
        sock, _ = self.backend.accept()
        with sock:
            sock.sendall(b"hello\n")

    def ran(self, command: Sequence[str]) -> tuple[int, str]:
        """A command that ends by itself: its status, and what it printed to either output."""
        ran = subprocess.run(
            command,
            cwd=self.folder,
            text=True,
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return ran.returncode, ran.stdout

    def test_twisted(self) -> None:
        """The program of Twisted serves until it is interrupted."""
        (self.folder / "program.py").write_text(block("python", "react(main)"))
        with Process([*PYTHON, "program.py"], self.folder / "output") as program:
            program.wait_output("\n")
            port = int(program.output.removeprefix("front is on port "))
            Thread(target=self.serve_one, daemon=True).start()
            with socket.create_connection(("127.0.0.1", port)) as client:
                self.assertEqual(b"hello\n", client.makefile("rb").readline())

    def test_asyncio(self) -> None:
        """Both programs of asyncio get an answer through the proxy, and end without a warning."""
        for text in ("loop.create_task", "asyncio.run"):
            Thread(target=self.serve_one, daemon=True).start()
            program = block("python", text)
            self.assertEqual((0, "b'hello\\n'\n"), self.ran([*PYTHON, "-c", program]), text)

    def test_asyncio_without_its_reactor(self) -> None:
        """In asyncio, where the reactor is another one, the start fails and says what to do."""
        program = block("python", "asyncio.run")
        program = program.replace("asyncioreactor.install(asyncio.get_running_loop())", "pass")
        status, printed = self.ran([sys.executable, "-c", program])
        self.assertEqual(1, status)
        self.assertIn("call twisted.internet.asyncioreactor.install() before", printed)

    def test_pytest(self) -> None:
        """The test passes under pytest, as often as it is run in one process."""
        (self.folder / "conftest.py").write_text(block("python", "import pytest"))
        test = block("python", "def test_hello")
        for number in range(2):
            (self.folder / f"test_{number}.py").write_text(test)
        status, printed = self.ran([*PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"])
        self.assertEqual(0, status, printed)
        self.assertIn("2 passed", printed)

    def test_wrong(self) -> None:
        """What is printed of a wrong configuration is what the page shows."""
        program = block("python", "except ConfigError")
        self.assertEqual((0, block("text", "adnim")), self.ran([sys.executable, "-c", program]))

    def test_import(self) -> None:
        """`import tcpmesh` imports neither Twisted nor protobuf; the name of what there is not is
        an error.
        """
        program = (
            "import sys, tcpmesh\n"
            "print([name for name in ('twisted', 'google.protobuf') if name in sys.modules])\n"
            "print('Proxy' in dir(tcpmesh), hasattr(tcpmesh, 'Prxy'))\n"
            "print(tcpmesh.Proxy.__module__)\n"
        )
        printed = "[]\nTrue False\ntcpmesh.embedding\n"
        self.assertEqual((0, printed), self.ran([sys.executable, "-c", program]))
