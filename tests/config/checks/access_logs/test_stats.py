"""What Envoy refuses of the logger that makes statistics; each case was put to Envoy 1.40."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.checks.access_logs.test_collectors import log
from tests.config.texts import said

STATS = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
COUNTER = "stat_prefix: p, counters: [{stat: {name: c}%s}]"
GAUGE = "stat_prefix: p, gauges: [{stat: {name: g}, value_fixed: 1%s}]"
PAIR = ", add_subtract: {add_log_type: %s, sub_log_type: %s}"


class StatsChecksTests(SynchronousTestCase):
    """Counters and gauges."""

    def check(self, cases: dict[str, str]) -> None:
        """Each has the problem that stands beside it, and an empty one none."""
        for fields, wanted in cases.items():
            found = said(log(STATS, fields))
            if wanted:
                self.assertEqual(len(found), 1, (fields, found))
                self.assertIn(wanted, found[0])
            else:
                self.assertEqual(found, [], fields)

    def test_values(self) -> None:
        """A value is one operator, or fixed."""
        tag = ", value_fixed: 1"
        self.check(
            {
                "stat_prefix: p": "",
                "counters: []": "either stat_prefix or stats_scope is needed",
                COUNTER % ", value_fixed: 1": "",
                COUNTER % ", value_format: '%BYTES_SENT%'": "",
                COUNTER % "": "there is no value",
                COUNTER % ", value_fixed: 1, value_format: '%BYTES_SENT%'": "exclude each other",
                COUNTER % ", value_format: '%BYTES_SENT%%BYTES_SENT%'": "one operator and nothing",
                COUNTER % ", value_format: '%NOPE%'": "there is no operator NOPE",
                COUNTER.replace("c}", "c, tags: [{name: t, value_format: '%%NOPE%%'}]}") % tag: (
                    "tags[0].value_format: there is no operator NOPE"
                ),
            }
        )

    def test_operations(self) -> None:
        """A gauge is set or added to, at records of a type."""
        end, start = "TcpConnectionEnd", "TcpConnectionStart"
        self.check(
            {
                GAUGE % f", set: {{log_type: {end}}}": "",
                GAUGE % (PAIR % (start, end)): "",
                GAUGE % "": "nothing says what becomes of the gauge",
                GAUGE % ", set: {}": "log_type is needed",
                GAUGE % (PAIR % (end, end)): "the same type",
                GAUGE % (PAIR % ("NotSet", end)): "both needed",
                GAUGE % (PAIR % (start, end) + f", set: {{log_type: {end}}}"): "exclude each other",
            }
        )
