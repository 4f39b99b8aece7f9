"""Processes that have used up their descriptors."""

from __future__ import annotations

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.testing.child import PATIENCE, Child
from tests.integration.embedded import a_filter, address, endpoint
from tests.integration.test_workers import Echo

LIMIT = 200

OPTIONS = ["--log-path", "log", "--file-flush-interval-msec", "50"]

LOG = (
    '{name: f, typed_config: {"@type": type.googleapis.com/'
    "envoy.extensions.access_loggers.file.v3.FileAccessLog, path: access}}"
)

NOT_IMPLEMENTED = 501
TCMALLOC = {"/memory/tcmalloc", "/heap_dump", "/peak_heap_dump"}
"""What Envoy shows of its allocator, which Python does not have."""

CONFIG = """
admin: {{address: {any}}}
static_resources:
  listeners:
  - {{name: l, address: {any}, filter_chains: [{{filters: [{proxy}]}}], access_log: [{log}]}}
  clusters:
  - name: echo
    load_assignment: {{cluster_name: echo, endpoints: [{{lb_endpoints: [{echo}]}}]}}
    common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}
    outlier_detection: {{consecutive_5xx: 1, max_ejection_percent: 100}}
    health_checks:
    - {{timeout: 1s, interval: 0.1s, no_traffic_interval: 0.1s, unhealthy_threshold: 1,
        healthy_threshold: 1, tcp_health_check: {{}}}}
"""


class ShortageTests(SynchronousTestCase):
    """More clients than there are descriptors for, over the transports of this run."""

    def test_the_rest_goes_on(self) -> None:
        """Every page of the admin interface that has an end is answered, most of them for the
        first time, logs are opened anew, hosts are checked and stay healthy, no failure is
        counted on them and none is ejected, and when clients leave those that waited are served.
        """
        self.check(1)

    def test_several_workers(self) -> None:
        """The same where each of two workers has used up its own."""
        self.check(2)

    def check(self, workers: int) -> None:
        """All that, of a proxy with so many."""
        echo = Echo()
        self.addCleanup(echo.close)
        proxy = a_filter("network.tcp_proxy.v3.TcpProxy", "stat_prefix: t, cluster: echo")
        config = CONFIG.format(
            any=address(0), proxy=proxy, echo=endpoint(echo.server_address[1]), log=LOG
        )
        options = [*OPTIONS, "--concurrency", str(workers)]
        with Child(config, options, open_files=LIMIT) as child:
            child.wait_ready()
            host, _, port = child.admin("/listeners")[1].strip().rpartition("::")[2].rpartition(":")
            count = LIMIT * workers
            clients = [socket.create_connection((host, int(port))) for _ in range(count)]
            for client in clients:
                self.addCleanup(client.close)
            log = child.path / "log"
            child.wait(lambda: log.read_text().count("not accepting") == workers, "the rest")
            checks = child.stat("cluster.echo.health_check.success")
            pages = [each.path for each in ENDPOINTS if not each.changes and each.path != "/live"]
            statuses = {each: child.admin(each)[0] for each in pages}
            missing = {each for each, status in statuses.items() if status == NOT_IMPLEMENTED}
            self.assertEqual({200, NOT_IMPLEMENTED}, {*statuses.values()})
            self.assertEqual(TCMALLOC, missing)
            for each in ("log", "access"):
                (child.path / each).rename(child.path / f"{each}.1")
            child.admin("/reopen_logs", "POST")
            child.wait(lambda: (child.path / "log").exists(), "the new log")
            # Reset, so that it is logged at once; another one, that waits, takes its place.
            clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            clients[0].close()
            child.wait(lambda: (child.path / "access").exists(), "the new access log")
            name = "cluster.echo.health_check.success"
            child.wait(lambda: child.stat(name) > checks + 3, "more checks")
            stats = child.stats()
            self.assertEqual(
                (0, 0, 1, 0, 0),
                (
                    stats["cluster.echo.health_check.failure"],
                    stats["cluster.echo.upstream_cx_connect_fail"],
                    stats["cluster.echo.membership_healthy"],
                    stats["cluster.echo.upstream_cx_none_healthy"],
                    stats["cluster.echo.outlier_detection.ejections_total"],
                ),
            )
            for client in clients[1:-1]:
                client.close()
            clients[-1].send(b"hello")
            clients[-1].settimeout(PATIENCE)
            self.assertEqual(b"hello", clients[-1].recv(10))
