"""The access logs of a tcp_proxy and of its listener: how many records, of what kind, and when."""

from __future__ import annotations

from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2

from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.upstreams import Echo
from tcpmesh.values.hosts import HealthFlag
from tests.mesh import FRONT, MeshTestCase

HOST = "127.0.0.2:80"
FILE = f"type.googleapis.com/{file_pb2.FileAccessLog.DESCRIPTOR.full_name}"
PROXY = f"type.googleapis.com/{proxy_protocol_pb2.ProxyProtocol.DESCRIPTOR.full_name}"


def file_log(path: str, text: str) -> str:
    """The `access_log` field of one text log to a file, in YAML flow style."""
    return (
        f'access_log: [{{name: f, typed_config: {{"@type": {FILE}, path: {path}, '
        f'log_format: {{text_format_source: {{inline_string: "{text}"}}}}}}}}]'
    )


class LogTests(MeshTestCase):
    """What is written of a client."""

    FORMAT = "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS%"

    def serve(self, options: str = "", more: str = "") -> None:
        """A tcp_proxy that logs to `log`, as does its listener, and one host."""
        self.backend = self.mesh.upstream(HOST, Echo())
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve(
            f"cluster: c, {file_log('log', self.FORMAT)}{options}",
            f"{{{file_log('log', self.FORMAT)}{more}}}",
        )

    @property
    def logged(self) -> list[str]:
        """What was logged so far."""
        return self.mesh.logged("log")

    def test_end(self) -> None:
        """Of each connection that has ended its listener writes a record, and then tcp_proxy."""
        self.serve()
        client = self.mesh.connect()
        client.transport.write(b"12345678")
        self.mesh.pump()
        self.assertEqual([], self.logged)
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(["NotSet 8 8 -", "TcpConnectionEnd 8 8 -"], self.logged)

    def test_all_kinds(self) -> None:
        """access_log_options has a record written at the beginning, when the upstream is connected,
        and at intervals as long as the client is there.
        """
        self.serve(
            ", access_log_options: {flush_access_log_on_start: true, "
            "flush_access_log_on_connected: true, access_log_flush_interval: 5s}"
        )
        client = self.mesh.connect()
        self.assertEqual(["TcpConnectionStart 0 0 -", "TcpUpstreamConnected 0 0 -"], self.logged)
        client.transport.write(b"123")
        self.mesh.advance(5)
        client.transport.write(b"45")
        self.mesh.advance(5)
        self.assertEqual(["TcpPeriodic 3 3 -", "TcpPeriodic 5 5 -"], self.logged[2:])
        client.transport.loseConnection()
        self.mesh.pump()
        self.mesh.advance(20)
        self.assertEqual(["NotSet 5 5 -", "TcpConnectionEnd 5 5 -"], self.logged[4:])

    def test_old_fields(self) -> None:
        """The fields of old times for the same work too."""
        self.serve(", flush_access_log_on_connected: true, access_log_flush_interval: 5s")
        client = self.mesh.connect()
        self.mesh.advance(5)
        self.assertEqual(["TcpUpstreamConnected 0 0 -", "TcpPeriodic 0 0 -"], self.logged)
        client.transport.abortConnection()
        self.mesh.advance(20)
        self.assertEqual(4, len(self.logged))

    def test_no_host(self) -> None:
        """A client that gets no upstream is written down as well, and that is the end of it."""
        self.serve(", access_log_options: {access_log_flush_interval: 1s}")
        self.mesh.add_cluster("c")
        self.mesh.connect()
        self.mesh.advance(10)
        self.assertEqual(["NotSet 0 0 UH", "TcpConnectionEnd 0 0 UH"], self.logged)

    def test_while_connecting(self) -> None:
        """Records at intervals are written also while no upstream is connected."""
        self.serve(", access_log_options: {access_log_flush_interval: 1.8s}")
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.dial()
        self.mesh.advance(2)
        self.mesh.advance(2)
        self.assertEqual(["TcpPeriodic 0 0 -"] * 2, self.logged)
        self.mesh.advance(1)
        self.assertEqual(["NotSet 0 0 UF,URX", "TcpConnectionEnd 0 0 UF,URX"], self.logged[2:])

    def test_unserved(self) -> None:
        """A client that a listener filter rejects gets a record of its listener alone, with no
        number; so does one that is late, leaves or resets.
        """
        self.FORMAT = "%ACCESS_LOG_TYPE% %CONNECTION_ID% %DOWNSTREAM_LOCAL_ADDRESS%"
        self.serve(more=f', listener_filters: [{{name: p, typed_config: {{"@type": {PROXY}}}}}]')
        self.mesh.connect().transport.write(b"garbage garbage\r\n")
        self.mesh.connect().transport.loseConnection()
        self.mesh.connect().transport.abortConnection()
        self.mesh.connect()
        self.mesh.advance(15)
        self.assertEqual([f"NotSet 0 {FRONT}"] * 4, self.logged)

    def test_removed(self) -> None:
        """The log of a listener that was removed is written to until its last client has left."""
        self.serve()
        client = self.mesh.connect()
        self.mesh.listeners.remove("l")
        self.assertEqual([], self.logged)
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(2, len(self.logged))
        users = [each.files["log"].users for each in self.mesh._access_logs if each.files]
        self.assertEqual([0], users)

    def test_at_the_end(self) -> None:
        """When the proxy ends, a record is written of each client that is still there."""
        self.serve()
        self.mesh.connect()
        self.mesh.main.stop()
        self.mesh.pump()
        self.assertEqual(["NotSet 0 0 -", "TcpConnectionEnd 0 0 -"], self.logged)

    def test_nowhere(self) -> None:
        """A log to /dev/null alone is none: nothing is asked of a connection for it."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve(f"cluster: c, {file_log('/dev/null', self.FORMAT)}")
        (listener,) = self.mesh.worker.listeners._listeners.values()
        (chain,) = listener._chains
        self.assertIsNone(chain.filters.access_logs)

    def test_reopen(self) -> None:
        """Main has its workers open their logs anew."""
        self.serve()
        self.mesh.main.reopen_logs()
        self.assertEqual([1, 1], [each.reopened for each in self.mesh._access_logs])


class ReasonTests(MeshTestCase):
    """What `%TCPMESH(close_reason)%` says."""

    def serve(self, fields: str = "", cluster: str = "", *hosts: str) -> None:
        """A tcp_proxy that logs reasons."""
        self.backend = self.mesh.upstream(HOST, Echo())
        self.mesh.add_cluster("db", *(hosts or (HOST,)), more=cluster)
        self.mesh.serve(f"cluster: db, {file_log('log', '%TCPMESH(close_reason)%')}{fields}")

    @property
    def said(self) -> str:
        """The reason of the only client."""
        (reason,) = self.mesh.logged("log")
        return reason

    def test_reset(self) -> None:
        """Which host reset it, and after how many seconds without a byte."""
        self.serve()
        self.mesh.connect()
        self.mesh.connections[-1].transport.quiet = 12.4
        self.backend.clients[-1].transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(f"upstream {HOST} reset after 12.4 s idle", self.said)

    def test_closed(self) -> None:
        """Who closed first."""
        self.serve()
        client = self.mesh.connect()
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual("client closed", self.said)

    def test_refused(self) -> None:
        """Which host refused, by what error, at which attempt."""
        self.mesh.network.refused.add(address_of("127.0.0.9:1"))
        self.serve(", max_connect_attempts: 2", "", "127.0.0.9:1")
        self.mesh.connect()
        self.mesh.advance(0)
        self.assertEqual("connect to 127.0.0.9:1 refused (errno 111), 2nd of 2 attempts", self.said)

    def test_unhealthy(self) -> None:
        """How many hosts there are, and why none of them may be used."""
        self.serve(
            "", "{common_lb_config: {healthy_panic_threshold: {value: 0}}}", HOST, "1.1.1.1:1"
        )
        for host in (HOST, "1.1.1.1:1"):
            self.mesh.set_flags("db", host, add=HealthFlag.failed_active_hc)
        self.mesh.connect()
        self.assertEqual("no host: all 2 of cluster db are unhealthy (panic off)", self.said)

    def test_idle(self) -> None:
        """Which timer it was."""
        self.serve(", idle_timeout: 8s")
        self.mesh.connect()
        for _ in range(10):
            self.mesh.advance(1)
        self.assertEqual("idle for idle_timeout: 8 s", self.said)

    def test_no_cluster(self) -> None:
        """The name of a cluster that does not exist."""
        self.serve()
        self.mesh.clusters.remove("db")
        self.mesh.connect()
        self.assertEqual("no cluster db", self.said)
