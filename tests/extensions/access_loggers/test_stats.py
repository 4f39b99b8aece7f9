"""The logger that makes statistics of connections."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

from envoy.extensions.access_loggers.stats.v3 import stats_pb2

from tcpmesh.extensions.access_loggers import stats
from tcpmesh.extensions.access_loggers.stats import StatsAccessLog, number
from tcpmesh.stats.store import Store
from tcpmesh.values.stream.moment import LogType
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.accesslog.collectors.connections import LATER, connection, served
from tests.mesh import MeshTestCase, parse

START, END = LogType.TCP_CONNECTION_START, LogType.TCP_CONNECTION_END


class StatsAccessLogTests(MeshTestCase):
    """As Envoy 1.40 counts."""

    def make(self, fields: str) -> StatsAccessLog:
        """A logger of a worker, whose statistics begin with p."""
        message = parse(stats_pb2.Config, f"{{stat_prefix: p, {fields}}}")
        return StatsAccessLog(message, self.mesh.worker.context)

    def log(self, logger: Any, info: StreamInfo | None = None, log_type: LogType = END) -> None:
        """Record a connection."""
        logger.log(info or served(), replace(LATER, log_type=log_type))

    @property
    def stats(self) -> dict[str, int]:
        """What the logger has counted."""
        return self.mesh.stats("p.")

    def test_counters(self) -> None:
        """They grow by a number of the connection, or by a fixed one; what is no number counts
        nothing.
        """
        logger = self.make(
            "counters: ["
            "{stat: {name: rx}, value_format: '%BYTES_RECEIVED%'},"
            "{stat: {name: n}, value_fixed: 3},"
            "{stat: {name: none}, value_format: '%PROTOCOL%'},"
            "{stat: {name: text}, value_format: '%UPSTREAM_HOST%'}]"
        )
        self.log(logger)
        self.log(logger)
        self.assertEqual(self.stats, {"rx": 10, "n": 6})

    def test_tags(self) -> None:
        """There is a statistic for each combination of tags, which is their tags for Prometheus
        and sinks, whatever the values are; what is not there is empty.
        """
        logger = self.make(
            "counters: [{stat: {name: n, tags: ["
            "{name: flags, value_format: 'x.%RESPONSE_FLAGS%'},"
            "{name: proto, value_format: '%PROTOCOL%'}]}, value_fixed: 1}]"
        )
        self.log(logger)
        self.assertEqual(self.stats, {"n.flags.x.-.proto.": 1})
        self.assertEqual(
            self.mesh.store.tagger.tag("p.n.flags.x.-.proto."),
            ("p.n", (("flags", "x.-"), ("proto", ""))),
        )

    def test_names_without_tags(self) -> None:
        """No rule looks for tags in a name that was given none."""
        logger = self.make("counters: [{stat: {name: upstream_rq_200}, value_fixed: 1}]")
        self.log(logger)
        name = "p.upstream_rq_200"
        self.assertEqual(self.stats, {"upstream_rq_200": 1})
        self.assertEqual(self.mesh.store.tagger.tag(name), (name, ()))

    def test_histograms(self) -> None:
        """They are given a number of each connection, in the unit that is said."""
        logger = self.make(
            "histograms: ["
            "{stat: {name: rx}, unit: Bytes, value_format: '%BYTES_RECEIVED%'},"
            "{stat: {name: ms}, unit: Milliseconds, value_format: '%DURATION%'},"
            "{stat: {name: us}, unit: Microseconds, value_format: '%DURATION%'},"
            "{stat: {name: share}, unit: Percent, value_format: '%DURATION%'},"
            "{stat: {name: plain}, value_format: '%DURATION%'}]"
        )
        self.log(logger)
        self.log(logger)
        self.mesh.store.collect()
        self.mesh.store.merge_histograms()
        found = {each.name: each for each in self.mesh.store.histograms()}
        seen = {
            name: (found[f"p.{name}"].unit, found[f"p.{name}"].cumulative.sum)
            for name in ("rx", "ms", "us", "share", "plain")
        }
        units = {"ms": "ms", "us": "us", "share": "percent", "plain": ""}
        expected = {name: (unit, 2500) for name, unit in units.items()}
        self.assertEqual(seen, {"rx": ("bytes", 10), **expected})

    def test_a_gauge_that_is_set(self) -> None:
        """At records of its type, to a number of the connection."""
        logger = self.make(
            "gauges: [{stat: {name: last}, value_format: '%BYTES_SENT%',"
            " set: {log_type: TcpConnectionEnd}}]"
        )
        self.log(logger, log_type=START)
        self.assertEqual(self.stats, {})
        self.log(logger)
        self.log(logger)
        self.assertEqual(self.stats, {"last": 8})

    PAIR = (
        "gauges: [{stat: {name: active%s}, value_fixed: 2, add_subtract:"
        " {add_log_type: TcpConnectionStart, sub_log_type: TcpConnectionEnd}}]"
    )

    def test_a_gauge_of_connections_that_live(self) -> None:
        """What one record adds another takes back, once and of the same connection only."""
        logger = self.make(self.PAIR % "")
        one, two = connection(), connection()
        self.log(logger, one, START)
        self.log(logger, one, START)
        self.log(logger, two, START)
        self.assertEqual(self.stats, {"active": 4})
        self.log(logger, one)
        self.log(logger, one)
        self.log(logger, served())
        self.assertEqual(self.stats, {"active": 2})

    def test_what_is_never_taken_back(self) -> None:
        """Where the record that would take it back never comes, or is of other tags, it is taken
        back when the connection is forgotten.
        """
        tags = ", tags: [{name: c, value_format: '%UPSTREAM_CLUSTER_RAW%'}]"
        logger = self.make(self.PAIR % tags)
        info = connection()
        self.log(logger, info, START)
        self.assertEqual(self.stats, {"active.c.": 2})
        self.log(logger, served(info))
        self.assertEqual(self.stats, {"active.c.": 2, "active.c.db": 0})
        del info
        gc.collect()
        self.assertEqual(self.stats["active.c."], 0)

    def test_tags_that_clients_choose(self) -> None:
        """There is an end to the statistics that they make, and what has none is counted; no value
        breaks a line.
        """
        self.patch(stats, "MOST_NAMES", 10)
        logger = self.make(
            "counters: [{stat: {name: n, tags: [{name: k, value_format:"
            " '%DYNAMIC_METADATA(ns:k)%'}]}, value_fixed: 1}]"
        )
        for number_ in range(15):
            info = served()
            info.metadata = {"ns": {"k": f"{number_}\n\r\0"}}
            self.log(logger, info)
        self.assertEqual(len(self.stats), 10)
        self.assertIn("n.k.3___", self.stats)
        self.assertEqual(self.mesh.stat("access_logs.stats.dropped"), 5)

    def test_close(self) -> None:
        """Its statistics go, with their tags, unless another logger has them too."""
        fields = "counters: [{stat: {name: n, tags: [{name: t, value_format: v}]}, value_fixed: 1}]"
        one, two = self.make(fields), self.make(fields)
        self.log(one)
        self.log(two)
        one.close()
        self.assertEqual(self.stats, {"n.t.v": 2})
        self.assertEqual(self.mesh.store.tagger.tag("p.n.t.v")[0], "p.n")
        two.close()
        self.assertEqual(self.stats, {})
        self.assertEqual(self.mesh.store.tagger.tag("p.n.t.v")[0], "p.n.t.v")

    def test_main_is_told_of_tags(self) -> None:
        """What a worker counts has its tags where it is shown."""
        worker, main = Store(), Store()
        main.merge(worker.deltas(), "worker")
        worker.scope("p").counter("n.t.v").tally += 1
        worker.tagger.give("p.n.t.v", ("p.n", (("t", "v"),)))
        deltas = worker.deltas()
        self.assertEqual(deltas.tags, {"p.n.t.v": ("p.n", (("t", "v"),))})
        main.merge(deltas, "worker")
        self.assertEqual(main.tagger.tag("p.n.t.v"), ("p.n", (("t", "v"),)))
        self.assertFalse(worker.deltas())
        self.assertEqual(len(worker.deltas(whole=True).tags), 1)

    def test_numbers(self) -> None:
        """What is no number, or below zero, or beyond all bounds, counts nothing."""
        for value in (None, "", "x", "nan", "inf", "-1", -5, "1_0", "0x10"):
            self.assertIsNone(number(value), value)
        self.assertEqual([number(value) for value in (0, 5, "1.5", "1e3")], [0, 5, 1.5, 1000])
