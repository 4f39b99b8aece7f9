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
from tests.integration import embedded

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "embedding.md").read_text()
CANCELLED = """
import asyncio, os
from twisted.internet import asyncioreactor
from tcpmesh import Proxy

async def serve(proxy):
    async with proxy:
        raise AssertionError("it got to serve")

async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    reactor.startRunning(installSignalHandlers=False)
    proxy = Proxy("envoy.yaml")
    # Twisted keeps a descriptor in reserve from its first port on.
    from twisted.internet.protocol import Factory
    await reactor.listenTCP(0, Factory()).stopListening().asFuture(asyncio.get_running_loop())
    before = os.listdir("/proc/self/fd")
    task = asyncio.create_task(serve(proxy))
    await asyncio.sleep(0.1)
    assert before != os.listdir("/proc/self/fd")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    print(before == os.listdir("/proc/self/fd"))

asyncio.run(main())
"""

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

    def test_cancelled(self) -> None:
        """A task of asyncio that is cancelled while it starts a proxy leaves nothing open behind
        it.
        """
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(names.close)
        names.bind(("127.0.0.1", 0))
        mute = self.backend.getsockname()[1]
        config = embedded.config(mute, mute, names.getsockname()[1])
        text = config.replace("wait_for_warm_on_init: false", "")
        (self.folder / "envoy.yaml").write_text(text)
        self.assertEqual((0, "True\n"), self.ran([sys.executable, "-c", CANCELLED]))

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
        """`import tcpmesh` imports neither Twisted nor protobuf, and `Proxy` leaves the choice of a
        reactor open; the name of what there is not is an error.
        """
        program = (
            "import sys, tcpmesh\n"
            "print([name for name in ('twisted', 'google.protobuf') if name in sys.modules])\n"
            "print('Proxy' in dir(tcpmesh), hasattr(tcpmesh, 'Prxy'))\n"
            "print(tcpmesh.Proxy.__module__, 'twisted.internet.reactor' in sys.modules)\n"
        )
        printed = "[]\nTrue False\ntcpmesh.embedding False\n"
        self.assertEqual((0, printed), self.ran([sys.executable, "-c", program]))
