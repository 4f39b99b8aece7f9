"""The log filter of a rate."""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.filters.process_ratelimit.v3 import process_ratelimit_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.token_buckets import BadBucket
from tcpmesh.extensions.access_loggers.filters.process_ratelimit import ProcessRateLimitFilter
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.accesslog.known import LATER, known
from tests.config.fields.test_token_buckets import bucket_file
from tests.config.texts import changed, judged
from tests.mesh import parse

_FILTERS = "type.googleapis.com/envoy.extensions.access_loggers"


class RateTests(SynchronousTestCase):
    """How many records pass."""

    def setUp(self) -> None:
        self.network = MemoryNetwork()
        self.context = WorkerContext(self.network, Store(), lambda name: None)

    def filter(self, path: str, name: str = "r") -> ProcessRateLimitFilter:
        """A filter of a bucket."""
        source = f"{{path_config_source: {{path: {path}}}}}"
        text = f"dynamic_config: {{resource_name: {name}, config_source: {source}}}"
        message: Any = parse(process_ratelimit_pb2.ProcessRateLimitFilter, text)
        return ProcessRateLimitFilter(message, self.context)

    def names(self) -> list[str]:
        """The statistics that there are of such filters."""
        names = [each.name for each in self.context.store.counters()]
        return [name for name in names if "process_ratelimit" in name]

    def passed(self, *filters: ProcessRateLimitFilter) -> int:
        """How many of ten records pass, of filters in turn."""
        return sum(filters[turn % len(filters)].passes(known(), LATER) for turn in range(10))

    def test_rate(self) -> None:
        """A full bucket lets so many pass, and then as many as come back, but never more than it
        holds.
        """
        rate = self.filter(bucket_file(self.mktemp()))
        self.assertEqual(self.passed(rate), 4)
        self.network.clock.advance(4.9)
        self.assertEqual(self.passed(rate), 0)
        self.network.clock.advance(0.2)
        self.assertEqual(self.passed(rate), 1)
        self.network.clock.advance(1000)
        self.assertEqual(self.passed(rate), 4)

    def test_shared(self) -> None:
        """All logs that name one bucket take of the same; one of another name is another."""
        path = bucket_file(self.mktemp())
        one, two = self.filter(path), self.filter(path)
        self.assertEqual(self.passed(one, two), 4)
        one.close()
        self.assertEqual(self.passed(two), 0)
        two.close()
        self.assertEqual(self.passed(self.filter(path)), 4)

    def test_counted(self) -> None:
        """What passes and what does not is counted by Envoy's names."""
        self.passed(self.filter(bucket_file(self.mktemp())))
        counters = self.context.store.scope("access_log.process_ratelimit")
        self.assertEqual(counters.counter("allowed").tally, 4)
        self.assertEqual(counters.counter("denied").tally, 6)

    def test_closed(self) -> None:
        """With the last filter its statistics go, and also where one could not be made."""
        rate = self.filter(bucket_file(self.mktemp()))
        self.assertEqual(2, len(self.names()))
        rate.close()
        self.assertEqual([], self.names())
        self.assertRaises(BadBucket, self.filter, "/nope")
        self.assertEqual([], self.names())


class ConfigurationTests(SynchronousTestCase):
    """What a configuration must say."""

    def judged(self, config: str) -> list[str]:
        """What is wrong with a filter."""
        kind = f"{_FILTERS}.filters.process_ratelimit.v3.ProcessRateLimitFilter"
        inner = f"extension_filter: {{name: x, typed_config: {{'@type': {kind}{config}}}}}"
        typed = f"typed_config: {{'@type': {_FILTERS}.stream.v3.StdoutAccessLog}}"
        log = f"access_log: [{{name: x, filter: {{{inner}}}, {typed}}}]"
        return judged(
            changed(
                ("stat_prefix: tcp\n", f"stat_prefix: tcp\n          {log}\n"),
                ("static_resources:\n", "node: {id: a, cluster: c}\nstatic_resources:\n"),
            )
        )

    def test_file(self) -> None:
        """The bucket has to be in the file when the configuration is loaded."""
        source = "{{path_config_source: {{path: {}}}}}"
        config = f", dynamic_config: {{{{resource_name: r, config_source: {source}}}}}"
        self.assertEqual(self.judged(config.format(bucket_file(self.mktemp()))), [])
        (line,) = self.judged(config.format("/nope"))
        self.assertIn("dynamic_config: cannot read the file '/nope'", line)

    def test_missing(self) -> None:
        """Without a bucket there is no filter."""
        (line,) = self.judged("")
        self.assertIn("the filter needs a dynamic_config", line)
