"""Connections that a real packet filter has redirected: configs/original-dst.yaml without a changed
character, iptables and curl.

Two network namespaces (ip-netns(8)): a client, and the gateway through which it reaches 10.1.1.0/24
and fd00:1::/64, with the web servers and the proxy.  Nothing of it is visible outside these
namespaces.  It takes root and iptables; the reason is printed where the tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Process, wait_for

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("ip", "curl", "iptables", "ip6tables")
CLIENT, GATEWAY, PROBE = (
    f"tcpmesh-{os.getpid()}-{name}" for name in ("client", "gateway", "redirect")
)
SERVERS = ("10.1.1.1", "10.1.1.2", "10.1.1.9", "fd00:1::1")
"""Addresses of the gateway's own that clients do not know to be so near."""


def run(*arguments: str) -> str:
    """Run a command; what it prints, or an OSError with what it complains of."""
    result = subprocess.run(arguments, text=True, capture_output=True)
    if result.returncode:
        raise OSError(f"{' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def inside(namespace: str, *arguments: str) -> list[str]:
    """A command that is run in a namespace."""
    return ["ip", "netns", "exec", namespace, *arguments]


def redirect(namespace: str) -> None:
    """Redirect what comes in for port 80 to the proxy."""
    for command in ("iptables", "ip6tables"):
        rule = (
            f"{command} --wait -t nat -A PREROUTING -i eth0 -p tcp --dport 80 -j REDIRECT "
            f"--to-ports 15001"
        )
        run(*inside(namespace, *rule.split()))


def why_not() -> str | None:
    """What these tests lack here, or `None`."""
    missing = [command for command in NEEDED if shutil.which(command) is None]
    if missing:
        return f"needs {' and '.join(missing)} (packages iproute2, curl, iptables)"
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    try:
        run("ip", "netns", "add", PROBE)
        try:
            redirect(PROBE)
        finally:
            run("ip", "netns", "delete", PROBE)
    except OSError as error:
        return f"cannot redirect connections in a network namespace: {error}"
    return None


WHY_NOT = why_not()


class RedirectTests(SynchronousTestCase):
    """Clients of the gateway, over the fast transports."""

    transport = "epoll"

    skip = WHY_NOT

    def setUp(self) -> None:
        """Lay the cable, start the web servers and the proxy, and redirect."""
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-redirect-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.connect_namespaces()
        for name, interface, port in (
            ("web", "0.0.0.0", 80),
            ("web6", "fd00:1::1", 80),
            ("special", "127.0.0.1", 8080),
        ):
            arguments = (
                "tcpmesh-demoapp",
                "--interface",
                interface,
                "--port",
                str(port),
                "--name",
                name,
            )
            self.start(name, *arguments).wait_output("Running on")
        self.proxy = self.start(
            "proxy", "tcpmesh", "--config", str(ROOT / "configs" / "original-dst.yaml")
        )
        self.proxy.wait(lambda: "LIVE" in self.admin("/ready"), "the proxy is ready")
        redirect(GATEWAY)

    def connect_namespaces(self) -> None:
        """A cable between a client and the gateway, and the way to the servers."""
        for namespace in (CLIENT, GATEWAY):
            run("ip", "netns", "add", namespace)
            self.addCleanup(run, "ip", "netns", "delete", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run(
            "ip",
            "-n",
            CLIENT,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            GATEWAY,
        )
        for namespace, number in ((CLIENT, 1), (GATEWAY, 254)):
            run("ip", "-n", namespace, "address", "add", f"172.22.1.{number}/24", "dev", "eth0")
            run(
                "ip",
                "-n",
                namespace,
                "address",
                "add",
                f"fd00:2::{number}/64",
                "dev",
                "eth0",
                "nodad",
            )
            run("ip", "-n", namespace, "link", "set", "eth0", "up")
        for address in SERVERS:
            nodad = ("nodad",) if ":" in address else ()
            run("ip", "-n", GATEWAY, "address", "add", address, "dev", "lo", *nodad)
        run("ip", "-n", CLIENT, "route", "add", "10.1.1.0/24", "via", "172.22.1.254")
        run("ip", "-n", CLIENT, "route", "add", "fd00:1::/64", "via", "fd00:2::254")

    def start(self, name: str, *arguments: str) -> Process:
        """A twistd process of the gateway, stopped when the test ends."""
        command = inside(GATEWAY, TWISTD, "--nodaemon", "--pidfile=", *arguments)
        child = Process(command, self.folder / f"{name}.log", {"TCPMESH_TRANSPORT": self.transport})
        self.addCleanup(child.stop)
        return child

    def curl(self, url: str, namespace: str = CLIENT) -> str:
        """Ask as a client; the empty string where no answer came."""
        command = inside(namespace, "curl", "--globoff", "--silent", "--max-time", "5", url)
        return subprocess.run(command, text=True, stdout=subprocess.PIPE).stdout

    def admin(self, path: str) -> str:
        """Ask the proxy's admin interface."""
        return self.curl(f"http://127.0.0.1:9901{path}", GATEWAY)

    def stat(self, name: str) -> int:
        """A statistic of the proxy."""
        (line,) = self.admin(f"/stats?filter=^{name}$").splitlines()
        return int(line.rpartition(" ")[2])

    def test_goes_where_the_client_wanted(self) -> None:
        """A redirected client is answered by the server it asked for, over IPv4 and IPv6; /clusters
        shows just these hosts.
        """
        for address in ("10.1.1.1", "10.1.1.2", "10.1.1.1", "[fd00:1::1]"):
            answer = self.curl(f"http://{address}/")
            self.assertIn(f"ServerIP: {address.strip('[]')}!", answer)
        shown = {
            line.split("::")[1]
            for line in self.admin("/clusters").splitlines()
            if line.startswith("wherever::10.")
        }
        self.assertEqual({"10.1.1.1:80", "10.1.1.2:80"}, shown)
        self.assertIn("wherever::[fd00:1::1]:80::cx_total::1\n", self.admin("/clusters"))
        self.assertEqual(3, self.stat("cluster.wherever.membership_total"))

    def test_handed_over(self) -> None:
        """A client that asked for the address of a listener that is not bound is served by that
        listener.
        """
        self.assertIn("ServerName: special,", self.curl("http://10.1.1.9/"))
        self.assertEqual(1, self.stat("listener.10.1.1.9_80.downstream_cx_total"))
        self.assertEqual(0, self.stat("listener.0.0.0.0_15001.downstream_cx_total"))

    def test_came_directly(self) -> None:
        """A client that was not redirected names no host, and is closed; the proxy is not connected
        to itself.
        """
        for address in ("172.22.1.254", "[fd00:2::254]"):
            self.assertEqual("", self.curl(f"http://{address}:15001/"))
        wait_for(
            lambda: self.stat("cluster.wherever.upstream_cx_none_healthy") == 2,
            "two clients without a host",
        )
        self.assertEqual(0, self.stat("cluster.wherever.upstream_cx_total"))

    def test_stops_cleanly(self) -> None:
        """SIGTERM ends the proxy with status 0, and its log holds no traceback."""
        self.curl("http://10.1.1.1/")
        self.assertEqual(0, self.proxy.stop())
        self.assertNotIn("Traceback", self.proxy.output)


class StockRedirectTests(RedirectTests):
    """The same over Twisted's own transports."""

    transport = "stock"
