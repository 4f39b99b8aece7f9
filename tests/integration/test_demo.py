"""`make run`: the first thing a newcomer types."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from pathlib import Path
from urllib.request import urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.testing.child import Process

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = (("127.0.0.1", 10000), ("127.0.0.1", 9901), ("127.0.0.2", 8080), ("127.0.0.3", 8080))


def is_taken(address: tuple[str, int]) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def get(url: str) -> str:
    """The body of a page."""
    with urlopen(url, timeout=10.0) as answer:
        return str(answer.read().decode())


class DemoTests(SynchronousTestCase):
    """What configs/demo.py starts, says and stops."""

    def setUp(self) -> None:
        """The demo has fixed addresses: without them there is nothing to test."""
        taken = [f"{host}:{port}" for host, port in ADDRESSES if is_taken((host, port))]
        if taken:
            raise SkipTest(f"the demo's addresses are in use: {', '.join(taken)}")
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-demo-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, name: str) -> Process:
        """Start a demo, stopped when the test ends."""
        demo = Process([sys.executable, str(ROOT / "configs" / "demo.py")], self.folder / name)
        self.addCleanup(demo.stop)
        return demo

    def test_demo(self) -> None:
        """It starts everything, says what to try, all of which works, and stops everything when
        told to.
        """
        demo = self.start("demo")
        demo.wait_output("tcpmesh is running")

        answers = {get("http://127.0.0.1:10000/") for _ in range(2)}
        self.assertEqual(
            {"webserver01", "webserver02"},
            {answer.split("ServerName: ")[1].split(",")[0] for answer in answers},
        )
        for url in {
            word for word in demo.output.split() if word.startswith("http://127.0.0.1:9901/")
        }:
            self.assertNotEqual("", get(url))

        self.assertEqual(0, demo.stop(), demo.output)
        self.assertEqual([], [address for address in ADDRESSES if is_taken(address)])

    def test_taken(self) -> None:
        """Where an address is taken it names that address, and ends with status 1 having started
        nothing.
        """
        with socket.create_server(("127.0.0.3", 8080)):
            demo = self.start("demo")

            self.assertEqual(1, demo.wait_exit())
            self.assertIn("127.0.0.3:8080 cannot be used", demo.output)
            self.assertFalse(is_taken(("127.0.0.2", 8080)))
