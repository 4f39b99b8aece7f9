"""The tutorial itself: its addresses, its ports, its envoy.yaml without a changed character, and
curl.

Three hosts on one bridge, each a network namespace of its own (ip-netns(8)): the front proxy at
172.21.1.254 and two web servers at 172.21.1.2 and 172.21.1.3, asked from 172.21.1.1, as the host
that runs the tutorial's compose file would. Nothing of it is visible outside these namespaces.  It
takes root; the reason is printed where the tests are skipped, and with TCPMESH_REQUIRE_NETNS=1 in
the environment, as in `.ci/run`, that is a failure instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Process, wait_for

ROOT = Path(__file__).resolve().parents[2]

WEBSERVERS = {"webserver01": "172.21.1.2", "webserver02": "172.21.1.3"}
FRONT_PROXY = "172.21.1.254"
LAN = "lan"


def ip(*arguments: str) -> None:
    """Run ip(8); what it complains of is in the error."""
    result = subprocess.run(["ip", *arguments], text=True, capture_output=True)
    if result.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")


def namespace(host: str) -> str:
    """The name of a host's namespace; no other run of these tests has it."""
    return f"tcpmesh-{os.getpid()}-{host}"


def why_not() -> str | None:
    """What these tests lack here, or `None`."""
    missing = [command for command in ("ip", "curl") if shutil.which(command) is None]
    if missing:
        return f"needs {' and '.join(missing)} (packages iproute2, curl)"
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    try:
        ip("netns", "add", namespace("probe"))
        ip("netns", "delete", namespace("probe"))
    except OSError as error:
        return f"cannot make network namespaces: {error}"
    return None


WHY_NOT = why_not()
REQUIRED = os.environ.get("TCPMESH_REQUIRE_NETNS") == "1"


class TutorialTests(SynchronousTestCase):
    """What the tutorial promises its reader."""

    if not REQUIRED:
        skip = WHY_NOT

    def setUp(self) -> None:
        """Lay the cable, start the two web servers and the front proxy."""
        if WHY_NOT is not None:
            self.fail(f"TCPMESH_REQUIRE_NETNS=1, but this {WHY_NOT}")
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-tutorial-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.add_bridge()
        self.webservers = {
            name: self.add_webserver(name, address) for name, address in WEBSERVERS.items()
        }
        self.add_host("front", FRONT_PROXY)
        self.proxy = self.start(
            "front", "tcpmesh", "--config", str(ROOT / "configs" / "envoy.yaml")
        )
        wait_for(self.curl, f"an answer from {FRONT_PROXY}")

    def add_namespace(self, host: str) -> None:
        """A namespace, which goes when the test ends and takes its interfaces along."""
        ip("netns", "add", namespace(host))
        self.addCleanup(ip, "netns", "delete", namespace(host))
        ip("-n", namespace(host), "link", "set", "lo", "up")

    def add_bridge(self) -> None:
        """The tutorial's network, with the reader's own address on it."""
        self.add_namespace(LAN)
        ip("-n", namespace(LAN), "link", "add", "envoymesh", "type", "bridge")
        ip("-n", namespace(LAN), "address", "add", "172.21.1.1/24", "dev", "envoymesh")
        ip("-n", namespace(LAN), "link", "set", "envoymesh", "up")

    def add_host(self, host: str, address: str) -> None:
        """A host on the bridge."""
        self.add_namespace(host)
        ip(
            "-n",
            namespace(LAN),
            "link",
            "add",
            host,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace(host),
        )
        ip("-n", namespace(LAN), "link", "set", host, "master", "envoymesh", "up")
        ip("-n", namespace(host), "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace(host), "link", "set", "eth0", "up")

    def add_webserver(self, name: str, address: str) -> Process:
        """A host that runs the demo backend, as the tutorial's compose file has it."""
        self.add_host(name, address)
        webserver = self.start(name, "tcpmesh-demoapp", "--port", "8080", "--name", name)
        webserver.wait_output("Running on")
        return webserver

    def start(self, host: str, *arguments: str) -> Process:
        """A twistd process on that host, stopped when the test ends."""
        command = [
            "ip",
            "netns",
            "exec",
            namespace(host),
            TWISTD,
            "--nodaemon",
            "--pidfile=",
            *arguments,
        ]
        child = Process(command, self.folder / f"{host}.log")
        self.addCleanup(child.stop)
        return child

    def curl(self) -> str:
        """Ask the front proxy as the tutorial's reader does; the empty string where no answer
        came.
        """
        command = [
            "ip",
            "netns",
            "exec",
            namespace(LAN),
            "curl",
            "--silent",
            "--max-time",
            "5",
            f"http://{FRONT_PROXY}/",
        ]
        return subprocess.run(command, text=True, stdout=subprocess.PIPE).stdout

    def test_answers_in_turn(self) -> None:
        """curl is answered from both web servers in turn, and each saw the front proxy's address as
        its client's.
        """
        answers = [self.curl() for _ in range(10)]

        lines = {
            f"demoapp v1.0 !! ClientIP: {FRONT_PROXY}, ServerName: {name}, ServerIP: {address}!\n"
            for name, address in WEBSERVERS.items()
        }
        self.assertEqual(lines, set(answers))
        self.assertEqual([], [first for first, second in pairwise(answers) if first == second])

    def test_one_access_log_line_for_each_request(self) -> None:
        """Each request is one line on the stdout of the web server that answered it."""
        before = {
            name: child.output.count('"GET / HTTP/1.1" 200')
            for name, child in self.webservers.items()
        }
        for _ in range(6):
            self.curl()

        for name, child in self.webservers.items():
            self.assertEqual(
                before[name] + 3, child.output.count('"GET / HTTP/1.1" 200'), child.output
            )
            self.assertIn(f"{FRONT_PROXY} - - [", child.output)

    def test_a_web_server_down(self) -> None:
        """While one web server is down, its turns are closed without an answer and the other's are
        answered.
        """
        self.webservers["webserver01"].stop()
        answers = [self.curl() for _ in range(6)]

        self.assertEqual(3, answers.count(""))
        self.assertEqual(3, sum("webserver02" in answer for answer in answers))

    def test_stops_cleanly(self) -> None:
        """SIGTERM ends the front proxy with status 0, and its log holds no traceback."""
        self.assertEqual(0, self.proxy.stop())
        self.assertNotIn("Traceback", self.proxy.output)
