"""Hosts that see where clients come from, with a real kernel: `original_src` behind a PROXY header.

One network namespace (ip-netns(8)) has the proxy, a host and a client.  The client says by a PROXY
header that it is at 192.0.2.7, an address that nothing here has; what the host sends there is
routed back to the proxy.  It takes root; the reason is printed where the test is skipped.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Process
from tests.integration.test_redirect import inside, run

NAMESPACE = f"tcpmesh-{os.getpid()}-source"

FILTERS = "type.googleapis.com/envoy.extensions.filters.listener"

CONFIG = """
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    listener_filters:
    - name: p
      typed_config:
        "@type": FILTERS.proxy_protocol.v3.ProxyProtocol
    - name: o
      typed_config:
        "@type": FILTERS.original_src.v3.OriginalSrc
        mark: 7
    filter_chains:
    - filters:
      - name: t
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: c
  clusters:
  - name: c
    load_assignment:
      cluster_name: c
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.1.1.1,
        port_value: 80}}}}]}]
"""

HOST = """
import socket
server = socket.create_server(("10.1.1.1", 80))
print("listening", flush=True)
while True:
    connection, (host, port) = server.accept()
    connection.sendall(host.encode())
    connection.close()
"""

CLIENT = """
import socket
client = socket.create_connection(("127.0.0.1", 10000))
client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 11 22\\r\\n")
print("host saw", client.makefile().read(), flush=True)
"""


def why_not() -> str | None:
    """What this test lacks here, or `None`."""
    if shutil.which("ip") is None:
        return "needs ip (package iproute2)"
    if os.geteuid() != 0:
        return "needs root to make a network namespace"
    try:
        run("ip", "netns", "add", NAMESPACE)
        try:
            run("ip", "-n", NAMESPACE, "rule", "add", "fwmark", "7", "lookup", "100")
        finally:
            run("ip", "netns", "delete", NAMESPACE)
    except OSError as error:
        return f"cannot route in a network namespace: {error}"
    return None


class OriginalSrcTests(SynchronousTestCase):
    """What the host sees."""

    skip = why_not()

    def setUp(self) -> None:
        """A namespace in which what is for 192.0.2.0/24 comes back."""
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-source-"))
        self.addCleanup(shutil.rmtree, self.folder)
        run("ip", "netns", "add", NAMESPACE)
        self.addCleanup(run, "ip", "netns", "delete", NAMESPACE)
        for command in (
            "link set lo up",
            "address add 10.1.1.1 dev lo",
            "route add local 192.0.2.0/24 dev lo table 100",
            "rule add to 192.0.2.0/24 lookup 100",
        ):
            run("ip", "-n", NAMESPACE, *command.split())

    def start(self, name: str, *command: str) -> Process:
        """A process in the namespace, stopped when the test ends."""
        child = Process(inside(NAMESPACE, *command), self.folder / f"{name}.log")
        self.addCleanup(child.stop)
        return child

    def test_address(self) -> None:
        """A host sees the address that a client has said it has, which no interface has."""
        path = self.folder / "config.yaml"
        path.write_text(CONFIG.replace("FILTERS", FILTERS))
        self.start("host", sys.executable, "-c", HOST).wait_output("listening")
        options = ("--disable-hot-restart", "--concurrency", "1", "--config", str(path))
        proxy = (TWISTD, "--nodaemon", "--pidfile=", "tcpmesh", *options)
        self.start("proxy", *proxy).wait_output("starting workers")
        client = self.start("client", sys.executable, "-c", CLIENT)
        client.wait_output("host saw")
        self.assertIn("host saw 192.0.2.7", client.output)
