"""The logger that sends to fluentd."""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.fluentd.v3 import fluentd_pb2

from tcpmesh.extensions.access_loggers.fluentd import MOST_UNSENT, FluentdAccessLog
from tcpmesh.logs.reachability import STEADY
from tcpmesh.testing.recording import RecordingProtocol
from tests.accesslog.collectors.connections import BEGAN, LATER, served
from tests.mesh import MeshTestCase, parse
from tests.told import told_in
from tests.wire.unpacking import unpacked

HOST = "127.0.0.2:24224"
SECOND = int(BEGAN + 1.5)
FIELDS = "cluster: f, tag: my.tag, stat_prefix: p, record: %s, %s"
RECORD = "{rx: '%BYTES_RECEIVED%', text: 'x-%PROTOCOL%', none: '%PROTOCOL%', in: {n: [1, true]}}"
READ = {"in": {"n": [1, True]}, "none": None, "rx": 5, "text": "x--"}


class FluentdAccessLogTests(MeshTestCase):
    """With a fluentd that does as it is told."""

    def setUp(self) -> None:
        """A cluster f of one host."""
        super().setUp()
        self.served: list[RecordingProtocol] = []
        self.mesh.upstream(HOST).make = self._serve
        self.mesh.add_cluster("f", HOST, more="connect_timeout: 1s")

    def _serve(self) -> RecordingProtocol:
        self.served.append(RecordingProtocol())
        return self.served[-1]

    def make(self, more: str = "", record: str = RECORD) -> FluentdAccessLog:
        """A logger of a worker."""
        message = parse(fluentd_pb2.FluentdAccessLogConfig, f"{{{FIELDS % (record, more)}}}")
        return FluentdAccessLog(message, self.mesh.worker.context)

    def log(self, logger: FluentdAccessLog, times: int = 1) -> None:
        """Record a connection, so many times."""
        for _ in range(times):
            logger.log(served(), LATER)
        self.mesh.pump()

    def got(self, number: int = -1) -> list[Any]:
        """What a connection brought."""
        return unpacked(bytes(self.served[number].received))

    def stats(self) -> dict[str, int]:
        """What the logger has counted that is not 0."""
        stats = self.mesh.stats("access_logs.fluentd.p.")
        return {name: value for name, value in stats.items() if value}

    def advance(self, seconds: float) -> None:
        """Let time pass, and all happen that can."""
        self.mesh.advance(seconds)
        self.mesh.advance(0.001)

    def test_records_are_sent_in_forward_mode(self) -> None:
        """After the interval they go together under their tag: the time in seconds, and a record
        whose keys are sorted and whose values have their types.
        """
        logger = self.make()
        self.log(logger, 2)
        self.assertEqual(self.served, [])
        self.advance(1.0)
        entry = [SECOND, READ]
        self.assertEqual(self.got(), [["my.tag", [entry, entry]]])
        self.assertEqual(list(self.got()[0][1][0][1]), sorted(READ))
        self.log(logger)
        self.advance(1.0)
        self.assertEqual(self.got()[1:], [["my.tag", [entry]]])
        self.assertEqual(len(self.served), 1)
        self.assertEqual(self.stats(), {"entries_buffered": 3, "events_sent": 2})

    def test_without_a_buffer_each_record_goes_for_itself(self) -> None:
        """`buffer_size_bytes: 0` keeps nothing together, but for what waits for a connection."""
        logger = self.make("buffer_size_bytes: 0")
        self.log(logger)
        self.advance(0.0)
        self.log(logger)
        self.log(logger)
        self.assertEqual([len(entries) for _, entries in self.got()], [1, 1, 1])

    def test_a_fluentd_that_is_down_is_tried_again(self) -> None:
        """Records wait for it as far as the buffer reaches, and what has no room is counted; the
        log says once that it is lost, and that it is back.
        """
        told = told_in(self, "filter")
        self.mesh.add_cluster("f", "127.0.0.9:9")
        logger = self.make("buffer_size_bytes: 100, buffer_flush_interval: 0.1s")
        self.log(logger, 5)
        for _ in range(10):
            self.advance(1.0)
        stats = self.stats()
        self.assertEqual(stats["entries_buffered"] + stats["entries_lost"], 5)
        self.assertGreater(stats["entries_lost"], 0)
        self.assertGreater(stats["reconnect_attempts"], 1)
        self.mesh.add_cluster("f", HOST)
        for _ in range(6):
            self.advance(1.0)
        ((_, entries),) = self.got()
        self.assertEqual(len(entries), stats["entries_buffered"])
        self.mesh.advance(STEADY)
        self.log(logger, 5)
        self.advance(1.0)
        lost, back = told.lines
        self.assertIn("fluentd of cluster 'f' is lost: it cannot be connected to;", lost)
        self.assertEqual("fluentd of cluster 'f' is back", back)

    def test_attempts_may_have_an_end(self) -> None:
        """After `max_connect_attempts`, counted from the beginning as in Envoy, nothing is tried
        any more, and all records are lost.
        """
        self.mesh.add_cluster("f", "127.0.0.9:9")
        retry = "retry_options: {max_connect_attempts: 3, backoff_options: {base_interval: 0.1s}}"
        logger = self.make(retry)
        self.log(logger, 2)
        for _ in range(20):
            self.advance(1.0)
        self.log(logger)
        self.assertEqual(
            self.stats(),
            {
                "connections_closed": 3,
                "entries_buffered": 2,
                "entries_lost": 3,
                "reconnect_attempts": 2,
            },
        )
        self.assertEqual(self.mesh.stat("cluster.f.upstream_cx_connect_attempts_exceeded"), 1)

    def test_one_attempt(self) -> None:
        """There is at least one attempt."""
        self.mesh.add_cluster("f", "127.0.0.9:9")
        logger = self.make("retry_options: {max_connect_attempts: 0}")
        self.log(logger)
        for _ in range(20):
            self.advance(1.0)
        counted = {"connections_closed": 1, "entries_buffered": 1, "entries_lost": 1}
        self.assertEqual(self.stats(), counted)

    def test_ready_again(self) -> None:
        """A connection that is lost is made again before there is anything to send."""
        logger = self.make("buffer_flush_interval: 1000s, buffer_size_bytes: 10")
        self.log(logger)
        self.advance(1.0)
        self.served[0].transport.loseConnection()
        self.mesh.pump()
        for _ in range(10):
            self.advance(1.0)
        self.assertEqual(2, len(self.served))

    def test_a_fluentd_that_hangs_up(self) -> None:
        """It is connected to again, and gets the records that come then."""
        logger = self.make()
        self.log(logger)
        self.advance(1.0)
        self.served[0].transport.loseConnection()
        self.mesh.pump()
        self.log(logger)
        for _ in range(4):
            self.advance(1.0)
        self.assertEqual([len(self.got(number)) for number in (0, 1)], [1, 1])
        self.assertEqual(self.stats()["connections_closed"], 1)

    def test_a_fluentd_that_does_not_read(self) -> None:
        """What waits for it is bounded; then records are lost and counted."""
        logger = self.make("buffer_flush_interval: 0.1s", "{text: '%s'}" % ("x" * 2000))
        self.log(logger)
        self.advance(0.2)
        self.served[0].transport.pauseProducing()
        for _ in range(150):
            for _ in range(10):
                logger.log(served(), LATER)
            self.advance(0.1)
        self.assertGreater(self.stats()["entries_lost"], 0)
        self.assertLess(logger.sender._connection.buffered, MOST_UNSENT + 40000)

    def test_no_cluster(self) -> None:
        """A cluster that is gone is waited for."""
        logger = self.make()
        self.mesh.clusters.remove("f")
        self.log(logger)
        for _ in range(3):
            self.advance(1.0)
        self.assertGreater(self.stats()["reconnect_attempts"], 0)
        self.mesh.add_cluster("f", HOST)
        for _ in range(6):
            self.advance(1.0)
        self.assertEqual(len(self.got()), 1)

    def test_close(self) -> None:
        """What waits is sent where there is a connection, and the connection ends after it."""
        logger = self.make()
        self.log(logger)
        self.advance(1.0)
        self.log(logger)
        logger.close()
        self.mesh.pump()
        self.assertEqual(len(self.got()), 2)
        self.assertTrue(self.served[0].ended)
        self.assertEqual(self.mesh.stat("cluster.f.upstream_cx_active"), 0)

    def test_close_without_a_connection(self) -> None:
        """Nothing is tried any more, and what waits is lost."""
        self.mesh.add_cluster("f", "127.0.0.9:9")
        logger = self.make()
        self.log(logger)
        self.advance(1.0)
        logger.close()
        attempts = self.mesh.stat("cluster.f.upstream_cx_total")
        self.advance(60.0)
        self.assertEqual(self.stats()["entries_lost"], 1)
        self.assertEqual(self.mesh.stat("cluster.f.upstream_cx_total"), attempts)
